// Builds the page into web/dist. All files but index.html are in assets/. Their names contain a hash of their content, so
// that a browser may keep them for ever. Beside a file there are compressed copies, if these are smaller.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";

import { build } from "esbuild";

const DIST = "web/dist";
const ASSETS = join(DIST, "assets");

rmSync(DIST, { recursive: true, force: true });
mkdirSync(ASSETS, { recursive: true });
const { metafile } = await build({
  entryPoints: ["web/main.ts", "web/style.css", "web/favicon.svg"],
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  target: "es2022",
  loader: { ".svg": "copy" },
  outdir: ASSETS,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  metafile: true,
  logLevel: "warning",
});
const main = firstScript();
const style = built("style.css");
writeFileSync(join(DIST, "index.html"), await page());
for (const path of [style, built("main.ts")]) rmSync(path);
compress(DIST);
compress(ASSETS);

/** Returns the file that a source was built into. */
function built(source) {
  const found = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === `web/${source}`);
  if (!found) throw new Error(`${source} is not built`);
  return found[0];
}

/**
 * Returns the chunk with the code of main.ts. The code is in a chunk because app.ts imports main.ts. The file that is built
 * from main.ts only imports this chunk. The page loads the chunk without this detour.
 */
function firstScript() {
  const { inputs, imports } = metafile.outputs[built("main.ts")];
  const chunks = imports.filter(({ kind }) => kind === "import-statement");
  if (Object.keys(inputs).length > 0 || chunks.length !== 1) throw new Error("main.ts is not in one chunk");
  return chunks[0].path;
}

/** Returns index.html. It contains the style and inline.ts, and names all files that the first prompt needs. */
async function page() {
  const urls = { "main.ts": main, "app.ts": built("app.ts"), "favicon.svg": built("favicon.svg") };
  const inline = await inlineScript();
  return readFileSync("web/index.html", "utf8")
    .replace(/(?<=(href|src)=")[^"]+/g, (source) => (source in urls ? relative(DIST, urls[source]) : source))
    .replace(/<link rel="stylesheet"[^>]*>/, () => `<style>${readFileSync(style, "utf8")}</style>`)
    .replace(/<script src="inline.ts">/, () => `<script>${inline}`);
}

/** Returns the script that is part of index.html. The server allows it by its hash. */
async function inlineScript() {
  const entryPoints = ["web/inline.ts"];
  const { outputFiles } = await build({ entryPoints, bundle: true, minify: true, format: "iife", target: "es2022", write: false });
  return outputFiles[0].text.trim();
}

/** Writes compressed copies beside the files of a folder, if the copies are smaller. */
function compress(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(folder, entry.name);
    const content = readFileSync(path);
    for (const [suffix, compressed] of [
      ["br", brotliCompressSync(content)],
      ["gz", gzipSync(content, { level: 9 })],
    ]) {
      if (compressed.length < content.length) writeFileSync(`${path}.${suffix}`, compressed);
    }
  }
}
