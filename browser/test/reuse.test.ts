import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { TestContext } from "node:test";

import { WebSocket } from "ws";

import { connect } from "../src/index.js";
import type { Client, ConnectOptions, Process } from "../src/index.js";
import { FakeSocket, allExtensions, fakeSockets, settle } from "./fake.js";
import { THIS, serve } from "./servers.js";

// A connection carries one command after the other.

const reusable = { ...allExtensions, resume: 60, reuse: true };

/** A client whose server, and whose time, are the test's. */
class Stage {
  readonly client: Client;
  readonly sockets: FakeSocket[];
  /** How often a token was asked for. */
  tokens = 0;

  constructor(t: TestContext, options: ConnectOptions = {}) {
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
    t.after(() => {
      this.client.closeIdleConnections();
      mock.timers.reset();
    });
    const { WebSocket, sockets } = fakeSockets();
    const token = (): string => `t${++this.tokens}`;
    this.sockets = sockets;
    this.client = connect("ws://host.test/", { WebSocket, maxIdle: 2, token, ...options });
  }

  /** Starts a command over a new connection, and returns that. */
  async start(): Promise<[Process, FakeSocket]> {
    const made = this.sockets.length;
    const process = this.client.spawn("true");
    await settle();
    assert.equal(this.sockets.length, made + 1);
    const socket = this.sockets.at(-1)!;
    socket.open();
    answer(socket);
    await settle();
    return [process, socket];
  }

  /** Runs a command over a new connection. */
  async run(): Promise<FakeSocket> {
    const [process, socket] = await this.start();
    await exit(process, socket);
    return socket;
  }

  /** Starts a command over a connection that has carried one. */
  async startAgain(socket: FakeSocket): Promise<Process> {
    const made = this.sockets.length;
    const process = this.client.spawn("true");
    await settle();
    assert.equal(this.sockets.length, made, "no new connection");
    assert.deepEqual(socket.take().map((m) => m["type"]), ["start"]);
    return process;
  }

  async pass(ms: number): Promise<void> {
    for (; ms > 1000; ms -= 1000) mock.timers.tick(1000);
    mock.timers.tick(ms);
    await settle();
  }
}

/** Answers a start. */
function answer(socket: FakeSocket): void {
  socket.take();
  socket.deliver({ type: "pid", pid: 42, server: "mark.1", extensions: reusable });
}

/** The command exits. */
async function exit(process: Process, socket: FakeSocket): Promise<void> {
  socket.deliver({ type: "exit_code", exit_code: 0 });
  assert.deepEqual(await process.exited, { code: 0 });
}

test("the next command has the connection of the one before", async (t) => {
  const stage = new Stage(t);
  const socket = await stage.run();
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(socket.take(), [{ type: "done" }]);
    const process = await stage.startAgain(socket);
    answer(socket);
    await exit(process, socket);
  }
  assert.equal(socket.closedWith, undefined);
  assert.equal(stage.tokens, 1, "it was authorized once");
});

test("Node keeps no connection by default: it would wait for that", async (t) => {
  const stage = new Stage(t, { maxIdle: undefined });
  const process = stage.client.spawn("true");
  await settle();
  const { extensions } = stage.sockets[0]!.start(allExtensions);
  assert.ok(!("reuse" in extensions));
  stage.sockets[0]!.deliver({ type: "exit_code", exit_code: 0 });
  await process.exited;
  assert.equal(stage.sockets[0]!.closedWith, 1000);
});

test("without resume no connection is kept: a lost start could not be repeated", async (t) => {
  const stage = new Stage(t, { resume: 0 });
  stage.client.spawn("true").exited.catch(() => {});
  await settle();
  assert.ok(!("reuse" in stage.sockets[0]!.start().extensions));
});

test("a server that does not say so is not kept", async (t) => {
  const stage = new Stage(t);
  const process = stage.client.spawn("true");
  await settle();
  const [socket] = stage.sockets;
  assert.equal(socket!.start({ ...reusable, reuse: false })["extensions"].reuse, true);
  await exit(process, socket!);
  assert.equal(socket!.closedWith, 1000);
});

test("late words of the command before mean nothing to the next one", async (t) => {
  const stage = new Stage(t);
  const socket = await stage.run();
  socket.take();
  socket.deliver({ type: "ack", stdin: 7, seq: 3 });
  const process = await stage.startAgain(socket);
  socket.deliver({ type: "ack", stdin: 9 });
  socket.deliver({ type: "echo", n: 1 });
  answer(socket);
  await exit(process, socket);
});

test("anything else between two commands closes the connection", async (t) => {
  for (const message of [{ type: "pid", pid: 1 }, { type: "ack", stdin: 1, pad: " ".repeat(200) }, "nothing"]) {
    await t.test(async (t) => {
      const stage = new Stage(t);
      const socket = await stage.run();
      socket.deliver(message);
      assert.equal(socket.closedWith, 1000);
      await stage.run();
    });
  }
});

test("so many are kept, so long", async (t) => {
  const stage = new Stage(t, { idleTimeout: 5_000 });
  const all = [await stage.start(), await stage.start(), await stage.start()];
  for (const [process, socket] of all) await exit(process, socket);
  assert.deepEqual(all.map(([, socket]) => socket.closedWith), [undefined, undefined, 1000]);
  await stage.pass(4_999);
  assert.equal(all[0]![1].closedWith, undefined);
  await stage.pass(1);
  assert.deepEqual(all.map(([, socket]) => socket.closedWith), [1000, 1000, 1000]);
  await stage.run();
});

test("a machine that has slept trusts no connection", async (t) => {
  const stage = new Stage(t);
  const socket = await stage.run();
  const before = Date.now();
  const clock = mock.method(Date, "now", () => before + 40_000); // Its timers stood still.
  t.after(() => clock.mock.restore());
  await stage.run();
  assert.equal(socket.closedWith, 1000);
});

test("one that is lost while it rests is forgotten", async (t) => {
  const stage = new Stage(t);
  const socket = await stage.run();
  socket.drop();
  await stage.run();
});

test("a start that is lost is made again", async (t) => {
  const stage = new Stage(t);
  const socket = await stage.run();
  socket.take();
  const process = await stage.startAgain(socket);
  socket.drop();
  await stage.pass(100);
  const second = stage.sockets.at(-1)!;
  assert.notEqual(second, socket);
  second.open();
  const [asked] = second.take();
  assert.equal(asked!["type"], "resume");
  assert.equal(asked!["server"], "mark.1", "the last mark");
  second.deliver({ type: "resume_error", kind: "unknown", message: "not here", never: true });
  await settle();
  const third = stage.sockets.at(-1)!;
  assert.notEqual(third, second);
  third.open();
  answer(third);
  await settle();
  await exit(process, third);
});

test("a server that does not answer over it is lost after 10 s", async (t) => {
  const stage = new Stage(t);
  const socket = await stage.run();
  socket.take();
  const process = await stage.startAgain(socket);
  await stage.pass(9_999);
  assert.equal(stage.sockets.length, 1);
  await stage.pass(1);
  await stage.pass(100);
  assert.equal(stage.sockets.length, 2, "it resumes over another one");
  void process.close().catch(() => {});
});

test("a mark that is too old, and bytes that wait, keep a connection from being kept", async (t) => {
  const stage = new Stage(t);
  const [process, socket] = await stage.start();
  await stage.pass(300_001);
  await exit(process, socket);
  assert.equal(socket.closedWith, 1000);
  const [second, full] = await stage.start();
  full.bufferedAmount = 1;
  await exit(second, full);
  assert.equal(full.closedWith, 1000);
});

test("closeIdleConnections and the client's signal close them", async (t) => {
  const ending = new AbortController();
  const stage = new Stage(t, { signal: ending.signal });
  const first = await stage.run();
  stage.client.closeIdleConnections();
  assert.equal(first.closedWith, 1000);
  const second = await stage.run();
  ending.abort();
  assert.equal(second.closedWith, 1000);
});

test("bad options are refused", () => {
  const options = { WebSocket: fakeSockets().WebSocket };
  for (const maxIdle of [-1, 1.5]) assert.throws(() => connect("ws://host.test/", { ...options, maxIdle }), RangeError);
  for (const idleTimeout of [0, -1, NaN]) assert.throws(() => connect("ws://host.test/", { ...options, idleTimeout }), RangeError);
});

test("a real server: many commands, one connection", async (t) => {
  const { url } = await serve(t, THIS, "--listen", "127.0.0.1:0");
  let made = 0;
  class Counted extends WebSocket {
    constructor(address: string, protocols: string[]) {
      super(address, protocols);
      made++;
    }
  }
  const client = connect(url, { WebSocket: Counted, maxIdle: 1 });
  t.after(() => client.closeIdleConnections());
  for (let i = 0; i < 20; i++) {
    const { stdout, exit } = await client.run("sh", { args: ["-c", "cat; exit 3"], input: `line ${i}` });
    assert.equal(stdout, `line ${i}`);
    assert.deepEqual(exit, { code: 3 });
  }
  assert.ok(made <= 2, `${made} connections`);
});
