import assert from "node:assert/strict";
import { mock } from "node:test";
import type { TestContext } from "node:test";

import { connect } from "../src/index.js";
import type { ConnectOptions, Process, SpawnOptions, State } from "../src/index.js";
import { FakeSocket, fakeSockets, settle } from "./fake.js";

const STEP_MS = 1_000;

/** A process in a session. The test controls time and chance. */
export class Session {
  readonly process: Process;
  readonly sockets: FakeSocket[];
  readonly states: State[] = [];

  private constructor(spawnOptions: SpawnOptions, options: ConnectOptions) {
    const { WebSocket, sockets } = fakeSockets();
    this.sockets = sockets;
    this.process = connect("ws://host.test/", { WebSocket, ...options }).spawn("sh", spawnOptions);
    this.process.onStateChange((state) => this.states.push(state));
  }

  static async begin(t: TestContext, spawnOptions: SpawnOptions = {}, options: ConnectOptions = {}): Promise<Session> {
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
    const random = mock.method(Math, "random", () => 1);
    const ending = new AbortController();
    t.after(() => {
      ending.abort(); // While time is the test's: what it starts waits for nothing else.
      mock.timers.reset();
      random.mock.restore();
    });
    const session = new Session({ tty: true, id: "s", signal: ending.signal, ...spawnOptions }, options);
    await settle();
    return session;
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  /** Lets time pass, in steps small enough that each timer sees the right time. */
  async pass(ms: number): Promise<void> {
    for (; ms > STEP_MS; ms -= STEP_MS) mock.timers.tick(STEP_MS);
    mock.timers.tick(ms);
    await settle();
  }

  /** The machine sleeps: the clock goes on, and timers are late. */
  async sleep(ms: number): Promise<void> {
    mock.timers.tick(ms);
    await settle();
  }

  /** Expects that the next attempt comes after ms, and lets them pass. */
  async expectAttemptAfter(ms: number): Promise<void> {
    const n = this.sockets.length;
    const { state } = this.process;
    assert.equal(state.status, "waiting");
    assert.equal(state.status === "waiting" && state.retryAt - Date.now(), ms);
    await this.pass(ms - 1);
    assert.equal(this.sockets.length, n);
    await this.pass(1);
    assert.equal(this.sockets.length, n + 1);
    assert.equal(this.process.state.status, "connecting");
  }
}
