import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { Gate } from "./gate.js";
import { THIS, serve } from "./servers.js";
import type { Result } from "./suite.js";

// The same checks run in each runtime. README.md has a table of them. The test compares it, or writes it if
// WSEP_WRITE_README is set.

interface Runtime {
  readonly name: string;
  /** The runtime's program, and its arguments before an address. */
  readonly program: string;
  readonly args: readonly string[];
  /** Whether it runs the suite as a program, which exits, and not in a page. */
  readonly ends: boolean;
}

const pinned = (name: string, path: string): string => `runtimes/node_modules/${name}-${process.arch}/${path}`;
const programs = (name: string, program: string, ...args: string[]): Runtime => ({ name, program, args, ends: true });

const runtimes: readonly Runtime[] = [
  programs("Node 20", process.execPath, "dist-test/suite.js"),
  programs("Node 22", pinned("node-22", "bin/node"), "dist-test/suite.js"),
  programs("Node 24", pinned("node-24", "bin/node"), "dist-test/suite.js"),
  programs("Bun 1", pinned("bun", "bin/bun"), "run", "dist-test/suite.js"),
  programs("Deno 2", pinned("deno", "deno"), "run", "--allow-all", "--no-lock", "dist-test/suite.js"),
  {
    name: "Chromium",
    program: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--user-data-dir=PROFILE"],
    ends: false,
  },
  {
    name: "Firefox",
    program: process.env["FIREFOX"] ?? "/usr/bin/firefox-esr",
    args: ["--headless", "--no-remote", "--profile", "PROFILE"],
    ends: false,
  },
];

/** Returns why a runtime is skipped, or false. Node 20 is tested only if it is the runtime of these tests. */
function whyNot({ name, program }: Runtime): string | false {
  if (name === "Node 20" && !process.version.startsWith("v20.")) return `the tests are run by Node ${process.version}`;
  return !existsSync(program) && `there is no ${program}`;
}

// The suite mostly waits, so several runtimes run it at once.
test("the same in every runtime", { concurrency: 4 }, async (t) => {
  const { url: open } = await serve(t, THIS, "--listen", "127.0.0.1:0");
  const { url: secret } = await serve(t, THIS, "--listen", "127.0.0.1:0", "--token", "s3cret");
  const ran = new Map<string, readonly Result[]>();
  const one = async (t: TestContext, runtime: Runtime): Promise<void> => {
    const gate = await Gate.open(open, secret);
    t.after(() => gate.close());
    ran.set(runtime.name, await resultsOf(t, runtime, gate));
  };
  await Promise.all(runtimes.map((runtime) => t.test(runtime.name, { skip: whyNot(runtime) }, (t) => one(t, runtime))));
  compareTable(ran);
});

/** Runs the suite. Every check must pass. */
async function resultsOf(t: TestContext, runtime: Runtime, gate: Gate): Promise<readonly Result[]> {
  const { child, complaints } = launch(t, runtime, gate.address);
  const ended = once(child, "exit").then(([code]) => code as number | null);
  const results = await Promise.race([gate.results, ended]);
  assert.ok(results instanceof Array, `it ended: ${complaints()}`);
  for (const { name, error } of results) assert.equal(error, undefined, `${name}: ${error}`);
  if (runtime.ends) {
    assert.equal(await ended, 0, "a program ends when nothing is left to do");
    assert.doesNotMatch(complaints(), /warning/i);
  }
  return results;
}

/** Starts a runtime with the suite, until the test has ended. */
function launch(t: TestContext, { program, args }: Runtime, address: string): { child: ChildProcess; complaints(): string } {
  const profile = mkdtempSync(join(tmpdir(), "wsep-runtime-"));
  const given = [...args.map((arg) => arg.replace("PROFILE", profile)), address];
  const env = { ...process.env, HOME: profile, DENO_DIR: profile, NODE_OPTIONS: "" };
  // In a group of its own, because browsers are many processes.
  const child = spawn(program, given, { stdio: ["ignore", "pipe", "pipe"], env, detached: true });
  let complaints = "";
  child.stdout.on("data", (data) => (complaints += data));
  child.stderr.on("data", (data) => (complaints += data));
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid!, "SIGKILL");
      await once(child, "exit");
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
  });
  return { child, complaints: () => complaints };
}

const TABLE = /(<!-- Written by WSEP_WRITE_README=1 npm test . -->\n\n)[^]*?(<!-- end -->)/;

function compareTable(ran: ReadonlyMap<string, readonly Result[]>): void {
  if (ran.size < runtimes.length) return; // Some runtimes were skipped, or have failed.
  const readme = readFileSync("README.md", "utf8");
  const written = readme.replace(TABLE, (_, begin: string, end: string) => `${begin}${table(ran)}\n\n${end}`);
  if (process.env["WSEP_WRITE_README"]) writeFileSync("README.md", written);
  else assert.equal(written, readme);
}

/** The table: which checks ran in which runtime. */
function table(ran: ReadonlyMap<string, readonly Result[]>): string {
  const names = runtimes.map(({ name }) => name);
  const checks = new Set(names.flatMap((name) => ran.get(name)!.map((result) => result.name)));
  const rows = [...checks].map((check) => {
    const cells = names.map((name) => (ran.get(name)!.some((result) => result.name === check) ? "✓" : "–"));
    return `| ${check} | ${cells.join(" | ")} |`;
  });
  return [`| | ${names.join(" | ")} |`, `|---|${names.map(() => "---|").join("")}`, ...rows].join("\n");
}
