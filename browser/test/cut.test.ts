import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { WebSocket } from "ws";

import { DisconnectedError, connect } from "../src/index.js";
import type { Client, ConnectOptions, Process } from "../src/index.js";
import { Cutter } from "./cutter.js";
import type { Cut, Plan } from "./cutter.js";
import { THIS, V024, serve } from "./servers.js";
import { readUntil, stateIs } from "./waiting.js";

// These tests cut connections to a real server.

const local = ["--listen", "127.0.0.1:0"];

interface Cuttable {
  client: Client;
  cutter: Cutter;
  url: string;
}

async function cuttable(t: TestContext, options: ConnectOptions = {}, ...flags: string[]): Promise<Cuttable> {
  const { url } = await serve(t, THIS, ...local, ...flags);
  const cutter = await Cutter.before(t, url);
  return { client: connect(cutter.url, { WebSocket, ...options }), cutter, url };
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Cuts the connection, and waits until another one has replaced it. */
async function cut(process: Process, cutter: Cutter, how: Cut = "reset"): Promise<void> {
  const lost = stateIs(process, "waiting");
  cutter.cutAll(how);
  await lost;
  await stateIs(process, "connected");
  assert.deepEqual(process.state, { status: "connected", resumed: true });
}

test("streams, a signal and the exit code survive cuts, each once", async (t) => {
  const { client, cutter } = await cuttable(t);
  const script = 'trap "echo usr1" USR1; echo ready; while read -r x; do echo "got $x"; echo "err $x" >&2; done; exit 7';
  const process = client.spawn("bash", { args: ["-c", script], stdin: true });
  const stderr = new Response(process.stderr).text();
  const reader = process.stdout.getReader();
  let all = await readUntil(reader, /ready/);
  const writer = process.stdin.getWriter();
  for (let i = 0; i < 5; i++) {
    await writer.write(`a${i}\n`);
    cutter.cutAll((["reset", "close", "swallow"] as const)[i % 3]!);
    if (i === 2) await process.signal("USR1");
    await writer.write(`b${i}\n`);
    all += await readUntil(reader, new RegExp(`b${i}\n`));
  }
  await writer.close();
  cutter.cutAll("reset");
  assert.deepEqual(await process.exited, { code: 7 });
  for (let next = await reader.read(); !next.done; next = await reader.read()) all += Buffer.from(next.value);
  const lines = Array.from({ length: 5 }, (_, i) => [`a${i}`, `b${i}`]).flat();
  assert.deepEqual(all.match(/got \w+/g), lines.map((line) => `got ${line}`));
  assert.equal(await stderr, lines.map((line) => `err ${line}\n`).join(""));
  assert.equal(all.match(/usr1/g)?.length, 1);
});

test("a terminal goes on after a cut: nothing is shown twice, and keys wait", async (t) => {
  const { client, cutter } = await cuttable(t);
  for (const id of ["", "kept"]) {
    const process = client.spawn("bash", { args: ["--norc"], tty: true, id, env: { PS1: "$ " } });
    const reader = process.stdout.getReader();
    const writer = process.stdin.getWriter();
    await writer.write("VAR=kept; echo begun-$((1+1))\r");
    await readUntil(reader, /begun-2[^]*\$ $/);
    await cut(process, cutter);
    cutter.cutAll("close");
    await writer.write("echo $VAR-$((2+2))\r");
    const shown = await readUntil(reader, /kept-4/);
    assert.ok(!shown.includes("begun"), JSON.stringify(shown));
    cutter.cutAll("close");
    process.resize(31, 91);
    await writer.write("stty size; exit 6\r");
    await readUntil(reader, /31 91/);
    await reader.cancel();
    assert.deepEqual(await process.exited, { code: 6 });
  }
});

test("pid is lost: the command runs once", async (t) => {
  const { url } = await serve(t, THIS, ...local);
  const dir = mkdtempSync(join(tmpdir(), "wsep-browser-"));
  t.after(() => rmSync(dir, { recursive: true }));
  let plans: Plan[] = [];
  const cutter = await Cutter.before(t, url, () => plans.shift());
  const client = connect(cutter.url, { WebSocket });
  // The start has more than 300 bytes, and pid more than 75.
  for (const up of [true, false]) {
    for (let after = 0; after <= (up ? 300 : 75); after += up ? 100 : 25) {
      plans = [{ cut: "reset", up, after }];
      const name = `${up}${after}`;
      const command = client.spawn("sh", { args: ["-c", `echo run >>${name}; echo done`], cwd: dir });
      assert.equal(await command.text(), "done\n");
      assert.equal(readFileSync(join(dir, name), "utf8"), "run\n");
    }
  }
  assert.equal(cutter.cuts, 8);
});

test("a second client with the key takes over, and the first does not come back", async (t) => {
  const { url } = await serve(t, THIS, ...local);
  const starts: string[] = [];
  class Listening extends WebSocket {
    override send(data: unknown): void {
      const text = Buffer.from(data as Uint8Array).toString();
      if (text.startsWith('{"type":"start"')) starts.push(text);
      super.send(data as Uint8Array);
    }
  }
  const process = connect(url, { WebSocket: Listening as unknown as typeof WebSocket }).spawn("cat", { stdin: true });
  await process.started;
  const { key, extensions } = JSON.parse(starts[0]!);
  const second = new WebSocket(url);
  const answer = new Promise<string>((resolve) => second.once("message", (data) => resolve(String(data))));
  await new Promise((resolve) => second.once("open", resolve));
  second.send(JSON.stringify({ type: "resume", key, stdout: 0, stderr: 0, extensions }));
  assert.match(await answer, /"type":"resumed"/);
  await assert.rejects(process.exited, { name: "DisconnectedError", kind: "taken", code: 4001 });
  second.close(1000);
});

test("the client waits for an unreachable server only as long as it was told to", async (t) => {
  const { client, cutter } = await cuttable(t, { resume: 1000 });
  const process = client.spawn("cat", { stdin: true });
  await process.started;
  cutter.down = true;
  cutter.cutAll("reset");
  await assert.rejects(process.exited, { name: "DisconnectedError", message: /not resumed/ });
  await assert.rejects(new Response(process.stdout).text(), DisconnectedError);
});

test("a server waits only as long as it has granted", async (t) => {
  const { client, cutter } = await cuttable(t, {}, "--resume-timeout", "1s");
  const process = client.spawn("sh", { args: ["-c", "echo on; exec sleep 1000"] });
  await readUntil(process.stdout.getReader(), /on/);
  const began = Date.now();
  cutter.down = true;
  cutter.cutAll("reset");
  await assert.rejects(process.exited, { name: "DisconnectedError", message: /not resumed/ });
  assert.ok(Date.now() - began >= 900 && Date.now() - began < 30_000, `${Date.now() - began}`);
});

test("a process is not resumed at another server", async (t) => {
  const { client, cutter } = await cuttable(t);
  const process = client.spawn("cat", { stdin: true });
  await process.started;
  const other = await serve(t, THIS, ...local);
  cutter.lead(other.url);
  cutter.cutAll("reset");
  await assert.rejects(process.exited, { kind: "lost", message: /not resumed/ });
});

test("a process is lost with its connection if the server does not wait", async (t) => {
  for (const start of [() => serve(t, THIS, ...local, "--resume-timeout", "0"), () => serve(t, V024)]) {
    const cutter = await Cutter.before(t, (await start()).url);
    const process = connect(cutter.url, { WebSocket }).spawn("cat", { stdin: true });
    await process.started;
    await process.stdin.getWriter().write("x");
    await process.stdout.getReader().read();
    cutter.cutAll("reset");
    await assert.rejects(process.exited, { name: "DisconnectedError", kind: "lost", message: "connection lost" });
    assert.equal(cutter.made, 1);
  }
});

test("a command that is given up without a connection does not last until its server's time is over", { timeout: 60_000 }, async (t) => {
  const { client, cutter } = await cuttable(t, { resume: 600_000 }, "--resume-timeout", "10m");
  for (const end of ["abort", "close"]) {
    const ending = new AbortController();
    const command = client.spawn("sh", { args: ["-c", "echo $$; exec sleep 1000"], signal: ending.signal });
    const pid = Number(await readUntil(command.stdout.getReader(), /\n/));
    cutter.down = true;
    cutter.cutAll("reset");
    await stateIs(command, "waiting");
    if (end === "abort") ending.abort();
    else void command.close().catch(() => {});
    cutter.down = false;
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** How many connections a storm cuts. */
const STORM = process.env["WSEP_LONG_TESTS"] ? 10_000 : 150;

const cuts: readonly Cut[] = ["reset", "close", "swallow", "half"];

const kinds: Record<string, (client: Client) => Promise<void>> = {
  "an upload": async (client) => {
    const input = randomBytes(300_000);
    const process = client.spawn("sha256sum", { stdin: true });
    const [text] = await Promise.all([process.text(), new Blob([input]).stream().pipeTo(process.stdin)]);
    assert.equal(text.slice(0, 64), hash(input));
  },
  "a download": async (client) => {
    const process = client.spawn("seq", { args: ["50000"], window: 65_536 });
    const expected = Array.from({ length: 50_000 }, (_, i) => `${i + 1}\n`).join("");
    assert.equal(hash(Buffer.from(await process.text())), hash(Buffer.from(expected)));
  },
  "an echo": async (client) => {
    const input = randomBytes(100_000);
    const process = client.spawn("cat", { stdin: true });
    const [{ stdout, exit }] = await Promise.all([process.output(), new Blob([input]).stream().pipeTo(process.stdin)]);
    assert.equal(hash(stdout), hash(input));
    assert.deepEqual(exit, { code: 0 });
  },
  "a signal": async (client) => {
    const script = "n=0; trap 'n=$((n+1))' USR1; trap 'exit $((40+n))' TERM; echo on; while :; do sleep 0.01; done";
    const process = client.spawn("sh", { args: ["-c", script] });
    await readUntil(process.stdout.getReader(), /on/);
    await process.signal("USR1");
    await new Promise((resolve) => setTimeout(resolve, 30));
    await process.signal("TERM");
    assert.deepEqual(await process.exited, { code: 41 });
  },
  "output after the exit": async (client) => {
    const process = client.spawn("sh", { args: ["-c", "(sleep 0.1; seq 10000) & exit 5"] });
    const { exit, stdout } = await process.output();
    assert.deepEqual([exit, stdout.length], [{ code: 5 }, 48_894]);
  },
  "a terminal": async (client) => {
    const process = client.spawn("sh", { args: ["-c", "stty -echo; echo on; read x; echo got-$x; exit 4"], tty: true });
    const reader = process.stdout.getReader();
    await readUntil(reader, /on/);
    await process.stdin.getWriter().write("word\r");
    await readUntil(reader, /got-word/);
    await reader.cancel();
    assert.deepEqual(await process.exited, { code: 4 });
  },
};

test(`a storm of ${STORM} cuts loses nothing`, { timeout: 3_600_000 }, async (t) => {
  const { url } = await serve(t, THIS, ...local);
  const plan = (): Plan => ({
    cut: cuts[randomInt(cuts.length)]!,
    up: randomInt(2) === 0,
    after: randomInt(10 ** (3 + randomInt(3))), // Short conversations are cut too.
    ...(randomInt(4) === 0 && { piece: 1 + randomInt(100) }),
  });
  const cutter = await Cutter.before(t, url, plan);
  const client = connect(cutter.url, { WebSocket });
  let done = 0;
  const all = Object.entries(kinds);
  const work = async (first: number): Promise<void> => {
    for (let i = first; cutter.cuts < STORM; i++) {
      const [name, run] = all[i % all.length]!;
      try {
        await run(client);
        done++;
      } catch (error) {
        throw new Error(`${name}, after ${cutter.cuts} cuts: ${error}`, { cause: error });
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, i) => work(i)));
  t.diagnostic(`${done} commands over ${cutter.made} connections, ${cutter.cuts} cuts`);
  assert.ok(done > 10);
});
