import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";

/** A server of this repository, or one of v0.2.4, in a process of its own. */
export interface Server {
  url: string;
  process: ChildProcess;
}

/** The programs that `npm run test:servers` builds: dev/server, and a server of v0.2.4. */
export const THIS = resolve("servers/this");
export const V024 = resolve("servers/v024");

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
