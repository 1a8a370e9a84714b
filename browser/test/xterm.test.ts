import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import headless from "@xterm/headless";
import type { IDisposable, Terminal } from "@xterm/xterm";

import { connect } from "../src/index.js";
import type { Process, SpawnOptions } from "../src/index.js";
import { ProcessAddon } from "../src/xterm.js";
import { FakeSocket, allExtensions, fakeSockets, settle } from "./fake.js";

interface Shown {
  terminal: Terminal;
  addon: ProcessAddon;
  process: Process;
  sockets: FakeSocket[];
  /** The terminal's text, without blanks at the end. */
  screen(): Promise<string>;
}

async function show(t: TestContext, options: SpawnOptions = {}): Promise<Shown> {
  // The addon uses only members that a terminal without a page has, too.
  const terminal = new headless.Terminal({ rows: 5, cols: 40, allowProposedApi: true }) as unknown as Terminal;
  const { WebSocket, sockets } = fakeSockets();
  const aborting = new AbortController();
  const client = connect("ws://host.test", { WebSocket, signal: aborting.signal });
  const process = client.spawn("sh", { tty: true, id: "s", ...options });
  const addon = new ProcessAddon(process);
  terminal.loadAddon(addon);
  t.after(() => {
    terminal.dispose();
    aborting.abort();
  });
  await settle();
  return { terminal, addon, process, sockets, screen: () => screen(terminal) };
}

async function screen(terminal: Terminal): Promise<string> {
  await settle();
  await new Promise<void>((resolve) => terminal.write("", resolve));
  const { active } = terminal.buffer;
  const line = (i: number): string => active.getLine(active.baseY + i)?.translateToString(true) ?? "";
  return Array.from({ length: terminal.rows }, (_, i) => line(i)).join("\n").trimEnd();
}

test("shows output and types input", async (t) => {
  const { terminal, sockets, screen } = await show(t);
  const socket = sockets[0]!;
  const start = socket.start(allExtensions);
  assert.equal(start["command"].rows, 5);
  assert.equal(start["command"].cols, 40);
  const smile = Buffer.from("☺");
  socket.deliver({ type: "stdout" }, Buffer.concat([Buffer.from("one\r\n"), smile.subarray(0, 1)]));
  socket.deliver({ type: "stdout" }, smile.subarray(1));
  assert.equal(await screen(), "one\n☺");
  terminal.input("ls é\r");
  await settle();
  assert.deepEqual(socket.take(), [{ type: "stdin", length: 6 }]);
});

test("bytes that the terminal sends stay unchanged", async (t) => {
  const terminal = new headless.Terminal() as unknown as Terminal;
  let type = (_: string): void => {};
  const onBinary = (listener: (data: string) => void): IDisposable => {
    type = listener;
    return { dispose: () => {} };
  };
  Object.defineProperty(terminal, "onBinary", { value: onBinary });
  const { WebSocket, sockets } = fakeSockets();
  const aborting = new AbortController();
  t.after(() => aborting.abort());
  const process = connect("ws://host.test", { WebSocket, signal: aborting.signal }).spawn("sh", { tty: true });
  terminal.loadAddon(new ProcessAddon(process));
  await settle();
  sockets[0]!.start(allExtensions);
  sockets[0]!.take();
  type("\x1b[M \xe9\xff");
  await settle();
  assert.deepEqual(Buffer.from(sockets[0]!.sent[0]!).toString("latin1"), '{"type":"stdin"}\n\x1b[M \xe9\xff');
});

test("follows the terminal's size", async (t) => {
  const { terminal, sockets } = await show(t);
  sockets[0]!.start(allExtensions);
  terminal.resize(50, 6);
  assert.deepEqual(sockets[0]!.take(), [{ type: "resize", rows: 6, cols: 50 }]);
});

test("takes input while there is a connection", async (t) => {
  const { terminal, process, sockets } = await show(t);
  assert.equal(terminal.options.disableStdin, true);
  sockets[0]!.start(allExtensions);
  assert.equal(terminal.options.disableStdin, false);
  sockets[0]!.drop();
  assert.equal(terminal.options.disableStdin, true);
  terminal.input("lost");
  process.retry();
  await settle();
  sockets[1]!.start(allExtensions);
  assert.equal(terminal.options.disableStdin, false);
  await settle();
  assert.deepEqual(sockets[1]!.take(), []);
  sockets[1]!.deliver({ type: "exit_code" });
  assert.equal(terminal.options.disableStdin, true);
});

test("clears before a session shows its screen again", async (t) => {
  const { terminal, process, sockets, screen } = await show(t);
  const titles: string[] = [];
  terminal.onTitleChange((title) => titles.push(title));
  sockets[0]!.start(allExtensions);
  const modes = "\x1b[?1003;1006;2004h\x1b[2;3r\x1b[31m";
  sockets[0]!.deliver({ type: "stdout" }, `scrolled off\r\n\n\n\n\nold${modes}\x1b]0;half a title`);
  assert.equal(await screen(), "\n\n\n\nold");
  assert.equal(terminal.modes.mouseTrackingMode, "any");
  sockets[0]!.drop();
  process.retry();
  await settle();
  sockets[1]!.start(allExtensions);
  sockets[1]!.deliver({ type: "stdout" }, "new\r\n\n\n\nlast");
  assert.equal(await screen(), "new\n\n\n\nlast");
  assert.equal(terminal.modes.mouseTrackingMode, "none");
  assert.equal(terminal.modes.bracketedPasteMode, false);
  assert.deepEqual(titles, []);
  assert.equal(terminal.buffer.active.getLine(0)?.translateToString(true), "scrolled off");
  assert.ok(terminal.buffer.active.getLine(1)?.getCell(0)?.isFgDefault());
});

test("clears the scrollback too if the session shows that again", async (t) => {
  const { terminal, process, sockets, screen } = await show(t, { scrollback: 100 });
  sockets[0]!.start(allExtensions);
  sockets[0]!.deliver({ type: "stdout" }, "scrolled off\r\n\n\n\n\n\x1b[?1003;2004h\x1b[4h\x1b[20h\x1b[?25l\x1b]0;half a title");
  await screen();
  sockets[0]!.drop();
  process.retry();
  await settle();
  sockets[1]!.start(allExtensions);
  sockets[1]!.deliver({ type: "stdout" }, "scrolled off\r\n\n\n\n\nlast");
  assert.equal(await screen(), "\n\n\n\nlast");
  assert.equal(terminal.buffer.active.baseY, 1);
  assert.equal(terminal.buffer.active.getLine(0)?.translateToString(true), "scrolled off");
  assert.equal(terminal.modes.mouseTrackingMode, "none");
  assert.equal(terminal.modes.insertMode, false);
});

test("leaves the alternate screen before a session shows its screen again", async (t) => {
  const { terminal, process, sockets, screen } = await show(t);
  sockets[0]!.start(allExtensions);
  sockets[0]!.deliver({ type: "stdout" }, "shell\x1b[?1049heditor");
  await screen();
  assert.equal(terminal.buffer.active.type, "alternate");
  sockets[0]!.drop();
  process.retry();
  await settle();
  sockets[1]!.start(allExtensions);
  sockets[1]!.deliver({ type: "stdout" }, "prompt");
  assert.equal(await screen(), "prompt");
  assert.equal(terminal.buffer.active.type, "normal");
});

test("reads on when the terminal has parsed its input", async (t) => {
  const { terminal, sockets } = await show(t, { window: 16 << 20 });
  const parsed: (() => void)[] = [];
  let written = 0;
  terminal.write = (data, callback) => {
    written += data.length;
    parsed.push(callback!);
  };
  sockets[0]!.start(allExtensions);
  for (let i = 0; i < 256; i++) sockets[0]!.deliver({ type: "stdout" }, new Uint8Array(16 << 10));
  await settle();
  assert.equal(written, 256 << 10);
  for (const callback of parsed.splice(0, 11)) callback();
  await settle();
  assert.equal(written, 256 << 10);
  for (const callback of parsed.splice(0, 1)) callback();
  await settle();
  assert.equal(written, (256 << 10) + (192 << 10));
  while (parsed.length > 0) {
    parsed.shift()!();
    await settle();
  }
  assert.equal(written, 4 << 20);
});

test("gives the terminal large output in pieces", async (t) => {
  const { terminal, sockets, screen } = await show(t);
  const sizes: number[] = [];
  const write = terminal.write.bind(terminal);
  terminal.write = (data, callback) => {
    sizes.push(data.length);
    write(data, callback);
  };
  sockets[0]!.start(allExtensions);
  sockets[0]!.deliver({ type: "stdout" }, "x".repeat(100_000) + "\r\nlast");
  assert.match(await screen(), /\nlast$/);
  assert.ok(Math.max(...sizes) <= 32 << 10, `${sizes}`);
});

test("shows characters whose bytes come in pieces", async (t) => {
  const { sockets, screen } = await show(t);
  sockets[0]!.start(allExtensions);
  const text = "é—\u{10000}".repeat(20);
  const bytes = Buffer.from(`\x1b[H\x1b[2J${text}`);
  for (let size = 1; size < 8; size++) {
    for (let at = 0; at < bytes.length; at += size) {
      sockets[0]!.deliver({ type: "stdout" }, bytes.subarray(at, at + size));
      await settle();
    }
    assert.equal((await screen()).replaceAll("\n", ""), text, `in pieces of ${size}`);
  }
});

test("shows all characters of large output, and skips what is no character", async (t) => {
  const { terminal, sockets, screen } = await show(t);
  sockets[0]!.start(allExtensions);
  const count = 30_000; // The first piece would end within a character.
  sockets[0]!.deliver({ type: "stdout" }, Buffer.concat([Buffer.from("—".repeat(count)), Buffer.from([0x80, 0xff, 0xe2, 0x41])]));
  assert.match(await screen(), /—\n?A$/);
  const { active } = terminal.buffer;
  assert.equal((active.baseY + active.cursorY) * terminal.cols + active.cursorX, count + 1);
});

test("a character that was cut short by a lost connection does not change the next screen", async (t) => {
  const { process, sockets, screen } = await show(t);
  sockets[0]!.start(allExtensions);
  sockets[0]!.deliver({ type: "stdout" }, Buffer.from([0x61, 0xe2, 0x80]));
  assert.equal(await screen(), "a");
  sockets[0]!.drop();
  process.retry();
  await settle();
  sockets[1]!.start(allExtensions);
  sockets[1]!.deliver({ type: "stdout" }, Buffer.from([0x94, 0x62]));
  assert.equal(await screen(), "b");
});

test("the process goes on when the addon is disposed of", async (t) => {
  const { terminal, addon, process, sockets } = await show(t);
  sockets[0]!.start(allExtensions);
  addon.dispose();
  terminal.resize(50, 6);
  terminal.input("nobody hears");
  sockets[0]!.deliver({ type: "stdout" }, "others");
  assert.equal(Buffer.from((await process.stdout.getReader().read()).value!).toString(), "others");
  await process.stdin.getWriter().write(Buffer.from("x"));
  assert.deepEqual(sockets[0]!.take(), [{ type: "stdin", length: 1 }]);
  assert.equal(terminal.options.disableStdin, false);
});
