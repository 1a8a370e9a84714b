import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { WebSocket } from "ws";

import { DisconnectedError, QuestionError, connect } from "../src/index.js";
import type { SessionInfo } from "../src/index.js";
import { fakeSockets, settle } from "./fake.js";
import type { FakeSocket } from "./fake.js";
import { THIS, serve } from "./servers.js";
import { readUntil } from "./waiting.js";

test("a client lists its server's sessions, and ends one", async (t) => {
  const { url } = await serve(t, THIS, "--listen", "127.0.0.1:0");
  const client = connect(url, { WebSocket });
  assert.deepEqual(await client.sessions(), []);
  const shell = client.spawn("sh", { args: ["-c", "echo ready; exec sleep 1000"], tty: true, id: "ü 1", cwd: "/usr" });
  await readUntil(shell.stdout.getReader(), /ready/);
  const job = client.spawn("sh", { args: ["-c", "echo out; exit 3"], id: "job", keep: 60_000 });
  await job.exited;

  const [first, second] = (await client.sessions()) as [SessionInfo, SessionInfo];
  assert.ok(Math.abs(Date.now() - first.started) < 60_000);
  assert.deepEqual({ ...first, started: 0 }, {
    id: "ü 1", command: "sh", args: ["-c", "echo ready; exec sleep 1000"], tty: true, cwd: "/usr", started: 0, clients: 1,
    state: "running", lastLine: "ready", written: { stdout: 0, stderr: 0 }, exit: undefined,
  });
  assert.deepEqual([second.id, second.state, second.exit, second.lastLine], ["job", "exited", { code: 3 }, "out"]);
  assert.deepEqual(second.written, { stdout: 4, stderr: 0 });

  await client.closeSession("ü 1", "the test closes it");
  await assert.rejects(shell.exited, /the test closes it/);
  await assert.rejects(client.closeSession("ü 1"), (error: QuestionError) => error.kind === "not_exist");
  assert.deepEqual((await client.sessions()).map(({ id }) => id), ["job"]);
});

/** Asks for the list, from a server that the test plays. */
async function ask(t: TestContext): Promise<{ list: Promise<SessionInfo[]>; socket: FakeSocket; stop: AbortController }> {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { WebSocket, sockets } = fakeSockets();
  const stop = new AbortController();
  const list = connect("ws://host.test/", { WebSocket, signal: stop.signal }).sessions();
  list.catch(() => {});
  await settle();
  return { list, socket: sockets[0]!, stop };
}

test("a list may come in parts", async (t) => {
  const { list, socket } = await ask(t);
  socket.open();
  assert.deepEqual(socket.take(), [{ type: "ask", question: "list" }]);
  socket.deliver({ type: "asked" });
  socket.deliver({ type: "sessions", sessions: [{ id: "1" }], more: true });
  socket.deliver({ type: "sessions", sessions: [{ id: "2" }] });
  assert.deepEqual((await list).map(({ id }) => id), ["1", "2"]);
  assert.equal(socket.closedWith, 1000);
});

test("an older server does not know questions", async (t) => {
  for (const ignore of [(socket: FakeSocket) => socket.drop(1008), () => t.mock.timers.tick(10_000)]) {
    const { list, socket } = await ask(t);
    socket.open();
    ignore(socket);
    await assert.rejects(list, (error: QuestionError) => error.name === "QuestionError" && error.kind === "unsupported");
    t.mock.timers.reset();
  }
});

test("a question fails with its connection, and with its signal", async (t) => {
  const lost = await ask(t);
  lost.socket.open();
  lost.socket.deliver({ type: "asked" });
  lost.socket.drop();
  await assert.rejects(lost.list, (error) => error instanceof DisconnectedError && error.kind === "lost");
  t.mock.timers.reset();
  const stopped = await ask(t);
  stopped.stop.abort(new Error("enough"));
  await assert.rejects(stopped.list, /enough/);
  assert.equal(stopped.socket.closedWith, 1000);
});
