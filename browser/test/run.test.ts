import assert from "node:assert/strict";
import { test } from "node:test";

import { DisconnectedError, RunError, StartError, connect } from "../src/index.js";
import type { Result, RunOptions } from "../src/index.js";
import { FakeSocket, allExtensions, fakeSockets, settle } from "./fake.js";

interface Running {
  result: Promise<Result>;
  socket: FakeSocket;
}

async function run(options: RunOptions = {}): Promise<Running> {
  const { WebSocket, sockets } = fakeSockets();
  const result = connect("ws://host.test/", { WebSocket, resume: 0 }).run("cat", options);
  result.catch(() => {});
  await settle();
  return { result, socket: sockets[0]! };
}

test("run returns the outputs and the exit, whatever it is", async () => {
  const { result, socket } = await run({ args: ["-u"], cwd: "/tmp", env: { A: "1" }, input: "größer" });
  const start = socket.start(allExtensions);
  assert.deepEqual(start["command"].args, ["-u"]);
  assert.equal(start["command"].working_dir, "/tmp");
  assert.deepEqual(start["command"].env, ["A=1"]);
  assert.equal(start["command"].stdin, true);
  await settle();
  assert.deepEqual(socket.take(), [{ type: "stdin", length: 8 }, { type: "close_stdin" }]);
  socket.deliver({ type: "stdout" }, "out");
  socket.deliver({ type: "stderr" }, "err");
  socket.deliver({ type: "exit_code", exit_code: 3, error: "exit status 3" });
  assert.deepEqual(await result, { exit: { code: 3 }, stdout: "out", stderr: "err", truncated: false });
});

test("run without input has no stdin", async () => {
  const { result, socket } = await run();
  assert.equal(socket.start(allExtensions)["command"].stdin, false);
  socket.deliver({ type: "exit_code", exit_code: 0 });
  assert.equal((await result).stdout, "");
});

test("run keeps the beginning and the end of a long output", async () => {
  const { result, socket } = await run({ limit: 10 });
  socket.start(allExtensions);
  for (const part of ["abc", "defghijklm", "n", "opqrstuv"]) socket.deliver({ type: "stdout" }, part);
  socket.deliver({ type: "stderr" }, "0123456789");
  socket.deliver({ type: "exit_code", exit_code: 0 });
  const { stdout, stderr, truncated } = await result;
  assert.equal(stdout, "abcde\n[12 bytes left out]\nrstuv");
  assert.equal(stderr, "0123456789");
  assert.equal(truncated, true);
});

test("run leaves out characters that its limit cuts", async () => {
  const { result, socket } = await run({ limit: 10 });
  socket.start(allExtensions);
  socket.deliver({ type: "stdout" }, "€€€€€");
  socket.deliver({ type: "exit_code", exit_code: 0 });
  assert.equal((await result).stdout, "€\n[9 bytes left out]\n€");
});

test("run passes a failed start on", async () => {
  const { result, socket } = await run({ input: "unread" });
  socket.open();
  socket.deliver({ type: "start_error", kind: "not_found", message: "no such program" });
  await assert.rejects(result, (error) => error instanceof StartError && error.kind === "not_found");
});

test("run's error has what was written before", async () => {
  const { result, socket } = await run();
  socket.start(allExtensions);
  socket.deliver({ type: "stdout" }, "half");
  await settle();
  socket.drop();
  await assert.rejects(result, (error) => {
    assert.ok(error instanceof RunError);
    assert.ok(error.cause instanceof DisconnectedError);
    assert.equal(error.stdout, "half");
    return true;
  });
});

test("run's timeout is told as one", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { result, socket } = await run({ timeout: 1000 });
  socket.start(allExtensions);
  await settle();
  t.mock.timers.tick(1000);
  await assert.rejects(result, (error) => error instanceof RunError && (error.cause as Error).name === "TimeoutError");
});

test("run ends a command whose input fails", async () => {
  const broken = new Error("disk is gone");
  let parts = 0;
  const input = new ReadableStream({
    pull: (controller) => (parts++ === 0 ? controller.enqueue("half") : controller.error(broken)),
  });
  const { result, socket } = await run({ input });
  socket.start(allExtensions);
  await settle();
  const types = socket.take().map((m) => m["type"]);
  assert.ok(types.includes("close") && !types.includes("close_stdin"), types.join());
  socket.deliver({ type: "exit_code", exit_code: -1, signal: "TERM", error: "signal: terminated" });
  await assert.rejects(result, (error) => error instanceof RunError && error.cause === broken);
});

test("run checks its options", async () => {
  const { WebSocket, sockets } = fakeSockets();
  const client = connect("ws://host.test/", { WebSocket });
  await assert.rejects(client.run("cat", { limit: 1 }), RangeError);
  await assert.rejects(client.run("cat", { input: 7 as never }), TypeError);
  await assert.rejects(client.run("cat", { args: "x" as never }), TypeError);
  const taken = new ReadableStream();
  taken.getReader();
  await assert.rejects(client.run("cat", { input: taken }), TypeError);
  assert.equal(sockets.length, 0);
});
