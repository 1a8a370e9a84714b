import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { WebSocket } from "ws";

import { DisconnectedError, StartError, connect } from "../src/index.js";
import type { Client, ConnectOptions } from "../src/index.js";
import { THIS, V024, serve } from "./servers.js";
import { readUntil, stateIs } from "./waiting.js";

// These tests use a real server, and real connections.

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const local = ["--listen", "127.0.0.1:0"];

async function client(t: TestContext, options: ConnectOptions = {}): Promise<Client> {
  const { url } = await serve(t, THIS, ...local);
  return connect(url, { WebSocket, ...options });
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

for (const [name, server] of [
  ["this server", (t: TestContext) => serve(t, THIS, ...local)],
  ["a v0.2.4 server", (t: TestContext) => serve(t, V024)],
] as const) {
  test(`${name}: streams, exit code, environment, directory`, async (t) => {
    const c = connect((await server(t)).url, { WebSocket });
    const process = c.spawn("sh", {
      args: ["-c", 'echo "$A $(pwd)"; echo err >&2; exit 3'],
      env: { A: "b=c" },
      cwd: "/usr",
    });
    assert.equal(await text(process.stdout), "b=c /usr\n");
    assert.equal(await text(process.stderr), "err\n");
    assert.deepEqual(await process.exited, { code: 3 });
    assert.ok(process.pid! > 1);
  });

  test(`${name}: bytes in both directions, and the end of stdin`, async (t) => {
    const c = connect((await server(t)).url, { WebSocket });
    const process = c.spawn("cat", { stdin: true });
    const input = randomBytes(5_000_000);
    const piped = new Blob([input]).stream().pipeTo(process.stdin);
    const output = Buffer.from(await new Response(process.stdout).arrayBuffer());
    await piped;
    assert.equal(createHash("sha256").update(output).digest("hex"), createHash("sha256").update(input).digest("hex"));
    assert.deepEqual(await process.exited, { code: 0 });
  });

  test(`${name}: a command in one call`, async (t) => {
    const c = connect((await server(t)).url, { WebSocket });
    const input = new Blob(["x".repeat(3_000_000)]).stream();
    const result = await c.run("sh", { args: ["-c", "cat; echo err >&2; exit 3"], input, limit: 100, timeout: 60_000 });
    assert.deepEqual(result.exit, { code: 3 });
    assert.equal(result.stdout, `${"x".repeat(50)}\n[2999900 bytes left out]\n${"x".repeat(50)}`);
    assert.equal(result.stderr, "err\n");
    assert.equal((await c.run("echo", { args: ["$HOME"] })).stdout, "$HOME\n");
    // A server of v0.2.4 may lose the connection when a command does not read its stdin.
    if (name === "this server") assert.equal((await c.run("true", { input: "x".repeat(3_000_000) })).exit.code, 0);
  });

  test(`${name}: a start that fails`, async (t) => {
    const c = connect((await server(t)).url, { WebSocket });
    const error: unknown = await c.spawn("no-such-program").exited.catch((e: unknown) => e);
    assert.ok(error instanceof StartError);
    assert.equal(error.kind, name === "this server" ? "not_found" : "other");
    assert.match(error.message, /no-such-program/);
  });

  test(`${name}: a terminal and its size`, async (t) => {
    const c = connect((await server(t)).url, { WebSocket });
    const script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done";
    const process = c.spawn("sh", { args: ["-c", script], tty: true, rows: 30, cols: 90 });
    const reader = process.stdout.getReader();
    await readUntil(reader, /30 90/);
    process.resize(31, 91);
    await readUntil(reader, /31 91/);
    assert.deepEqual(await process.exited, { code: 0 });
  });

  test(`${name}: the server is killed`, async (t) => {
    const s = await server(t);
    const process = connect(s.url, { WebSocket, resume: 1000 }).spawn("cat", { stdin: true });
    await process.started;
    s.process.kill("SIGKILL");
    await assert.rejects(process.exited, DisconnectedError);
    await assert.rejects(text(process.stdout), DisconnectedError);
  });
}

test("a token", async (t) => {
  const { url } = await serve(t, THIS, ...local, "--token", "s3cret");
  const token = (): string => "s3cret";
  assert.deepEqual(await connect(url, { WebSocket, token }).spawn("true").exited, { code: 0 });
  const refused = { name: "DisconnectedError", kind: "unauthorized", status: 401 };
  for (const token of ["", "wrong"]) {
    const process = connect(url, { WebSocket, token }).spawn("sh", { tty: true, id: "s" });
    await assert.rejects(process.exited, refused); // And so it is not tried again.
  }
});

test("signals", async (t) => {
  const c = await client(t);
  const process = c.spawn("sleep", { args: ["100"] });
  await process.signal("INT");
  assert.deepEqual(await process.exited, { signal: "INT" });
});

test("close asks the command to exit", async (t) => {
  const c = await client(t);
  const process = c.spawn("sh", { args: ["-c", "trap 'echo bye; exit 5' TERM; echo on; while :; do sleep 0.1; done"] });
  const reader = process.stdout.getReader();
  await readUntil(reader, /on/);
  process.close();
  await readUntil(reader, /bye/);
  assert.deepEqual(await process.exited, { code: 5 });
});

test("a program exits although it has closed a command with unread output", async (t) => {
  const { url } = await serve(t, THIS, ...local);
  const script = `
    import { connect } from "@wsep/client";
    import { WebSocket } from "ws";
    const command = connect(${JSON.stringify(url)}, { WebSocket }).spawn("head", { args: ["-c", "5000000", "/dev/zero"] });
    await command.started;
    console.log(JSON.stringify(await command.close()));`;
  const options = { input: script, encoding: "utf8", timeout: 20_000 } as const;
  const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-"], options);
  assert.equal(status, 0);
  assert.match(stdout, /"signal":"(TERM|PIPE)"/);
});

test("output that comes after the exit", async (t) => {
  const c = await client(t);
  const dir = mkdtempSync(join(tmpdir(), "wsep-browser-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const script = "(while [ ! -e go ]; do sleep 0.05; done; echo late) & exit 3";
  const process = c.spawn("sh", { args: ["-c", script], cwd: dir });
  assert.deepEqual(await process.exited, { code: 3 });
  writeFileSync(join(dir, "go"), "");
  assert.equal(await text(process.stdout), "late\n");
});

/** Counts the bytes that arrive. */
function countingWebSocket(): { WebSocket: typeof WebSocket; received: () => number } {
  let received = 0;
  class Counting extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      this.on("message", (data: ArrayBuffer) => (received += data.byteLength));
    }
  }
  return { WebSocket: Counting as unknown as typeof WebSocket, received: () => received };
}

test("the server keeps a gigabyte that nobody reads", async (t) => {
  const counting = countingWebSocket();
  const c = await client(t, { WebSocket: counting.WebSocket });
  const window = 256 << 10;
  const process = c.spawn("head", { args: ["-c", "1G", "/dev/zero"], window });
  await process.started;
  await until(() => counting.received() > window);
  // Signals pass nevertheless.
  await process.signal("INT");
  assert.deepEqual(await process.exited, { signal: "INT" });
  assert.ok(counting.received() < window + 4096, `${counting.received()}`);
  await process.stdout.cancel();
  assert.equal(await text(process.stderr), "");
});

test("memory is bounded while much is read slowly", async (t) => {
  const c = await client(t);
  const total = 200 << 20;
  const process = c.spawn("head", { args: ["-c", `${total}`, "/dev/zero"] });
  let read = 0;
  let next = 0; // when to look
  let most = 0;
  const before = memory();
  for (const reader = process.stdout.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    read += value.length;
    if (read >= next) {
      next += 4 << 20;
      most = Math.max(most, memory() - before);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(read, total);
  assert.ok(most < 8 << 20, `${most >> 20} MiB`);
});

/** Returns how much memory the program's buffers use, without garbage. */
function memory(): number {
  collectGarbage();
  collectGarbage(); // The first leaves some of it to be freed meanwhile.
  return process.memoryUsage().arrayBuffers;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, "it does not become true");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A WebSocket class that remembers its sockets, so that a test can cut them. */
function cuttableWebSocket(): { WebSocket: typeof WebSocket; cut: () => void } {
  let last: WebSocket | undefined;
  class Cuttable extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      last = this;
    }
  }
  return { WebSocket: Cuttable as unknown as typeof WebSocket, cut: () => last?.terminate() };
}

test("a command without a terminal survives its connection", async (t) => {
  const c = await client(t);
  const started = c.spawn("sh", { args: ["-c", "echo begun; read line; echo got $line"], id: "b", keep: 60_000, stdin: true });
  await readUntil(started.stdout.getReader(), /begun/);
  assert.equal(started.session, "created");
  await started.close().catch(() => {});

  const attached = c.spawn("", { id: "b", stdin: true });
  const writer = attached.stdin.getWriter();
  await writer.write("it\n");
  const { stdout, exit } = await attached.output();
  assert.equal(attached.session, "found");
  assert.deepEqual(exit, { code: 0 });
  assert.equal(Buffer.from(stdout).toString(), "begun\ngot it\n");
  assert.deepEqual(attached.skipped, { stdout: 0, stderr: 0 });
  await assert.rejects(c.spawn("", { id: "none" }).started, (e) => e instanceof StartError && e.kind === "not_exist");
});

test("a session survives its connection", async (t) => {
  const cuttable = cuttableWebSocket();
  const c = await client(t, { WebSocket: cuttable.WebSocket });
  const process = c.spawn("bash", { args: ["--norc"], tty: true, id: "survivor" });
  const reader = process.stdout.getReader();
  const writer = process.stdin.getWriter();
  await writer.write(Buffer.from("VAR=kept; echo begun-$((1+1))\r"));
  await readUntil(reader, /begun-2/);
  cuttable.cut();
  await stateIs(process, "waiting");
  process.retry();
  await stateIs(process, "connected");
  await writer.write(Buffer.from("echo $VAR-$((2+2))\r"));
  await readUntil(reader, /kept-4/);
  await writer.write(Buffer.from("exit 6\r"));
  await reader.cancel();
  assert.deepEqual(await process.exited, { code: 6 });
});

test("a session whose command has exited meanwhile is started again", async (t) => {
  const { url } = await serve(t, THIS, ...local);
  const cuttable = cuttableWebSocket();
  let mayConnect = Promise.resolve();
  const token = async (): Promise<string> => (await mayConnect, "");
  const c = connect(url, { WebSocket: cuttable.WebSocket, resume: 0, token });
  const process = c.spawn("sh", { args: ["-c", "echo run-$$-; read x"], tty: true, id: "short" });
  const reader = process.stdout.getReader();
  const [, first] = /run-(\d+)-/.exec(await readUntil(reader, /run-\d+-/))!;
  let allow = (): void => {};
  mayConnect = new Promise((resolve) => (allow = resolve));
  const lost = stateIs(process, "waiting");
  cuttable.cut();
  await lost;
  const other = connect(url, { WebSocket }).spawn("true", { tty: true, id: "short" });
  await other.stdin.getWriter().write(Buffer.from("\r"));
  assert.deepEqual(await other.exited, { code: 0 });
  allow();
  await stateIs(process, "connected");
  const [, second] = /run-(\d+)-/.exec(await readUntil(reader, /run-\d+-/))!;
  assert.notEqual(second, first);
  process.close();
  await process.exited.catch(() => {});
});

test("close detaches from a session, and its ID leads back", async (t) => {
  const c = await client(t);
  const options = { args: ["--norc"], tty: true, id: "left" };
  const first = c.spawn("bash", options);
  await first.stdin.getWriter().write(Buffer.from("VAR=kept; echo begun-$((1+1))\r"));
  await readUntil(first.stdout.getReader(), /begun-2/);
  first.close();
  await assert.rejects(first.exited, { name: "OutcomeError", message: /detached/ });
  const second = c.spawn("bash", options);
  await second.stdin.getWriter().write(Buffer.from("echo $VAR-$((2+2)); exit\r"));
  await readUntil(second.stdout.getReader(), /kept-4/);
  assert.deepEqual(await second.exited, { code: 0 });
});
