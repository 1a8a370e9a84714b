// Builds the page into web/dist. All but the page itself is in assets/, named by its content, so that a browser may keep it
// for ever. What shrinks lies there compressed too.
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
writeFileSync(join(DIST, "index.html"), preload(link(readFileSync("web/index.html", "utf8"))));
compress(DIST);
compress(ASSETS);

/** Returns what a source has been built into. */
function built(source) {
  const found = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === `web/${source}`);
  if (!found) throw new Error(`${source} is not built`);
  return found[0];
}

/** Has the page name what its sources have been built into. */
function link(html) {
  return html.replace(/(href|src)="(\w+\.\w+)"/g, (_, attribute, source) => `${attribute}="${relative(DIST, built(source))}"`);
}

/** Has the page ask at once for all that the first prompt needs, rather than for one script after the other has come. */
function preload(html) {
  const main = built("main.ts");
  const scripts = new Set();
  for (const script of [main, built("app.ts")]) addImports(scripts, script);
  scripts.delete(main);
  const links = [...scripts].map((path) => `    <link rel="modulepreload" href="${relative(DIST, path)}" />\n`);
  return html.replace("  </head>", `${links.join("")}  </head>`);
}

function addImports(scripts, path) {
  scripts.add(path);
  for (const imported of metafile.outputs[path].imports) {
    if (imported.kind === "import-statement" && !scripts.has(imported.path)) addImports(scripts, imported.path);
  }
}

/** Writes compressed copies of a folder's files beside them, those that are smaller. */
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
