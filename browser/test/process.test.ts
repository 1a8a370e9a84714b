import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { TestContext } from "node:test";

import { DisconnectedError, EndedError, OutcomeError, StartError, connect } from "../src/index.js";
import type { ConnectOptions, Loss, Process, SpawnOptions, State } from "../src/index.js";
import { FakeSocket, allExtensions, fakeSockets, settle } from "./fake.js";

interface Spawned {
  process: Process;
  sockets: FakeSocket[];
  /** The socket of a process that makes only one. */
  socket: FakeSocket;
  states: State[];
}

async function spawn(options: SpawnOptions = {}, connectOptions: ConnectOptions = {}): Promise<Spawned> {
  const { WebSocket, sockets } = fakeSockets();
  const process = connect("ws://host.test/", { WebSocket, ...connectOptions }).spawn("cat", options);
  const states: State[] = [];
  process.onStateChange((state) => states.push(state));
  await settle();
  return { process, sockets, socket: sockets[0]!, states };
}

function fakeTime(t: TestContext): void {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.after(() => mock.timers.reset());
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

test("the whole conversation of a command", async () => {
  const { process, socket, states } = await spawn({ args: ["-u"], stdin: true, env: { A: "1" }, cwd: "/tmp" });
  const start = socket.start(allExtensions);
  assert.deepEqual(start["command"].args, ["-u"]);
  assert.deepEqual(start["command"].env, ["A=1"]);
  assert.equal(start["command"].working_dir, "/tmp");
  assert.equal(start["extensions"].window, 1 << 20);
  await process.started;
  assert.equal(process.pid, 42);

  const writer = process.stdin.getWriter();
  await writer.write(Buffer.from("input"));
  await writer.close();
  assert.deepEqual(socket.take(), [{ type: "stdin", length: 5 }, { type: "close_stdin" }]);

  socket.deliver({ type: "stdout" }, "one\n");
  socket.deliver({ type: "stderr" }, "two\n");
  socket.deliver({ type: "stdout" }, "three\n");
  socket.deliver({ type: "exit_code", exit_code: 3, error: "exit status 3" });
  assert.deepEqual(await process.exited, { code: 3 });
  assert.equal(await text(process.stdout), "one\nthree\n");
  assert.equal(await text(process.stderr), "two\n");
  assert.equal(socket.closedWith, 1000);
  assert.deepEqual(states, [{ status: "connected" }, { status: "ended", exit: { code: 3 } }]);
});

test("bytes that are not kept are told", async () => {
  const { process, socket } = await spawn({ id: "b", keep: 1500 });
  assert.deepEqual(process.skipped, { stdout: 0, stderr: 0 });
  const start = socket.start({ ...allExtensions, session: true, keep: 2 });
  assert.equal(start["extensions"].keep, 2);
  assert.equal(start["extensions"].session, true);
  socket.deliver({ type: "skipped", stdout: 5, stderr: 6 });
  assert.deepEqual(process.skipped, { stdout: 5, stderr: 6 });
});

test("how commands end", async (t) => {
  const outcomes: [string, object, unknown][] = [
    ["success", { exit_code: 0 }, { code: 0 }],
    ["a signal", { exit_code: -1, error: "signal: killed", signal: "KILL" }, { signal: "KILL" }],
    ["v0.2.4's signal", { exit_code: -1, error: "signal: killed" }, { code: -1 }],
    ["v0.2.4 does not know", { exit_code: 0, error: "wait: no child" }, new OutcomeError("other", "wait: no child")],
    ["a kind", { exit_code: -1, error: "no", kind: "permission" }, new OutcomeError("permission", "no")],
    ["a kind of the future", { exit_code: -1, error: "no", kind: "future" }, new OutcomeError("other", "no")],
    [
      "lost further on",
      { exit_code: -1, error: "gone", kind: "disconnected" },
      new DisconnectedError("gone", { kind: "remote" }),
    ],
  ];
  for (const [name, message, expected] of outcomes) {
    await t.test(name, async () => {
      const { process, socket } = await spawn();
      socket.start(allExtensions);
      socket.deliver({ type: "exit_code", ...message });
      assert.deepEqual(await process.exited.catch((error: unknown) => error), expected);
    });
  }
});

function lost(reason: string, code: number, kind: Loss = "lost"): DisconnectedError {
  return new DisconnectedError(`connection lost: ${reason}`, { code, kind });
}

test("how starts fail", async (t) => {
  const failures: [string, (socket: FakeSocket) => void, unknown][] = [
    [
      "start_error",
      (socket) => socket.deliver({ type: "start_error", kind: "not_found", message: "no such program" }),
      new StartError("not_found", "no such program"),
    ],
    ["a reason", (socket) => socket.drop(1011, "start command: no program"), new StartError("other", "no program")],
    ["v0.2.4's terminal", (socket) => socket.drop(1011, "start command with pty: no"), new StartError("other", "no")],
    ["busy", (socket) => socket.drop(1013, "start command: too many"), new StartError("busy", "too many")],
    [
      "lost further on",
      (socket) => socket.deliver({ type: "start_error", kind: "disconnected", message: "gone" }),
      new DisconnectedError("gone", { kind: "remote" }),
    ],
    ["a proxy's timeout", (socket) => socket.drop(1011, "upstream timeout"), lost("upstream timeout", 1011)],
    ["a restart", (socket) => socket.drop(1012, "service restart"), lost("service restart", 1012)],
    ["a busy proxy", (socket) => socket.drop(1013, "try again later"), lost("try again later", 1013)],
    ["a bad gateway", (socket) => socket.drop(1014, "bad gateway"), lost("bad gateway", 1014)],
    ["a code of somebody's own", (socket) => socket.drop(4000, "idle"), lost("idle", 4000)],
    ["going away", (socket) => socket.drop(1001, "bye"), lost("bye", 1001)],
    ["a chain's end", (socket) => socket.drop(1001, "start command: x"), lost("start command: x", 1001)],
    ["unauthorized", (socket) => socket.drop(3000, "no"), lost("no", 3000, "unauthorized")],
    ["policy", (socket) => socket.drop(1008, "no"), lost("no", 1008, "protocol")],
    [
      "no reason",
      (socket) => socket.drop(1011),
      new DisconnectedError("connection lost: closed with code 1011", { code: 1011 }),
    ],
    ["lost", (socket) => socket.drop(), new DisconnectedError("connection lost", { code: 1006 })],
  ];
  for (const [name, fail, expected] of failures) {
    await t.test(name, async () => {
      const { process, socket, states } = await spawn({ stdin: true }, { resume: 0 });
      const writing = process.stdin.getWriter().write(Buffer.from("x"));
      socket.open();
      fail(socket);
      for (const waiting of [process.exited, process.started, writing, text(process.stdout)]) {
        assert.deepEqual(await waiting.catch((error: unknown) => error), expected);
      }
      assert.deepEqual(states, [{ status: "ended", error: expected }]);
      assert.equal(socket.closedWith, 1000);
    });
  }
});

test("a connection that can't be made", async () => {
  const cause = new Error("no route");
  const failures: [(socket: FakeSocket) => void, string, unknown][] = [
    [(socket) => socket.drop(), "connection could not be made", undefined],
    [(socket) => socket.drop(1002, "Expected 101"), "connection could not be made", undefined],
    [(socket) => socket.fail(), "connection could not be made", undefined],
    [(socket) => socket.fail({ error: cause }), "connection could not be made: no route", cause],
    [(socket) => socket.fail({ message: "no route" }), "connection could not be made: no route", cause],
  ];
  for (const [fail, message, cause] of failures) {
    const { process, socket } = await spawn();
    fail(socket);
    const expected = new DisconnectedError(message, { kind: "unreachable", code: 1006, cause });
    assert.deepEqual(await process.exited.catch((error: unknown) => error), expected);
  }
});

test("an error after the opening is the cause of the DisconnectedError", async () => {
  const { process, socket } = await spawn({}, { resume: 0 });
  socket.start(allExtensions);
  const cause = new Error("reset");
  socket.fail({ error: cause });
  assert.equal(process.state.status, "connected");
  socket.drop();
  await assert.rejects(process.exited, { name: "DisconnectedError", kind: "lost", code: 1006, cause });
});

test("an abort while the token is waited for leaves no socket", async () => {
  const aborting = new AbortController();
  let answer = (_: string): void => {};
  const asked: AbortSignal[] = [];
  const token = (signal: AbortSignal): Promise<string> => {
    asked.push(signal);
    return new Promise((resolve) => (answer = resolve));
  };
  const { process, sockets } = await spawn({}, { signal: aborting.signal, token });
  const reason = new Error("enough");
  aborting.abort(reason);
  assert.ok(asked[0]!.aborted);
  answer("secret");
  await settle();
  await assert.rejects(process.exited, reason);
  assert.equal(sockets.length, 0);
});

test("a socket has its handlers before anything else happens", async () => {
  let handlers: unknown[] = [];
  class Hasty extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      queueMicrotask(() => (handlers = [this.onopen, this.onmessage, this.onerror, this.onclose]));
    }
  }
  await spawn({}, { WebSocket: Hasty, token: async () => "t" });
  assert.equal(handlers.filter((handler) => typeof handler === "function").length, 4);
});

test("a token function that does not answer", async (t) => {
  fakeTime(t);
  const signals: AbortSignal[] = [];
  const token = (signal: AbortSignal): Promise<string> => {
    signals.push(signal);
    return new Promise(() => {});
  };
  const { process, sockets } = await spawn({}, { token });
  mock.timers.tick(29_999);
  await settle();
  assert.equal(process.state.status, "connecting");
  mock.timers.tick(1);
  await assert.rejects(process.exited, { name: "DisconnectedError", kind: "no_token" });
  assert.ok(signals[0]!.aborted);
  assert.equal(sockets.length, 0);
});

test("a lost connection is no success, whatever the close code", async () => {
  for (const code of [1000, 1001, 1006, 1011]) {
    const { process, socket } = await spawn({ stdin: true });
    socket.start(allExtensions);
    socket.deliver({ type: "stdout" }, "half");
    socket.drop(code);
    await assert.rejects(process.exited, DisconnectedError);
    const reader = process.stdout.getReader();
    assert.equal(Buffer.from((await reader.read()).value!).toString(), "half");
    await assert.rejects(reader.read(), DisconnectedError);
    await assert.rejects(process.stdin.getWriter().write(Buffer.from("x")), DisconnectedError);
  }
});

test("a server that breaks the protocol", async (t) => {
  const faults: [string, (socket: FakeSocket) => void][] = [
    ["malformed", (socket) => socket.deliver("nonsense")],
    ["no object", (socket) => socket.deliver("[]")],
    ["more than the window", (socket) => socket.deliver({ type: "stdout" }, new Uint8Array(8193))],
    ["an ack of what was not sent", (socket) => socket.deliver({ type: "ack", stdin: 1 })],
    ["end without an exit code", (socket) => socket.deliver({ type: "end" })],
    ["too large a message", (socket) => socket.deliver({ type: "future" }, new Uint8Array(262_144))],
  ];
  for (const [name, fault] of faults) {
    await t.test(name, async () => {
      const { process, socket, sockets } = await spawn({ window: 8192, tty: true, id: "s" });
      socket.start(allExtensions);
      fault(socket);
      await assert.rejects(process.exited, /server broke the protocol/);
      assert.equal(socket.closedWith, 1000);
      assert.equal(sockets.length, 1, "it does so again if it is asked again");
    });
  }
  await t.test("output before pid", async () => {
    const { process, socket } = await spawn();
    socket.open();
    socket.deliver({ type: "stdout" }, "x");
    await assert.rejects(process.exited, /server broke the protocol/);
  });
});

test("messages without a meaning are ignored", async () => {
  const { process, socket } = await spawn();
  socket.open();
  socket.deliver({ type: "future" }, "x");
  socket.deliver({ type: "pid", pid: 1 });
  socket.deliver({ type: "future" }, "x");
  socket.deliver({ type: "stdin" }, "x");
  socket.deliver({ type: "pid", pid: 2 });
  socket.deliver({ type: "start_error" });
  socket.onmessage?.({ data: '{ "type": "stdout" }\ntext' } as never);
  socket.deliver({ type: "exit_code" });
  assert.equal(await text(process.stdout), "text");
  assert.equal(process.pid, 1);
  assert.deepEqual(await process.exited, { code: 0 });
});

test("only output that was read is acknowledged", async () => {
  const { process, socket } = await spawn({ window: 8192 });
  socket.start(allExtensions);
  for (let i = 0; i < 8; i++) socket.deliver({ type: "stdout" }, new Uint8Array(1024));
  await settle();
  assert.deepEqual(socket.take(), []);
  const reader = process.stdout.getReader();
  await settle();
  assert.deepEqual(socket.take(), [], "a reader is there, and has not read");
  let read = 0;
  while (read < 8192) read += (await reader.read()).value!.length;
  assert.equal(read, 8192);
  const acks = socket.take();
  assert.ok(acks.length >= 1 && acks.length <= 4, JSON.stringify(acks));
  const last = acks.at(-1)!["stdout"];
  assert.ok(last > 8192 - 2048, `${last}`);
  socket.deliver({ type: "stdout" }, new Uint8Array(last));
});

test("one stream's window is not the other's", async () => {
  const { process, socket } = await spawn({ window: 4096 });
  socket.start(allExtensions);
  socket.deliver({ type: "stderr" }, new Uint8Array(4096));
  for (let i = 0; i < 100; i++) {
    socket.deliver({ type: "stdout" }, new Uint8Array(4096));
    const reader = process.stdout.getReader();
    await reader.read();
    reader.releaseLock();
  }
  const offsets = socket.take();
  assert.deepEqual(offsets.at(-1), { type: "ack", stdout: 409_600 });
  assert.ok(offsets.every((ack) => ack["stderr"] === undefined));
});

test("a canceled stream takes everything", async () => {
  const { process, socket } = await spawn({ window: 4096 });
  socket.start(allExtensions);
  socket.deliver({ type: "stderr" }, new Uint8Array(4000));
  await process.stderr.cancel();
  assert.deepEqual(socket.take(), [{ type: "ack", stderr: 4000 }]);
  for (let i = 0; i < 10; i++) socket.deliver({ type: "stderr" }, new Uint8Array(4096));
  assert.deepEqual(socket.take().at(-1), { type: "ack", stderr: 44_960 });
});

test("a flood of tiny messages takes no more than its bytes", async () => {
  const { process, socket } = await spawn();
  socket.start(allExtensions);
  const total = 50_000;
  for (let i = 0; i < total; i++) socket.deliver({ type: "stdout" }, Uint8Array.of(i));
  socket.deliver({ type: "exit_code" });
  const reader = process.stdout.getReader();
  const pieces: Uint8Array[] = [];
  for (let next = await reader.read(); !next.done; next = await reader.read()) pieces.push(next.value);
  assert.ok(pieces.length < 10, `${pieces.length} pieces`);
  assert.deepEqual(Buffer.concat(pieces), Buffer.from(Uint8Array.from({ length: total }, (_, i) => i)));
});

test("a connection without windows is closed when output piles up", async () => {
  const { process, socket } = await spawn();
  socket.start();
  const piece = new Uint8Array(200_000);
  for (let i = 0; i < 335; i++) socket.deliver({ type: "stdout" }, piece);
  assert.equal(process.state.status, "connected");
  socket.deliver({ type: "stdout" }, piece);
  await assert.rejects(process.exited, DisconnectedError);
});

test("a window may be larger", async () => {
  const { process, socket } = await spawn({ window: 128 << 20 });
  socket.start(allExtensions);
  for (let i = 0; i < 400; i++) socket.deliver({ type: "stdout" }, new Uint8Array(200_000));
  assert.equal(process.state.status, "connected");
  socket.deliver({ type: "exit_code" });
});

test("stdin waits for pid, and is split to fit messages and the window", async () => {
  const { process, socket } = await spawn({ stdin: true });
  const writer = process.stdin.getWriter();
  let done = false;
  const writing = writer.write(new Uint8Array(100_000)).then(() => (done = true));
  socket.open();
  await settle();
  assert.deepEqual(socket.take().map((m) => m["type"]), ["start"]);

  socket.deliver({ type: "pid", extensions: allExtensions });
  await settle();
  assert.deepEqual(socket.sent.map((message) => message.length), [64_000, 65_536 - (64_000 - 17) + 17]);
  socket.sent.length = 0;
  socket.deliver({ type: "ack", stdin: 30_000 });
  await settle();
  assert.deepEqual(socket.take(), [{ type: "stdin", length: 30_000 }]);
  assert.ok(!done);
  socket.deliver({ type: "ack", stdin: 65_536 });
  await writing;
  assert.deepEqual(socket.take(), [{ type: "stdin", length: 4464 }]);
});

test("stdin does not fill the socket", async (t) => {
  fakeTime(t);
  const { process, socket } = await spawn({ stdin: true });
  socket.start();
  socket.send = (data) => {
    socket.bufferedAmount += data.length;
  };
  const writing = process.stdin.getWriter().write(new Uint8Array(5 << 20));
  let sent = 0;
  for (let i = 0; i < 6; i++) {
    await settle();
    assert.ok(socket.bufferedAmount < (1 << 20) + 64_000, `${socket.bufferedAmount}`);
    sent += socket.bufferedAmount;
    socket.bufferedAmount = 0;
    mock.timers.tick(10);
  }
  await writing;
  assert.ok(sent > 5 << 20, `${sent}`);
});

test("a signal and a size do not wait for stdin that waits for the socket", async () => {
  const { process, socket } = await spawn({ tty: true });
  socket.start(allExtensions);
  socket.bufferedAmount = 1 << 20;
  const writing = process.stdin.getWriter().write("typed");
  await process.signal("INT");
  process.resize(31, 91);
  assert.deepEqual(socket.take(), [
    { type: "signal", signal: "INT" },
    { type: "resize", rows: 31, cols: 91 },
  ]);
  await process.signal("TERM");
  assert.deepEqual(socket.take(), [{ type: "signal", signal: "TERM" }]);
  socket.bufferedAmount = 0;
  await writing;
  assert.deepEqual(socket.take(), [{ type: "stdin", length: 5 }]);
});

test("writes end with the command, also if its output goes on", async () => {
  for (const pending of [false, true]) {
    const { process, socket } = await spawn({ stdin: true });
    socket.start(allExtensions);
    const writing = process.stdin.getWriter().write(new Uint8Array(100_000));
    await settle();
    socket.deliver({ type: "exit_code", pending });
    await assert.rejects(writing, EndedError);
  }
});

test("outputs are byte streams", async () => {
  const { process, socket } = await spawn();
  socket.start(allExtensions);
  socket.deliver({ type: "stdout" }, "ünï");
  socket.deliver({ type: "stderr" }, "bytes");
  socket.deliver({ type: "exit_code" });
  const texts: string[] = [];
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) texts.push(text);
  assert.deepEqual(texts, ["ünï"]);
  const { value } = await process.stderr.getReader().read();
  assert.equal(await new Blob([value!]).text(), "bytes");
});

test("writes and signals fail as the connection did", async () => {
  const { process, socket } = await spawn({ stdin: true });
  socket.start(allExtensions);
  const writing = process.stdin.getWriter().write(new Uint8Array(100_000));
  await settle();
  socket.drop();
  await assert.rejects(writing, DisconnectedError);
  await assert.rejects(process.signal("INT"), DisconnectedError);
  await assert.rejects(process.exited, DisconnectedError);
});

test("stdin ends with the command, and so does a pipe into it", async () => {
  const { process, socket } = await spawn({ stdin: true });
  socket.start(allExtensions);
  let canceled: unknown;
  const source = new ReadableStream({ cancel: (reason) => void (canceled = reason) });
  const piped = source.pipeTo(process.stdin);
  socket.deliver({ type: "exit_code" });
  await assert.rejects(piped, EndedError);
  assert.ok(canceled instanceof EndedError);
  await assert.rejects(process.stdin.getWriter().write("x"), EndedError);
});

test("stdin that was closed before the command's end has not failed", async () => {
  const { process, socket } = await spawn({ stdin: true });
  socket.start(allExtensions);
  const writer = process.stdin.getWriter();
  await writer.close();
  socket.deliver({ type: "exit_code" });
  await writer.closed;
});

test("an aborted write that was sent in part fails, and the command is ended", async () => {
  for (const [stdinAbort, type] of [
    [undefined, "close"],
    ["close", "close"],
    ["eof", "close_stdin"],
  ] as const) {
    const { process, socket } = await spawn({ stdin: true, stdinAbort });
    socket.start(allExtensions);
    const writer = process.stdin.getWriter();
    const writing = writer.write(new Uint8Array(100_000));
    await settle();
    const reason = new Error("enough");
    const aborting = writer.abort(reason);
    await assert.rejects(writing, reason);
    await aborting;
    assert.deepEqual(socket.take().at(-1), { type });
  }
});

test("a failed source of a pipe is no end of the command's input", async () => {
  const { process, socket } = await spawn({ stdin: true });
  socket.start(allExtensions);
  const failure = new Error("source failed");
  await assert.rejects(new ReadableStream({ start: (c) => c.error(failure) }).pipeTo(process.stdin), failure);
  assert.deepEqual(socket.take(), [{ type: "close" }]);
});

test("stdin of a command without stdin", async () => {
  const { process, socket } = await spawn();
  assert.equal(socket.start(allExtensions)["command"].stdin, false);
  await assert.rejects(process.stdin.getWriter().write(Buffer.from("x")), TypeError);
});

test("stdin takes bytes in every form, and strings", async () => {
  const { process, socket } = await spawn({ stdin: true });
  socket.start(allExtensions);
  const writer = process.stdin.getWriter();
  const { buffer } = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const chunks = ["ü€", buffer, new Uint16Array(buffer, 2, 2), new DataView(buffer, 3)];
  for (const chunk of chunks) await writer.write(chunk);
  const bodies = socket.sent.map((message) => [...message.subarray(17)]);
  assert.deepEqual(bodies, [[...Buffer.from("ü€")], [1, 2, 3, 4, 5, 6, 7, 8], [3, 4, 5, 6], [4, 5, 6, 7, 8]]);
});

test("a write of anything else fails, and ends stdin", async () => {
  for (const chunk of [1, null, undefined, ["text"], {}]) {
    const { process, socket } = await spawn({ stdin: true });
    socket.start(allExtensions);
    await assert.rejects(process.stdin.getWriter().write(chunk as never), TypeError);
    await settle();
    assert.deepEqual(socket.take(), [{ type: "close_stdin" }]);
  }
});

test("output and text", async () => {
  for (const use of ["output", "text"] as const) {
    const { process, socket } = await spawn();
    const reading = process[use]();
    socket.start(allExtensions);
    socket.deliver({ type: "stdout" }, Buffer.from("ü").subarray(0, 1));
    socket.deliver({ type: "stdout" }, Buffer.from("ü").subarray(1));
    socket.deliver({ type: "stderr" }, "err");
    socket.deliver({ type: "exit_code", exit_code: 3 });
    const stdout = new Uint8Array(Buffer.from("ü"));
    const finished = { exit: { code: 3 }, stdout, stderr: new Uint8Array(Buffer.from("err")) };
    assert.deepEqual(await reading, use === "text" ? "ü" : finished);
  }
});

test("output and text fail as the command does, with no other error", async () => {
  for (const use of ["output", "text"] as const) {
    for (const fail of [
      (socket: FakeSocket) => socket.deliver({ type: "start_error", kind: "not_found", message: "no" }),
      (socket: FakeSocket) => socket.drop(),
    ]) {
      const { process, socket } = await spawn({}, { resume: 0 });
      const reading = process[use]();
      socket.open();
      fail(socket);
      const error = await process.exited.catch((e: unknown) => e);
      assert.equal(await reading.catch((e: unknown) => e), error);
    }
  }
});

test("text leaves stderr to its reader", async () => {
  const { process, socket } = await spawn();
  const reading = text(process.stderr);
  const stdout = process.text();
  socket.start(allExtensions);
  socket.deliver({ type: "stderr" }, "err");
  socket.deliver({ type: "exit_code" });
  assert.equal(await stdout, "");
  assert.equal(await reading, "err");
});

test("output can be read into the reader's buffer", async () => {
  const { process, socket } = await spawn({ window: 4096 });
  socket.start(allExtensions);
  socket.deliver({ type: "stdout" }, new Uint8Array(4096).fill(7));
  const reader = process.stdout.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(1000);
  const sizes: number[] = [];
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done) break;
    assert.ok(value.every((byte) => byte === 7));
    sizes.push(value.length);
    buffer = value.buffer;
    if (sizes.length === 5) socket.deliver({ type: "exit_code" });
  }
  assert.deepEqual(sizes, [1000, 1000, 1000, 1000, 96]);
  assert.deepEqual(socket.take(), [1000, 2000, 3000, 4000].flatMap((n) => (n % 2000 ? [] : [{ type: "ack", stdout: n }])));
});

test("a reader that waits with its buffer learns of the end, and of the loss", async () => {
  for (const fails of [false, true]) {
    const { process, socket } = await spawn();
    socket.start(allExtensions);
    const reading = process.stdout.getReader({ mode: "byob" }).read(new Uint8Array(8));
    await settle();
    if (fails) socket.drop();
    else socket.deliver({ type: "exit_code" });
    if (fails) await assert.rejects(reading, DisconnectedError);
    else assert.deepEqual(await reading, { done: true, value: new Uint8Array(0) });
  }
});

test("signals and sizes", async () => {
  const { process, socket } = await spawn({ tty: true });
  process.resize(30, 100);
  assert.deepEqual(socket.start(allExtensions)["command"].rows, 24);
  await process.signal("INT");
  await process.signal("SIGTERM");
  process.resize(31, 101);
  process.resize(31, 101);
  assert.deepEqual(socket.take(), [
    { type: "resize", rows: 30, cols: 100 },
    { type: "signal", signal: "INT" },
    { type: "signal", signal: "TERM" },
    { type: "resize", rows: 31, cols: 101 },
  ]);
  assert.throws(() => process.resize(70_000, 80), RangeError);
  socket.deliver({ type: "exit_code" });
  await assert.rejects(process.signal("INT"), EndedError);
});

test("a server that takes no signals", async () => {
  const { process, socket } = await spawn();
  socket.start();
  await assert.rejects(process.signal("INT"), { name: "NotSupportedError" });
  process.close();
  assert.equal(socket.closedWith, 1000);
  await assert.rejects(process.exited, /process was closed/);
});

test("close asks, and does not wait for ever", async (t) => {
  fakeTime(t);
  const { process, socket } = await spawn();
  socket.start(allExtensions);
  const closing = process.close();
  assert.equal(process.close(), closing);
  assert.deepEqual(socket.take(), [{ type: "close" }]);
  mock.timers.tick(9_999);
  assert.equal(socket.closedWith, undefined);
  mock.timers.tick(1);
  assert.equal(socket.closedWith, 1000);
  await assert.rejects(process.exited, /did not end in time/);
});

test("close returns how the command exited, and gives up the rest of its output", async () => {
  const { process, socket } = await spawn();
  socket.start(allExtensions);
  const closing = process.close();
  socket.deliver({ type: "exit_code", exit_code: -1, signal: "TERM", pending: true });
  assert.deepEqual(await closing, { signal: "TERM" });
  assert.equal(socket.closedWith, 1000);
  await assert.rejects(text(process.stdout), { name: "DisconnectedError", kind: "closed" });
});

test("a process disposes of itself", async () => {
  const { process, socket } = await spawn();
  socket.start(allExtensions);
  const disposing = process[Symbol.asyncDispose]();
  assert.deepEqual(socket.take(), [{ type: "close" }]);
  socket.drop();
  await disposing;
  assert.equal(process.state.status, "ended");
});

test("output after the exit", async () => {
  const { process, socket } = await spawn();
  socket.start(allExtensions);
  socket.deliver({ type: "exit_code", exit_code: 1, pending: true });
  assert.deepEqual(await process.exited, { code: 1 });
  assert.equal(socket.closedWith, undefined);
  socket.deliver({ type: "stdout" }, "late");
  socket.deliver({ type: "end" });
  assert.equal(await text(process.stdout), "late");
  assert.equal(socket.closedWith, 1000);
});

test("output is complete although the process is closed after its exit", async () => {
  const { process, socket } = await spawn();
  process.onStateChange(({ status }) => {
    if (status === "ended") process.close();
  });
  socket.start(allExtensions);
  socket.deliver({ type: "stdout" }, "all");
  socket.deliver({ type: "exit_code" });
  assert.equal(await text(process.stdout), "all");
  assert.deepEqual(await process.exited, { code: 0 });
});

test("output after the exit that is canceled, or lost", async () => {
  for (const end of [(p: Process) => p.close(), (_: Process, s: FakeSocket) => s.drop()]) {
    const { process, socket } = await spawn();
    socket.start(allExtensions);
    socket.deliver({ type: "exit_code", pending: true });
    end(process, socket);
    assert.deepEqual(await process.exited, { code: 0 });
    await assert.rejects(text(process.stdout), DisconnectedError);
    assert.equal(socket.closedWith, 1000);
  }
});

test("abort", async () => {
  const aborting = new AbortController();
  const { process, socket } = await spawn({}, { signal: aborting.signal });
  socket.start(allExtensions);
  const reason = new Error("enough");
  aborting.abort(reason);
  assert.equal(await process.exited.catch((error: unknown) => error), reason);
  assert.equal(socket.closedWith, 1000);
  const late = await spawn({}, { signal: aborting.signal });
  await assert.rejects(late.process.exited, reason);
  assert.equal(late.sockets.length, 0);
});

test("a command's own signal, and its timeout", async (t) => {
  fakeTime(t);
  const aborting = new AbortController();
  const { process, socket } = await spawn({ signal: aborting.signal, timeout: 5_000 });
  socket.start(allExtensions);
  mock.timers.tick(4_999);
  assert.equal(process.state.status, "connected");
  const reason = new Error("enough");
  aborting.abort(reason);
  await assert.rejects(process.exited, reason);
  assert.equal(socket.closedWith, 1000);

  const late = await spawn({ timeout: 5_000 });
  late.socket.start(allExtensions);
  mock.timers.tick(5_000);
  await assert.rejects(late.process.exited, { name: "TimeoutError" });
  assert.equal(late.socket.closedWith, 1000);

  const intime = await spawn({ timeout: 5_000 });
  intime.socket.start(allExtensions);
  intime.socket.deliver({ type: "exit_code", pending: true });
  mock.timers.tick(5_000);
  assert.deepEqual(await intime.process.exited, { code: 0 });
  assert.equal(intime.socket.closedWith, undefined);
});

test("a signal has one listener, however many commands share it", async () => {
  const aborting = new AbortController();
  const add = mock.method(aborting.signal, "addEventListener");
  const shared = { signal: aborting.signal };
  const spawned = await Promise.all(Array.from({ length: 20 }, () => spawn(shared, shared)));
  assert.equal(add.mock.callCount(), 1);
  const [ended, ...running] = spawned;
  ended!.socket.start(allExtensions);
  ended!.socket.deliver({ type: "exit_code" });
  aborting.abort();
  assert.deepEqual(await ended!.process.exited, { code: 0 });
  for (const { process, socket } of running) {
    await assert.rejects(process.exited, { name: "AbortError" });
    assert.equal(socket.closedWith, 1000);
  }
});

test("arguments are checked at once", () => {
  const client = connect("ws://host.test", fakeSockets());
  const bad: [unknown, object?][] = [
    [undefined],
    [["sh"]],
    ["sh", { args: "-c" }],
    ["sh", { args: ["-c", 1] }],
    ["sh", { env: { A: 1 } }],
    ["sh", { cwd: 1 }],
    ["sh", { id: 1 }],
    ["sh", { signal: {} }],
    ["sh", { signal: null }],
    ["sh", { stdinAbort: "end" }],
  ];
  for (const [command, options] of bad) assert.throws(() => client.spawn(command as never, options), TypeError);
  for (const timeout of [0, -1, NaN, Infinity, 2 ** 31]) {
    assert.throws(() => client.spawn("sh", { timeout }), RangeError, `${timeout}`);
  }
  for (const options of [{ token: 1 }, { WebSocket: {} }, { protocols: "x" }, { signal: {} }]) {
    assert.throws(() => connect("ws://host.test", options as never), TypeError);
  }
});

test("each option may be undefined", async () => {
  const { process, socket } = await spawn(
    {
      args: undefined,
      stdin: undefined,
      tty: undefined,
      rows: undefined,
      cols: undefined,
      env: undefined,
      cwd: undefined,
      id: undefined,
      window: undefined,
      signal: undefined,
      timeout: undefined,
      stdinAbort: undefined,
    },
    { protocols: undefined, token: undefined, signal: undefined, reconnect: undefined },
  );
  socket.start(allExtensions);
  socket.deliver({ type: "exit_code" });
  assert.deepEqual(await process.exited, { code: 0 });
});

test("commands that can't be sent", async () => {
  for (const options of [{ args: ["x".repeat(64_000)] }, { args: ["\ud800"] }, { env: { A: "\udc00" } }]) {
    const { process, sockets } = await spawn(options);
    await assert.rejects(process.exited, { name: "StartError", kind: "invalid" });
    assert.equal(sockets.length, 0);
  }
  const client = connect("ws://host.test", fakeSockets());
  assert.throws(() => client.spawn("sh", { rows: 0 }), RangeError);
  assert.throws(() => client.spawn("sh", { window: 4095 }), RangeError);
});

test("addresses and protocols", async () => {
  const { WebSocket, sockets } = fakeSockets();
  const aborting = new AbortController();
  const { signal } = aborting;
  connect("https://host.test/a?b#c", { WebSocket, signal, protocols: ["x"], token: "tö/ken?>" }).spawn("true");
  connect("ws://host.test", { WebSocket, signal, token: async () => "fresh" }).spawn("true");
  const failing = connect("ws://host.test", { WebSocket, token: () => Promise.reject(new Error("no")) }).spawn("true");
  await assert.rejects(failing.exited, /there is no token/);
  assert.equal(sockets[0]!.url, "wss://host.test/a?b");
  assert.deepEqual(sockets[0]!.protocols, ["x", "wsep", "wsep.token.dMO2L2tlbj8-"]);
  assert.deepEqual(sockets[1]!.protocols, ["wsep", "wsep.token.ZnJlc2g"]);
  assert.throws(() => connect("no address", { WebSocket }));
  aborting.abort();
});

test("addresses relative to a page", async (t) => {
  const globals = globalThis as Record<string, unknown>;
  globals["document"] = { baseURI: "https://host.test/base/" };
  globals["location"] = { href: "about:srcdoc" };
  t.after(() => {
    delete globals["document"];
    delete globals["location"];
  });
  const { WebSocket, sockets } = fakeSockets();
  for (const [address, expected] of [
    ["run?a=b#c", "wss://host.test/base/run?a=b"],
    ["/run", "wss://host.test/run"],
    ["", "wss://host.test/base/"],
  ] as const) {
    connect(address, { WebSocket }).spawn("true");
    await settle();
    assert.equal(sockets.at(-1)!.url, expected);
  }
  globals["document"] = { baseURI: "https://host.test/prefix?a=b" };
  connect("", { WebSocket }).spawn("true");
  await settle();
  assert.equal(sockets.at(-1)!.url, "wss://host.test/prefix?a=b");
});

test("nothing is offered twice, and no empty token presented", async () => {
  for (const [token, offered] of [
    ["t", ["x", "wsep", "wsep.token.dA"]],
    ["", ["x", "wsep"]],
  ] as const) {
    const { WebSocket, sockets } = fakeSockets();
    connect("ws://host.test", { WebSocket, protocols: ["x", "wsep"], token: () => token }).spawn("true");
    await settle();
    assert.deepEqual(sockets[0]!.protocols, offered);
  }
});

test("a listener's error affects nothing else", async (t) => {
  const reported: unknown[] = [];
  const { process, socket } = await spawn();
  process.onStateChange(() => {
    throw new Error("listener's");
  });
  let heard = 0;
  const stop = process.onStateChange(() => heard++);
  const report = mock.method(globalThis, "queueMicrotask", (callback: () => void) => reported.push(callback));
  t.after(() => report.mock.restore());
  socket.start(allExtensions);
  stop();
  socket.deliver({ type: "exit_code" });
  assert.equal(heard, 1);
  assert.equal(reported.length, 2);
  assert.deepEqual(await process.exited, { code: 0 });
});
