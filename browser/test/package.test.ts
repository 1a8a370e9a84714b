import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";

import * as client from "@wsep/client";
import manifest from "@wsep/client/package.json" with { type: "json" };
import * as xterm from "@wsep/client/xterm";

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

  constructor() {
    const checkout = join(this.dir, "checkout");
    const tracked = execFileSync("git", ["ls-files", "-z"], { encoding: "utf8" }).split("\0").filter(existsSync);
    for (const file of tracked) cpSync(file, join(checkout, file));
    execFileSync("npm", ["pack", "--silent", "--pack-destination", this.dir], { cwd: checkout });
    mkdirSync(this.package, { recursive: true });
    execFileSync("tar", ["-xf", join(this.dir, "wsep-client-0.0.0.tgz"), "-C", this.package, "--strip-components=1"]);
    writeFileSync(join(this.dir, "package.json"), '{ "type": "module" }');
    symlinkSync(resolve("node_modules/@xterm"), join(this.dir, "node_modules/@xterm"));
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
