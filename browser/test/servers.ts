import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";

/** A server of this repository, or one of v0.2.4, in a process of its own. */
export interface Server {
  url: string;
  process: ChildProcess;
}

/** Builds a Go program and returns its path. */
function build(dir: string, pkg: string): string {
  const out = mkdtempSync(join(tmpdir(), "wsep-browser-"));
  process.on("exit", () => rmSync(out, { recursive: true, force: true }));
  const program = join(out, "server");
  const args = ["build", "-C", dir, "-buildvcs=false", "-o", program, pkg];
  const { status, stderr } = spawnSync("go", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`go ${args.join(" ")}:\n${stderr}`);
  return program;
}

export function buildServer(): string {
  return build("..", "./dev/server");
}

export function buildV024Server(): string {
  return build("../ci/v024", "./server");
}

/** Runs a server until the test ends. Its first line says where it listens. */
export async function serve(t: TestContext, program: string, ...args: string[]): Promise<Server> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"] });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  });
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const address = /\/\/([^/\s]+)/.exec(line)?.[1];
  if (!address) throw new Error(`server says ${line}`);
  return { url: `ws://${address}`, process: child };
}
