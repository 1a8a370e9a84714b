// The checks that run in each runtime. A program gets the gate's address as its argument. A page comes from the gate.

import { DisconnectedError, EndedError, StartError, connect } from "@wsep/client";
import type { Client, ConnectOptions, Process } from "@wsep/client";

/** The result of a check. It has passed if there is no error. */
export interface Result {
  readonly name: string;
  readonly error?: string;
}

/** How long to wait for an event. On a quiet machine the event happens at once. All checks of all runtimes share the machine. */
const PATIENCE_MS = 60_000;
/** How long a check may take as a whole. */
const LONGEST_MS = 180_000;

const isPage = globalThis.location !== undefined;
const site = isPage ? location.origin : process.argv[2]!;

/** Node 20 has no WebSocket. */
const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

function at(path: string, options: ConnectOptions = {}): Client {
  return connect(new URL(path, site), { WebSocket, ...options });
}

/** Has the gate do something. */
async function gate(order: string): Promise<string> {
  return (await fetch(new URL(order, site), { method: "POST" })).text();
}

function equal(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`is ${a}, should be ${e}`);
}

/** Waits for a promise, for at most PATIENCE. */
async function soon<T>(promise: Promise<T>, ms = PATIENCE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("does not come in time")), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Returns a promise's error. The promise must be rejected in time. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  const rejected = promise.then((value) => Promise.reject(new Error(`is ${JSON.stringify(value)}`)), (error: unknown) => error);
  return soon(rejected);
}

async function lost(process: Process): Promise<DisconnectedError> {
  const error = await failure(process.exited);
  if (!(error instanceof DisconnectedError)) throw error;
  return error;
}

async function stateIs(process: Process, status: string): Promise<void> {
  while (process.state.status !== status) {
    await soon(new Promise<void>((resolve) => {
      const stop = process.onStateChange(() => (stop(), resolve()));
    }));
  }
}

async function readUntil(reader: ReadableStreamDefaultReader<Uint8Array>, wanted: string): Promise<void> {
  const decoder = new TextDecoder();
  for (let all = ""; !all.includes(wanted); ) {
    const { done, value } = await soon(reader.read());
    if (done) throw new Error(`ends with ${all}`);
    all += decoder.decode(value, { stream: true });
  }
}

type Check = () => Promise<void>;

const checks: Record<string, Check> = {
  "streams, strings and the exit code": async () => {
    const command = at("run").spawn("sh", { args: ["-c", "cat; echo err >&2; exit 3"], stdin: true });
    const output = command.output();
    const writer = command.stdin.getWriter();
    await writer.write("ünï");
    await writer.close();
    const { exit, stdout, stderr } = await soon(output);
    const decoder = new TextDecoder();
    equal([exit, decoder.decode(stdout), decoder.decode(stderr)], [{ code: 3 }, "ünï", "err\n"]);
  },

  "5 MB through a command, by pipes": async () => {
    const input = Uint8Array.from({ length: 5_000_000 }, (_, i) => (i * 7919) >> 8);
    const command = at("run").spawn("cat", { stdin: true });
    const [{ stdout }] = await Promise.all([command.output(), new Blob([input]).stream().pipeTo(command.stdin)]);
    equal(stdout.length, input.length);
    equal(stdout.findIndex((byte, i) => byte !== input[i]), -1);
  },

  "unread output waits, and signals pass": async () => {
    const command = at("run").spawn("head", { args: ["-c", "1G", "/dev/zero"], window: 65_536 });
    await soon(command.started);
    await command.signal("INT");
    equal(await soon(command.exited), { signal: "INT" });
    await command.stdout.cancel();
  },

  'output into the reader\'s buffer (`mode: "byob"`)': async () => {
    const command = at("run").spawn("printf", { args: ["0123456789"] });
    const reader = command.stdout.getReader({ mode: "byob" });
    let text = "";
    for (let buffer = new ArrayBuffer(4); ; ) {
      const { done, value } = await soon(reader.read(new Uint8Array(buffer)));
      if (done) break;
      text += new TextDecoder().decode(value);
      buffer = value.buffer;
    }
    equal(text, "0123456789");
  },

  "a command that does not start": async () => {
    const error = await failure(at("run").spawn("no-such-program").text());
    if (!(error instanceof StartError)) throw error;
    equal(error.kind, "not_found");
  },

  "a connection that is refused, reset, or answered with 401": async () => {
    const closed = await gate("closed-port");
    const processes = [`ws://127.0.0.1:${closed}`, "reset", "status/401"].map((path) => at(path).spawn("true"));
    const errors = await Promise.all(processes.map(lost));
    equal(errors.map(({ code, kind, status }) => (kind === "unauthorized" && status === 401) || [kind, code]), [
      ["unreachable", 1006],
      ["unreachable", 1006],
      tellsStatus || ["unreachable", 1006],
    ]);
  },

  "a close frame of a proxy before the start": async () => {
    const errors = await Promise.all(["closed/1012", "closed/4000"].map((path) => lost(at(path, { resume: 0 }).spawn("true"))));
    equal(errors.map(({ kind, code }) => [kind, code]), [
      ["lost", 1012],
      ["lost", 4000],
    ]);
  },

  "a token, and an abort while it is awaited": async () => {
    const token = async (): Promise<string> => "s3cret";
    equal(await soon(at("secret", { token }).spawn("true").exited), { code: 0 });
    const aborting = new AbortController();
    const waiting = at("aborted", { token, signal: aborting.signal }).spawn("true");
    aborting.abort();
    await failure(waiting.exited);
    equal(await gate("count/aborted"), "0");
  },

  "a pipe into a command that has ended, and a write of the wrong type": async () => {
    const ended = at("run").spawn("true", { stdin: true });
    const error = await failure(new ReadableStream().pipeTo(ended.stdin));
    if (!(error instanceof EndedError)) throw error;
    const mistaken = at("run").spawn("cat", { stdin: true });
    const mistake = await failure(mistaken.stdin.getWriter().write(1 as never));
    if (!(mistake instanceof TypeError)) throw mistake;
    equal(await soon(mistaken.exited), { code: 0 });
  },

  "20 commands with one signal, and a timeout": async () => {
    const { signal } = new AbortController();
    const client = at("run", { signal });
    const exits = Array.from({ length: 20 }, () => client.spawn("true", { signal }).exited);
    equal(new Set((await soon(Promise.all(exits))).map(({ code }) => code)).size, 1);
    const error = await failure(client.spawn("sleep", { args: ["100"], timeout: 500 }).exited);
    equal((error as Error).name, "TimeoutError");
  },

  "a session that comes back when its connection is cut": async () => {
    const shell = at("cut").spawn("sh", { tty: true, id: `cut-${site}` });
    const reader = shell.stdout.getReader();
    const writer = shell.stdin.getWriter();
    await writer.write("X=kept; echo begun-$((1+1))\r");
    await readUntil(reader, "begun-2");
    const lost = stateIs(shell, "waiting");
    await gate("cut");
    await lost;
    shell.retry();
    await stateIs(shell, "connected");
    await writer.write("echo $X-$((2+2)); exit\r");
    await readUntil(reader, "kept-4");
    await reader.cancel();
    equal(await soon(shell.exited), { code: 0 });
  },

  "a command that goes on when its connection is cut": async () => {
    const command = at("cut-off").spawn("cat", { stdin: true });
    const reader = command.stdout.getReader();
    const writer = command.stdin.getWriter();
    await writer.write("before");
    await readUntil(reader, "before");
    await gate("cut-off");
    await writer.write("after");
    await readUntil(reader, "after");
    await writer.close();
    equal(await soon(command.exited), { code: 0 });
    equal(await gate("count/cut-off"), "2");
  },

  "a dead connection is noticed when something is typed": async () => {
    const command = at("frozen", { resume: 0 }).spawn("cat", { tty: true });
    await soon(command.started);
    await gate("freeze");
    await command.stdin.getWriter().write("x");
    equal((await lost(command)).kind, "silent");
  },

  "close() of a command with unread output": async () => {
    const command = at("run").spawn("head", { args: ["-c", "5000000", "/dev/zero"] });
    await soon(command.started);
    equal((await soon(command.close())).code, undefined);
  },
};

const programChecks: Record<string, Check> = {
  "the status of a refusal, and no other attempt, with the WebSocket of `ws`": async () => {
    const { WebSocket } = await import("ws");
    const session = connect(new URL("status/401", site), { WebSocket }).spawn("sh", { tty: true, id: "refused" });
    const { kind, status } = await lost(session);
    equal([kind, status], ["unauthorized", 401]);
  },
};

const pageChecks: Record<string, Check> = {
  "an address relative to the page's base": async () => {
    equal(await soon(connect("run").spawn("true").exited), { code: 0 });
    equal(await gate("count/base/run"), "1");
  },

  "a worker": async () => {
    const worker = new Worker("/suite.js?worker", { type: "module" });
    const answer = new Promise<unknown>((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
    equal(await soon(answer), "hello from a worker\n");
    worker.terminate();
  },
};

/** The WebSocket of `ws` reports the status of a refused handshake. No runtime's own does. Node 20 has none of its own. */
const tellsStatus = WebSocket !== globalThis.WebSocket;

async function run(name: string, check: Check): Promise<Result> {
  try {
    await soon(check(), LONGEST_MS);
    return { name };
  } catch (error) {
    return { name, error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) };
  }
}

async function main(): Promise<void> {
  const all = Object.entries({ ...checks, ...(isPage ? pageChecks : programChecks) });
  const results = await Promise.all(all.map(([name, check]) => run(name, check)));
  await fetch(new URL("done", site), { method: "POST", body: JSON.stringify(results) });
}

if (globalThis.location?.search === "?worker") {
  postMessage(await at("run").spawn("echo", { args: ["hello from a worker"] }).text());
} else {
  await main();
}
