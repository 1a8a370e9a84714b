import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import * as client from "@wsep/client";
import manifest from "@wsep/client/package.json" with { type: "json" };
import * as xterm from "@wsep/client/xterm";
import { THIS, serve } from "./servers.js";

test("the built package has these exports", () => {
  assert.deepEqual(Object.keys(client), ["DisconnectedError", "EndedError", "OutcomeError", "QuestionError", "RunError", "StartError", "connect"]);
  assert.deepEqual(Object.keys(xterm), ["ProcessAddon", "SafePasteAddon"]);
  const typed: client.Client = client.connect("ws://host.test", { WebSocket: client.connect as never });
  assert.equal(typeof typed.spawn, "function");
});

test("nothing else is needed to run it", () => {
  assert.ok(!("dependencies" in manifest));
  for (const file of ["dist/index.js", "dist/xterm.js"]) {
    const imports = readFileSync(file, "utf8").match(/^(import|export) .*from .*/gm) ?? [];
    assert.deepEqual(imports, []);
  }
});

/** A program with the package installed, as packed in a clean checkout. */
class Installed {
  readonly dir = mkdtempSync(join(tmpdir(), "wsep-package-"));
  readonly package: string = join(this.dir, "node_modules/@wsep/client");
  readonly tarball: string = join(this.dir, `wsep-client-${manifest.version}.tgz`);

  constructor() {
    const checkout = join(this.dir, "checkout");
    const tracked = execFileSync("git", ["ls-files", "-z"], { encoding: "utf8" }).split("\0").filter(existsSync);
    for (const file of tracked) cpSync(file, join(checkout, file));
    execFileSync("npm", ["pack", "--silent", "--pack-destination", this.dir], { cwd: checkout });
    writeFileSync(join(this.dir, "package.json"), '{ "type": "module" }');
    execFileSync("npm", ["install", "--silent", "--offline", "--no-audit", "--no-fund", this.tarball], { cwd: this.dir });
    for (const name of ["@xterm", "ws"]) symlinkSync(resolve("node_modules", name), join(this.dir, "node_modules", name));
  }

  /** Checks the types of a program that uses the package. */
  check(tsc: string, program: string, options: object): void {
    const compilerOptions = { target: "es2022", lib: ["es2022", "dom"], types: [], strict: true, noEmit: true, ...options };
    writeFileSync(join(this.dir, "program.ts"), program);
    writeFileSync(join(this.dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    try {
      execFileSync(process.execPath, [resolve(tsc), "-p", this.dir], { encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      throw new Error(`${JSON.stringify(options)}: ${(error as { stdout?: string }).stdout}`);
    }
  }
}

let installed: Installed;

before(() => void (installed = new Installed()));
after(() => rmSync(installed.dir, { recursive: true }));

test("a package that was packed in a clean checkout is complete", () => {
  const dir = installed.package;
  for (const file of ["dist/index.js", "dist/index.d.ts", "dist/xterm.js", "dist/xterm.d.ts", "README.md"]) {
    assert.ok(existsSync(join(dir, file)), file);
  }
  assert.equal(readFileSync(join(dir, "LICENSE"), "utf8"), readFileSync("../LICENSE.txt", "utf8"));
  assert.equal(manifest.repository.directory, "browser");
});

test("nothing else is in the package", () => {
  const wanted = /^package\/(package\.json|README\.md|LICENSE|dist\/[\w.-]+\.(js|js\.map|d\.ts))$/;
  const files = execFileSync("tar", ["-tf", installed.tarball], { encoding: "utf8" }).trim().split("\n");
  assert.deepEqual(files.filter((file) => !wanted.test(file)), []);
});

test("the package can be published, in the version that CHANGELOG.md names", () => {
  assert.ok(!("private" in manifest));
  assert.equal(manifest.publishConfig.access, "public");
  const [, named] = /^## (.*)/m.exec(readFileSync("../CHANGELOG.md", "utf8"))!;
  assert.ok(named === "Unreleased" || named!.includes(manifest.version), named);
});

test("a program in Node runs a command with the installed package", async (t) => {
  const { url } = await serve(t, THIS, "--listen", "127.0.0.1:0");
  const program = `
    import { WebSocket } from "ws";
    import { connect } from "@wsep/client";
    const { stdout, exit } = await connect(${JSON.stringify(url)}, { WebSocket }).run("cat", { input: "through" });
    console.log(stdout, exit);
  `;
  writeFileSync(join(installed.dir, "program.mjs"), program);
  const { stdout } = await promisify(execFile)(process.execPath, ["program.mjs"], { cwd: installed.dir });
  assert.equal(stdout, "through { code: 0 }\n");
});

test("the links in the package's README lead somewhere", () => {
  const dir = installed.package;
  const links = [...readFileSync(join(dir, "README.md"), "utf8").matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link!);
  assert.ok(links.length > 0);
  for (const link of links) {
    assert.ok(/^(https:\/\/|#)/.test(link) || existsSync(join(dir, link)), link);
  }
});

/** Uses what is new in types: lib has no Symbol.asyncDispose. */
const PROGRAM = `
import { connect, DisconnectedError } from "@wsep/client";
import type { Process, SpawnOptions } from "@wsep/client";
import { ProcessAddon } from "@wsep/client/xterm";
const options: SpawnOptions = { args: undefined, timeout: undefined };
export const command: Process = connect("wss://host.test").spawn("true", options);
export const disposed: Promise<void> = command[Symbol.asyncDispose]();
export const bytes: Promise<Uint8Array<ArrayBuffer>> = command.output().then(({ stdout }) => stdout);
export const piped: Promise<void> = new Blob(["x"]).stream().pipeTo(command.stdin);
export const why = (error: DisconnectedError) => [error.kind, error.status, error.code, error.cause];
export const addon = new ProcessAddon(command);
`;

test("the package's types are found with each moduleResolution", () => {
  const strict = { exactOptionalPropertyTypes: true };
  installed.check("node_modules/typescript/bin/tsc", PROGRAM, { module: "esnext", moduleResolution: "bundler", ...strict });
  const old = "runtimes/node_modules/typescript-5.7/bin/tsc";
  installed.check(old, PROGRAM, { module: "nodenext", moduleResolution: "nodenext" });
  installed.check(old, PROGRAM, { module: "commonjs", moduleResolution: "node10", ...strict });
});
