import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { DisconnectedError, StartError } from "../src/index.js";
import { FakeSocket, allExtensions, settle } from "./fake.js";
import { Session } from "./session.js";

test("a lost session is returned to, with the size that it has now", async (t) => {
  const s = await Session.begin(t, { rows: 30, cols: 90 });
  const first = s.socket.start(allExtensions);
  assert.deepEqual([first["command"].rows, first["command"].cols], [30, 90]);
  await s.pass(10_000);
  s.process.resize(31, 91);
  s.socket.drop();
  s.process.resize(32, 92);
  await s.expectAttemptAfter(500);
  const again = s.socket.start(allExtensions);
  assert.deepEqual([again["id"], again["command"].rows, again["command"].cols], ["s", 32, 92]);
  assert.deepEqual(s.states.map(({ status }) => status), ["connected", "waiting", "connecting", "connected"]);
  s.socket.deliver({ type: "exit_code", exit_code: 4 });
  assert.deepEqual(await s.process.exited, { code: 4 });
});

test("attempts come less and less often", async (t) => {
  const s = await Session.begin(t);
  for (const ms of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    s.socket.drop();
    await s.expectAttemptAfter(ms);
  }
});

test("pauses also grow if the server accepts each connection and loses it", async (t) => {
  const s = await Session.begin(t);
  for (const ms of [1_000, 2_000, 4_000]) {
    s.socket.start(allExtensions);
    s.socket.drop();
    await s.expectAttemptAfter(ms);
  }
  s.socket.start(allExtensions);
  await s.pass(10_000);
  s.socket.drop();
  await s.expectAttemptAfter(500);
});

test("jitter", async (t) => {
  const s = await Session.begin(t);
  mock.method(Math, "random", () => 0);
  s.socket.drop();
  await s.expectAttemptAfter(100);
  s.socket.start(allExtensions);
  await s.pass(10_000);
  mock.method(Math, "random", () => 0.5);
  s.socket.drop();
  await s.expectAttemptAfter(275); // The first after a connection that held, too.
});

test("retry ends the pause", async (t) => {
  const s = await Session.begin(t);
  s.socket.drop();
  s.process.retry();
  await settle();
  assert.equal(s.sockets.length, 2);
  await s.pass(29_999);
  assert.equal(s.sockets.length, 2, "the timer of the pause is gone");
  s.socket.start(allExtensions);
  s.process.retry();
  await settle();
  assert.equal(s.sockets.length, 2);
});

test("retry replaces an attempt that is under way", async (t) => {
  const s = await Session.begin(t);
  s.socket.open();
  s.process.retry();
  await settle();
  assert.equal(s.sockets.length, 2);
  assert.equal(s.sockets[0]!.closedWith, 1000);
  s.sockets[0]!.drop();
  s.socket.start(allExtensions);
  assert.deepEqual(s.states.map(({ status }) => status), ["connecting", "connected"]);
});

test("retry replaces an attempt that waits for its token", async (t) => {
  const answers: ((token: string) => void)[] = [];
  const s = await Session.begin(t, {}, { token: () => new Promise((resolve) => answers.push(resolve)) });
  s.process.retry();
  answers[1]!("new");
  answers[0]!("old");
  await settle();
  assert.equal(s.sockets.length, 1);
  assert.ok(s.socket.protocols.includes("wsep.token.bmV3"));
});

test("retry does not start a command without a session twice", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.open();
  s.process.retry();
  await settle();
  assert.equal(s.sockets.length, 1);
});

test("text that is typed meanwhile is dropped", async (t) => {
  const s = await Session.begin(t);
  s.socket.start({ ...allExtensions, window: 4096 });
  const writer = s.process.stdin.getWriter();
  const stuck = writer.write(new Uint8Array(5000));
  const queued = writer.write(Buffer.from("queued"));
  await settle();
  s.socket.drop();
  await stuck;
  await queued;
  await writer.write(Buffer.from("while away"));
  await s.expectAttemptAfter(1_000);
  await writer.write(Buffer.from("while connecting"));
  s.socket.start(allExtensions);
  await writer.write(Buffer.from("now"));
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 3 }]);
});

test("unread output of the old screen is dropped, and windows start again", async (t) => {
  const s = await Session.begin(t, { window: 4096 });
  s.socket.start(allExtensions);
  s.socket.deliver({ type: "stdout" }, new Uint8Array(4096));
  s.socket.drop();
  await s.expectAttemptAfter(1_000);
  s.socket.start(allExtensions);
  s.socket.deliver({ type: "stdout" }, "x".repeat(4096));
  const reader = s.process.stdout.getReader();
  assert.equal((await reader.read()).value![0], 0x78);
  assert.deepEqual(s.socket.take(), [{ type: "ack", stdout: 4096 }]);
});

test("a connection without an answer is given up", async (t) => {
  const s = await Session.begin(t, {}, { resume: 0 });
  s.socket.open();
  await s.pass(30_000);
  assert.equal(s.sockets[0]!.closedWith, 1000);
  await s.expectAttemptAfter(1_000);
});

test("a temporary failure is tried again", async (t) => {
  const failures: ((socket: FakeSocket) => void)[] = [
    (socket) => socket.deliver({ type: "start_error", kind: "busy", message: "" }),
    (socket) => socket.deliver({ type: "start_error", kind: "deadline", message: "" }),
    (socket) => socket.deliver({ type: "start_error", kind: "disconnected", message: "" }),
    (socket) => socket.drop(1013, "start command: too many processes"),
    (socket) => socket.drop(1011, "upstream timeout"),
  ];
  const s = await Session.begin(t, {}, { resume: 0 });
  for (const [i, fail] of failures.entries()) {
    s.socket.open();
    fail(s.socket);
    await s.expectAttemptAfter(1_000 * 2 ** i);
  }
});

test("a permanent failure is not tried again", async (t) => {
  const failures: [string, (socket: FakeSocket) => void][] = [
    ["not found", (socket) => socket.deliver({ type: "start_error", kind: "not_found", message: "" })],
    ["refused", (socket) => socket.drop(1011, "start command: permission denied")],
    ["unauthorized", (socket) => socket.drop(3000)],
    ["policy", (socket) => socket.drop(1008)],
    ["protocol", (socket) => socket.drop(1002)],
    ["too big", (socket) => socket.drop(1009)],
  ];
  for (const [name, fail] of failures) {
    await t.test(name, async (t) => {
      const s = await Session.begin(t);
      s.socket.open();
      fail(s.socket);
      await assert.rejects(s.process.exited);
      await s.pass(60_000);
      assert.equal(s.sockets.length, 1);
    });
  }
});

test("a command without a session does not reconnect, nor one that was told not to", async (t) => {
  for (const [spawnOptions, options] of [
    [{ id: "" }, {}],
    [{ tty: false }, {}],
    [{}, { reconnect: false }],
  ] as const) {
    await t.test(async (t) => {
      const s = await Session.begin(t, spawnOptions, options);
      s.socket.start(allExtensions);
      s.socket.drop();
      await assert.rejects(s.process.exited);
      await s.pass(60_000);
      assert.equal(s.sockets.length, 1);
    });
  }
});

test("close and abort end the waiting", async (t) => {
  const aborting = new AbortController();
  for (const end of [(s: Session) => s.process.close(), () => aborting.abort()]) {
    await t.test(async (t) => {
      const s = await Session.begin(t, {}, { signal: aborting.signal });
      s.socket.drop();
      end(s);
      await assert.rejects(s.process.exited);
      s.process.retry();
      await s.pass(60_000);
      assert.equal(s.sockets.length, 1);
    });
  }
});

test("all listeners hear the states in their order", async (t) => {
  const s = await Session.begin(t);
  const later: string[] = [];
  s.process.onStateChange(({ status }) => {
    if (status === "waiting") s.process.close();
  });
  s.process.onStateChange(({ status }) => later.push(status));
  s.socket.drop();
  assert.deepEqual(s.states.map(({ status }) => status), ["waiting", "ended"]);
  assert.deepEqual(later, ["ended"]);
});

test("a connection that is lost while the process is being closed is not made again", async (t) => {
  const s = await Session.begin(t);
  s.socket.start(allExtensions);
  s.process.close();
  s.socket.drop();
  await assert.rejects(s.process.exited);
  await s.pass(60_000);
  assert.equal(s.sockets.length, 1);
});

test("a token function may say that there will be no token", async (t) => {
  const error = new DisconnectedError("the user does not want to", { status: 401 });
  const s = await Session.begin(t, {}, { token: () => Promise.reject(error) });
  assert.equal(await s.process.exited.catch((e: unknown) => e), error);
});

test("a token that can't be had now may be had later", async (t) => {
  let fails = true;
  const token = async (): Promise<string> => {
    if (fails) throw new Error("offline");
    return "t";
  };
  const s = await Session.begin(t, {}, { token });
  const { state } = s.process;
  assert.match(state.status === "waiting" ? state.error.message : "", /there is no token/);
  assert.ok(!(state.status === "waiting" && state.error instanceof StartError));
  fails = false;
  await s.expectAttemptAfter(1_000);
});
