import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { TestContext } from "node:test";

import { DisconnectedError, StartError } from "../src/index.js";
import { FakeSocket, allExtensions, settle } from "./fake.js";
import { Session } from "./session.js";

// A lost connection is replaced. The test is the server, and controls the time.

const resumable = { ...allExtensions, resume: 60 };
const ONE_MIB = 1 << 20;

/** What a start offers by default. */
const offered = { window: ONE_MIB, max_message: 262_144, signal: true, outcome: true, echo: true, resume: 60 };

/** Loses the connection, and waits for the next one. */
async function lose(s: Session, code = 1006): Promise<FakeSocket> {
  s.socket.drop(code);
  await s.pass(50);
  return s.socket;
}

/** Loses the connection, and replaces it. The server answers with resumed. Returns the client's resume message. */
async function comeBack(s: Session, has: { stdin?: number; seq?: number } = {}): Promise<Record<string, any>> {
  const socket = await lose(s);
  socket.open();
  const [asked] = socket.take();
  socket.deliver({ type: "resumed", pid: 42, extensions: resumable, ...has });
  await settle();
  return asked!;
}

test("each start has its own key, and says how long the server should wait", async (t) => {
  const keys = new Set<string>();
  for (let i = 0; i < 2; i++) {
    await t.test(async (t) => {
      const s = await Session.begin(t, {}, { resume: 90_500 });
      const { key, extensions } = s.socket.start(resumable);
      assert.match(key, /^[\w-]{43}$/);
      assert.equal(extensions.resume, 90);
      keys.add(key);
    });
  }
  assert.equal(keys.size, 2);
});

for (const resume of [0, 999, false] as const) {
  test(`resume: ${resume} is the wire without it`, async (t) => {
    const s = await Session.begin(t, { id: "" }, { resume });
    const { key, extensions } = s.socket.start(allExtensions);
    assert.equal(key, undefined);
    assert.ok(!("resume" in extensions));
    s.socket.drop();
    await assert.rejects(s.process.exited, { kind: "lost", message: "connection lost" });
    assert.equal(s.sockets.length, 1);
  });
}

test("without the server's consent the wire is as before", async (t) => {
  const s = await Session.begin(t, { id: "", tty: false, stdin: true });
  s.socket.start(allExtensions);
  await s.process.stdin.getWriter().write("x");
  await s.process.signal("INT");
  s.socket.deliver({ type: "stdout" }, "y");
  await s.process.stdout.getReader().read();
  await s.pass(2_000);
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 1 }, { type: "signal", signal: "INT" }]);
  s.socket.drop();
  await assert.rejects(s.process.exited, { kind: "lost" });
});

test("each end sends on from the other's offset", async (t) => {
  const s = await Session.begin(t, { id: "" });
  const { key } = s.socket.start(resumable);
  const writer = s.process.stdin.getWriter();
  await writer.write("abcdef");
  s.socket.deliver({ type: "stdout" }, "one ");
  const reader = s.process.stdout.getReader();
  const read = async () => Buffer.from((await reader.read()).value ?? "").toString();
  assert.equal(await read(), "one ");
  s.socket.deliver({ type: "stdout" }, "two ");
  s.socket.deliver({ type: "ack", stdin: 2 });
  const asked = await comeBack(s, { stdin: 4 });
  assert.deepEqual(asked, { type: "resume", key, stdout: 8, stderr: 0, attempt: 1, extensions: offered });
  assert.deepEqual(s.socket.take(), [{ type: "ack", stdout: 4 }, { type: "stdin", length: 2 }]);
  s.socket.deliver({ type: "stdout" }, "three");
  s.socket.deliver({ type: "exit_code", exit_code: 3 });
  assert.deepEqual(await s.process.exited, { code: 3 });
  assert.equal((await read()) + (await read()), "two three");
  const kinds = s.states.map((state) => ({ ...state, retryAt: undefined, error: undefined }));
  assert.deepEqual(kinds.slice(1, 4).map(({ status, ...rest }) => [status, "resuming" in rest || "resumed" in rest]), [
    ["waiting", true],
    ["connecting", true],
    ["connected", true],
  ]);
});

test("writes meanwhile wait, within the window", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start({ ...resumable, window: 4096 });
  s.socket.drop();
  const writer = s.process.stdin.getWriter();
  await writer.write("x".repeat(4096));
  let done = false;
  const stuck = writer.write("y").then(() => (done = true));
  await s.pass(50);
  s.socket.open();
  s.socket.take();
  s.socket.deliver({ type: "resumed", pid: 42, extensions: resumable });
  await settle();
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 4096 }]);
  assert.equal(done, false);
  s.socket.deliver({ type: "ack", stdin: 1 });
  await stuck;
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 1 }]);
});

test("requests have numbers, and are sent again until the server has taken them; a size comes before what is typed after it", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.process.resize(31, 91);
  await s.process.signal("INT");
  assert.deepEqual(s.socket.take(), [
    { type: "resize", rows: 31, cols: 91, seq: 1 },
    { type: "signal", signal: "INT", seq: 2 },
  ]);
  s.socket.deliver({ type: "ack", seq: 1 });
  s.socket.drop();
  await s.process.signal("SIGTERM");
  s.process.resize(32, 92);
  s.process.resize(33, 93);
  await s.process.stdin.getWriter().write("last words");
  const closing = s.process.close();
  await s.pass(50);
  s.socket.open();
  s.socket.take();
  s.socket.deliver({ type: "resumed", pid: 42, seq: 2, extensions: resumable });
  await settle();
  assert.deepEqual(s.socket.take(), [
    { type: "signal", signal: "TERM", seq: 3 },
    { type: "resize", rows: 33, cols: 93, seq: 4 },
    { type: "stdin", length: 10 },
    { type: "close", seq: 5 },
  ]);
  s.socket.deliver({ type: "exit_code", exit_code: -1, signal: "TERM" });
  assert.deepEqual(await s.process.exited, { signal: "TERM" });
  await closing;
});

test("a size that follows a lost one is told, whether the server has taken that or not", async (t) => {
  for (const seq of [0, 1]) {
    await t.test(`taken ${seq}`, async (t) => {
      const s = await Session.begin(t, { id: "" });
      s.socket.start(resumable);
      s.process.resize(31, 91);
      s.socket.drop();
      s.process.resize(32, 92);
      s.process.resize(33, 93);
      await comeBack(s, { seq });
      const sizes = s.socket.take();
      assert.deepEqual(sizes.at(-1), { type: "resize", rows: 33, cols: 93, seq: 2 });
      assert.equal(sizes.length, 2 - seq);
    });
  }
});

test("a size that is told while the last one is sent again does not take its number", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.process.resize(31, 91);
  s.socket.drop();
  s.process.onStateChange((state) => state.status === "connected" && s.process.resize(32, 92));
  await comeBack(s, { seq: 0 });
  assert.deepEqual(s.socket.take(), [
    { type: "resize", rows: 31, cols: 91, seq: 1 },
    { type: "resize", rows: 32, cols: 92, seq: 2 },
  ]);
});

test("stdin waits behind a size for which there is no room", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  for (let i = 0; i < 64; i++) await s.process.signal("USR1");
  s.process.resize(31, 91);
  const writing = s.process.stdin.getWriter().write("typed");
  await settle();
  assert.deepEqual(s.socket.take().map(({ type }) => type), Array<string>(64).fill("signal"));
  s.socket.deliver({ type: "ack", seq: 1 });
  await writing;
  assert.deepEqual(s.socket.take(), [
    { type: "resize", rows: 31, cols: 91, seq: 65 },
    { type: "stdin", length: 5 },
  ]);
});

test("the end of stdin comes behind its last byte, also the second time", async (t) => {
  const s = await Session.begin(t, { id: "", tty: false, stdin: true });
  s.socket.start({ ...resumable, window: 4096 });
  const writer = s.process.stdin.getWriter();
  await writer.write("x".repeat(4096));
  await writer.close();
  await s.process.signal("USR1");
  assert.deepEqual(s.socket.take().map(({ type, seq }) => [type, seq]), [
    ["stdin", undefined],
    ["close_stdin", 1],
    ["signal", 2],
  ]);
  await comeBack(s, { stdin: 96 });
  assert.deepEqual(s.socket.take(), [
    { type: "stdin", length: 4000 },
    { type: "close_stdin", seq: 1 },
    { type: "signal", signal: "USR1", seq: 2 },
  ]);
});

test("no more than 64 requests wait for the server", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  const asked = Array.from({ length: 70 }, () => s.process.signal("USR1"));
  await settle();
  assert.equal(s.socket.take().length, 64);
  s.socket.deliver({ type: "ack", seq: 64 });
  await Promise.all(asked);
  await settle();
  assert.deepEqual(s.socket.take().map(({ seq }) => seq), [65, 66, 67, 68, 69, 70]);
});

for (const [end, happen] of [
  ["the process has ended", (socket: FakeSocket) => socket.deliver({ type: "exit_code", exit_code: 0 })],
  ["only output is left", (socket: FakeSocket) => socket.deliver({ type: "exit_code", exit_code: 0, pending: true })],
  ["the connection is lost for good", (socket: FakeSocket) => socket.drop(4001)],
] as const) {
  test(`a signal that waits for room is refused: ${end}`, { timeout: 60_000 }, async (t) => {
    const s = await Session.begin(t, { id: "" });
    s.socket.start(resumable);
    await Promise.all(Array.from({ length: 64 }, () => s.process.signal("USR1")));
    const refused = assert.rejects(s.process.signal("USR1"));
    await settle();
    happen(s.socket);
    await refused;
  });
}

test("what is read after the end starts no timer", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.socket.deliver({ type: "stdout" }, "few");
  s.socket.deliver({ type: "exit_code", exit_code: 0 });
  const timers = t.mock.method(globalThis, "setTimeout");
  assert.equal((await s.process.stdout.getReader().read()).value?.length, 3);
  assert.equal(timers.mock.callCount(), 0);
});

test("output that was read is acknowledged after a quiet second", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.socket.deliver({ type: "stdout" }, "few");
  await s.process.stdout.getReader().read();
  await s.pass(999);
  assert.deepEqual(s.socket.take(), []);
  await s.pass(1);
  assert.deepEqual(s.socket.take(), [{ type: "ack", stdout: 3 }]);
  await s.pass(5_000);
  assert.deepEqual(s.socket.take(), []);
});

test("attempts come less and less often, for as long as the server waits", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start({ ...resumable, resume: 20 });
  const began = Date.now();
  for (const ms of [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
    s.socket.drop();
    await s.expectAttemptAfter(ms);
  }
  const failed = s.process.exited.catch((error: unknown) => error);
  for (let i = 0; i < 4 && s.process.state.status !== "ended"; i++) {
    s.socket.drop();
    await s.pass(1_000);
  }
  assert.match(String(await failed), /not resumed/);
  assert.ok(Date.now() - began < 21_000, `${Date.now() - began}`);
});

test("a server that says goodbye is expected back at once, but not each time", async (t) => {
  for (const code of [1001, 1012]) {
    await t.test(async (t) => {
      const s = await Session.begin(t, { id: "" });
      s.socket.start(resumable);
      s.socket.drop(code);
      await s.pass(0);
      assert.equal(s.sockets.length, 2);
      s.socket.open();
      s.socket.drop(code);
      await s.expectAttemptAfter(100);
    });
  }
});

const finals: [string, (socket: FakeSocket) => void, string][] = [
  ...["unknown", "taken", "permission", "busy", "gap"].map((kind): [string, (socket: FakeSocket) => void, string] => [
    `resume_error ${kind}`,
    (socket) => socket.deliver({ type: "resume_error", kind, message: "no" }),
    "lost",
  ]),
  ["policy", (socket) => socket.drop(1008), "protocol"],
  ["protocol", (socket) => socket.drop(1002), "protocol"],
  ["too big", (socket) => socket.drop(1009), "protocol"],
  ["taken", (socket) => socket.drop(4001), "taken"],
  ["unauthorized", (socket) => socket.drop(3000), "unauthorized"],
  ["an impossible offset", (socket) => socket.deliver({ type: "resumed", pid: 42, stdin: 1 }), "protocol"],
  ["an impossible number", (socket) => socket.deliver({ type: "resumed", pid: 42, seq: 1 }), "protocol"],
  ["a pid", (socket) => socket.deliver({ type: "pid", pid: 42 }), "protocol"],
];
for (const [name, fail, kind] of finals) {
  test(`the client gives up: ${name}`, async (t) => {
    const s = await Session.begin(t, { id: "" });
    s.socket.start(resumable);
    const socket = await lose(s);
    socket.open();
    fail(socket);
    await assert.rejects(s.process.exited, { kind, message: /^connection lost, and not resumed: / });
    await s.pass(60_000);
    assert.equal(s.sockets.length, 2);
  });
}

test("a server that does not answer has no resume", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  const socket = await lose(s);
  await s.pass(5_000);
  socket.open();
  await s.pass(9_999);
  assert.equal(s.process.state.status, "connecting");
  await s.pass(1);
  await assert.rejects(s.process.exited, { kind: "silent" });
});

test("a server that knows the question, and does not answer, is asked again", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  const socket = await lose(s);
  socket.open({ "wsep-server": "a.1" });
  await s.pass(10_000);
  assert.equal(socket.closedWith, undefined);
  await s.expectAttemptAfter(100);
});

test("an attempt that takes ten seconds is replaced by another", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  const socket = await lose(s);
  await s.pass(10_000);
  assert.equal(socket.closedWith, undefined);
  await s.expectAttemptAfter(100);
});

test("the client does not come back after another one has taken over", async (t) => {
  const s = await Session.begin(t);
  s.socket.start(resumable);
  s.socket.drop(4001, "another connection has taken over");
  await assert.rejects(s.process.exited, { name: "DisconnectedError", kind: "taken", code: 4001 });
  await s.pass(60_000);
  assert.equal(s.sockets.length, 1);
});

test("the client does not come back after the server has ended the conversation", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.socket.deliver({ type: "exit_code", exit_code: -1, error: "closing", kind: "disconnected", pending: true });
  await assert.rejects(s.process.exited, { kind: "remote", message: "closing" });
  await s.pass(60_000);
  assert.equal(s.sockets.length, 1);
});

test("output after the exit arrives over another connection, and the exit may come again", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.socket.deliver({ type: "exit_code", exit_code: 3, pending: true });
  assert.deepEqual(await s.process.exited, { code: 3 });
  await comeBack(s);
  s.socket.deliver({ type: "exit_code", exit_code: 3, pending: true });
  s.socket.deliver({ type: "stdout" }, "late");
  s.socket.deliver({ type: "end" });
  assert.equal(await new Response(s.process.stdout).text(), "late");
  assert.deepEqual(s.states.map(({ status }) => status), ["connected", "ended"]);
  assert.equal(s.socket.closedWith, 1000);
});

test("pid was lost: the command is taken up", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.open();
  const [start] = s.socket.take();
  const socket = await lose(s);
  s.process.resize(30, 90);
  socket.open();
  const [asked] = socket.take();
  assert.equal(asked!["key"], start!["key"]);
  assert.deepEqual([asked!["stdout"], asked!["stderr"], asked!["server"]], [0, 0, undefined]);
  socket.deliver({ type: "resumed", pid: 43, extensions: resumable });
  await s.process.started;
  assert.equal(s.process.pid, 43);
  assert.deepEqual(socket.take(), [{ type: "resize", rows: 30, cols: 90, seq: 1 }]);
});

test("pid was lost: the server gets the mark that it gave with the connection for start", async (t) => {
  for (const [mark, sent] of [["a.1", "a.1"], ["x".repeat(129), undefined], [undefined, undefined]]) {
    await t.test(async (t) => {
      const s = await Session.begin(t, { id: "" });
      s.socket.open({ "wsep-server": mark });
      for (let i = 0; i < 2; i++) {
        await lose(s);
        await s.pass(100);
        s.socket.open({ "wsep-server": "another's" });
        const [asked] = s.socket.take();
        assert.deepEqual([asked!["server"], asked!["attempt"]], [sent, i + 1]);
      }
    });
  }
});

test("pid was lost: the command is started again only if the server says that it never was", async (t) => {
  for (const never of [true, false]) {
    await t.test(async (t) => {
      const s = await Session.begin(t, { id: "" });
      s.socket.open();
      const [start] = s.socket.take();
      const socket = await lose(s);
      socket.open();
      socket.deliver({ type: "resume_error", kind: "unknown", message: "no", never });
      await settle();
      if (!never) {
        await assert.rejects(s.process.exited, DisconnectedError);
        return;
      }
      assert.equal(socket.closedWith, 1000);
      assert.equal(s.sockets.length, 3);
      const again = s.socket.start(resumable);
      assert.equal(again["type"], "start");
      assert.notEqual(again["key"], start!["key"]);
      await s.process.started;
    });
  }
});

test("only starts in a row that never arrived count", async (t) => {
  const s = await Session.begin(t);
  for (let i = 0; i < 10; i++) {
    if (i === 5) {
      s.socket.start(allExtensions);
      s.socket.drop();
      await s.pass(30_000);
    }
    s.socket.open();
    const socket = await lose(s);
    socket.open();
    socket.deliver({ type: "resume_error", kind: "unknown", message: "no", never: true });
    await settle();
    assert.equal(s.process.state.status, "connecting", `after ${i + 1}`);
  }
});

test("a start whose key the server has refused meanwhile starts nothing, and is not repeated", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.open();
  s.socket.deliver({ type: "start_error", kind: "invalid", message: "key was used before" });
  assert.deepEqual(await s.process.exited.catch((e: unknown) => e), new StartError("invalid", "key was used before"));
  await s.pass(60_000);
  assert.equal(s.sockets.length, 1);
});

test("pid was lost: the command could not be started", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.open();
  const socket = await lose(s);
  socket.open();
  socket.deliver({ type: "start_error", kind: "not_found", message: "no such program" });
  assert.deepEqual(await s.process.exited.catch((e: unknown) => e), new StartError("not_found", "no such program"));
});

test("a session is resumed, and attached to again only if that fails", async (t) => {
  const s = await Session.begin(t);
  const { key } = s.socket.start(resumable);
  s.socket.deliver({ type: "stdout" }, "unread");
  assert.equal((await comeBack(s))["type"], "resume");
  const socket = await lose(s);
  await s.process.stdin.getWriter().write("typed");
  socket.open();
  socket.deliver({ type: "resume_error", kind: "unknown", message: "time is over" });
  await settle();
  assert.equal(s.process.state.status, "waiting");
  assert.ok(!("resuming" in s.process.state));
  await s.expectAttemptAfter(500);
  const again = s.socket.start(resumable);
  assert.deepEqual([again["type"], again["id"]], ["start", "s"]);
  assert.notEqual(again["key"], key);
  assert.deepEqual(s.socket.take(), []);
  assert.deepEqual(s.process.state, { status: "connected" });
});

test("a connection that is given up while it resumes is not closed with 1000", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  const socket = await lose(s);
  socket.open();
  let code: unknown = "none";
  socket.close = (given) => (code = given);
  s.process.retry();
  await settle();
  assert.equal(code, undefined);
  assert.equal(s.sockets.length, 3);
  s.socket.open();
  s.socket.deliver({ type: "resumed", pid: 42, extensions: resumable });
  assert.deepEqual(s.process.state, { status: "connected", resumed: true });
});

test("close waits for the connection, but not for ever", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  s.socket.drop();
  const closed = s.process.close();
  await s.pass(50);
  s.socket.open();
  s.socket.take();
  s.socket.deliver({ type: "resumed", pid: 42, extensions: resumable });
  assert.deepEqual(s.socket.take(), [{ type: "close", seq: 1 }]);
  s.socket.drop();
  await s.pass(10_000);
  await assert.rejects(closed, { kind: "closed" });
  const n = s.sockets.length;
  await s.pass(60_000);
  assert.equal(s.sockets.length, n);
});

test("an abort ends the attempts", async (t) => {
  const aborting = new AbortController();
  const s = await Session.begin(t, { id: "" }, { signal: aborting.signal });
  s.socket.start(resumable);
  s.socket.drop();
  aborting.abort();
  await assert.rejects(s.process.exited, { name: "AbortError" });
  await s.pass(60_000);
  assert.equal(s.sockets.length, 2); // The second takes leave.
});

test("each attempt asks for a token, and its refusal ends the attempts", async (t) => {
  let refused = false;
  const token = async (): Promise<string> => {
    if (refused) throw new DisconnectedError("not any more", { status: 401 });
    return "t";
  };
  const s = await Session.begin(t, { id: "" }, { token });
  s.socket.start(resumable);
  refused = true;
  s.socket.drop();
  await s.pass(50);
  await assert.rejects(s.process.exited, { kind: "unauthorized", status: 401 });
});

test("half jitter", async (t) => {
  const s = await Session.begin(t, { id: "" });
  s.socket.start(resumable);
  mock.method(Math, "random", () => 0);
  s.socket.drop();
  await s.expectAttemptAfter(25);
});

/** Starts a process, whose connection is then lost. */
async function away(t: TestContext): Promise<{ s: Session; key: string; ending: AbortController }> {
  const ending = new AbortController();
  const s = await Session.begin(t, { id: "", signal: ending.signal });
  const { key } = s.socket.start(resumable);
  s.socket.drop();
  return { s, key, ending };
}

/** Ends a process in one of the ways that do not wait for its server. */
const givenUp: Record<string, (s: Session, ending: AbortController) => unknown> = {
  "an abort": (_, ending) => ending.abort(new Error("enough")),
  "a close": async (s) => {
    const closing = s.process.close().catch(() => {});
    await s.pass(10_000);
    await closing;
  },
};
for (const [name, giveUp] of Object.entries(givenUp)) {
  test(`${name} without a connection: the server is told over another one`, async (t) => {
    for (const when of ["waiting", "dialing", "asking"]) {
      await t.test(when, async (t) => {
        const { s, key, ending } = await away(t);
        if (when !== "waiting") await s.pass(50);
        if (when === "asking") s.socket.open({ "wsep-server": "a.1" });
        const before = s.sockets.length;
        await giveUp(s, ending);
        await settle();
        await assert.rejects(s.process.exited);
        s.socket.drop();
        await settle();
        await s.pass(100);
        assert.ok(s.sockets.length > before + 1);
        s.socket.open();
        const [asked] = s.socket.take();
        assert.deepEqual([asked!["type"], asked!["key"]], ["resume", key]);
        s.socket.deliver({ type: "future" });
        assert.equal(s.socket.closedWith, undefined);
        s.socket.deliver({ type: "resumed", pid: 42, extensions: resumable });
        assert.equal(s.socket.closedWith, 1000);
        const made = s.sockets.length;
        await s.pass(60_000);
        assert.equal(s.sockets.length, made);
      });
    }
  });
}

test("a server that can't be told that a command is not wanted is not asked for long", async (t) => {
  const { s, ending } = await away(t);
  ending.abort();
  await settle();
  for (let i = 0; i < 20; i++) {
    s.socket.drop();
    await settle();
    await s.pass(1_000);
  }
  const tried = s.sockets.length;
  await s.pass(60_000);
  assert.ok(tried > 3 && tried < 10, `${tried}`);
  assert.equal(s.sockets.length, tried);
});

test("a server that does not answer is left alone when a command is not wanted", async (t) => {
  const { s, ending } = await away(t);
  ending.abort();
  await settle();
  s.socket.open();
  let closed = false;
  s.socket.close = () => void (closed = true);
  await s.pass(4_999);
  assert.equal(closed, false);
  await s.pass(1);
  assert.equal(closed, true);
  await s.pass(60_000);
  assert.equal(s.sockets.length, 2);
});

test("a refusal ends the leave", async (t) => {
  const { s, ending } = await away(t);
  ending.abort();
  await settle();
  s.socket.open();
  s.socket.drop(3000);
  await s.pass(60_000);
  assert.equal(s.sockets.length, 2);
});
