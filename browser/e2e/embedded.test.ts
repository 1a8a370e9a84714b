import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";

// The program wsep as a release has it: with the page inside.

const folder = mkdtempSync(join(tmpdir(), "wsep-embedded-"));
after(() => rmSync(folder, { recursive: true }));

test("a wsep that was built with the page serves it, wherever it runs", async (t) => {
  const program = join(folder, "wsep");
  execFileSync("go", ["build", "-C", "..", "-buildvcs=false", "-tags", "wseppage", "-o", program, "./cmd/wsep"]);
  const server = spawn(program, ["serve", "--listen", "127.0.0.1:0"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(server, "exit");
  let complaints = "";
  server.stderr.setEncoding("utf8").on("data", (text: string) => (complaints += text));
  t.after(async () => {
    server.kill("SIGKILL");
    await exited;
  });
  let address = "";
  for await (const line of createInterface(server.stdout)) {
    address = /^web terminal at (\S+)/.exec(line)?.[1] ?? "";
    if (address) break;
  }
  const response = await fetch(address);
  assert.equal(response.status, 200);
  const page = await response.text();
  const script = /src="([^"]*assets[^"]*\.js)"/.exec(page)?.[1];
  assert.ok(script, page.slice(0, 2000));
  assert.equal((await fetch(new URL(script, address))).status, 200);
  server.kill("SIGTERM");
  await exited;
  assert.doesNotMatch(complaints, /not built/);
});
