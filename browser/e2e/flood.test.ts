import assert from "node:assert/strict";
import { test } from "node:test";

import { BarePage } from "./bare.js";
import { poll, serve } from "./harness.js";

const MB = 1e6;

/**
 * How much is printed, and how much memory the page may use meanwhile, garbage included. A page that kept all output would
 * use more.
 */
const PRINTED = (process.env["WSEP_LONG_TESTS"] ? 200 : 100) * MB;
const MEMORY = 300 * MB;

/**
 * How late 99 of 100 answers may be, in milliseconds, in the best of three parts of the run. Other programs may disturb one part
 * of the run, but not all.
 */
const LATE = 100;
const PARTS = 3;

/**
 * On a slow or busy machine answers may be as late as this many writes take in the same run. A write is the piece that the
 * terminal parses at a time.
 */
const LATE_WRITES = 10;
const WRITE = 32 << 10;

/** How long the printing may take, in milliseconds. The test is not about its speed. */
const PATIENCE = 500_000;

test("a flood of output costs the page neither its memory nor its answers", { timeout: PATIENCE + 60_000 }, async (t) => {
  const { address } = await serve();
  const page = await BarePage.open(address);
  let runs = 0;
  const run = async (command: string, patience?: number) => {
    const mark = `done${++runs}`;
    await page.type(`${command}; echo; echo "do""ne${runs}."`);
    await page.press("Enter");
    const ended = () => page.evaluate(lastLines).then((text) => new RegExp(`^${mark}\\.\\n`, "m").test(text));
    assert.ok(await poll(ended, patience, 250), await page.evaluate(lastLines));
  };
  // Before the page has made its terminal, the name stands for the element.
  await poll(() => page.evaluate(() => "buffer" in terminal));
  await poll(() => page.evaluate(lastLines));
  // These lines fill the scrollback, whose memory does not count.
  await run("seq 12000; clear");
  const memory = await page.memory();
  const before = memory();
  let peak = before;
  const watch = setInterval(() => (peak = Math.max(peak, memory())), 50);
  await page.evaluate(watchAnswers);

  const start = performance.now();
  await run(`yes '0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ' | head -c ${PRINTED}`, PATIENCE);
  const seconds = (performance.now() - start) / 1000;
  clearInterval(watch);
  const late = await page.evaluate(() => globalThis.answers);
  const usual = Math.min(...parts(late, PARTS).map(lateness));
  t.diagnostic(
    `${(PRINTED / MB / seconds).toFixed(1)} MB/s, at most ${(peak / MB).toFixed(0)} MB of memory ` +
      `(${(before / MB).toFixed(0)} MB before), ` +
      `${late.length} answers, 99% within ${usual.toFixed(0)} ms in the best part, all within ${Math.max(...late).toFixed(0)} ms`,
  );
  assert.ok(peak < MEMORY, `${peak / MB} MB`);
  assert.ok(late.length > 30, `${late.length}`);
  const allowed = Math.max(LATE, (LATE_WRITES * WRITE * seconds * 1000) / PRINTED);
  assert.ok(usual < allowed, `${usual} ms, of ${allowed} ms`);
  await run("echo still here");
});

/** Cuts a list into parts of about the same length. */
function parts(list: readonly number[], n: number): number[][] {
  const length = Math.ceil(list.length / n);
  return Array.from({ length: n }, (_, i) => list.slice(i * length, (i + 1) * length));
}

/** Returns how late the latest of 99 in 100 answers is. */
function lateness(answers: readonly number[]): number {
  return [...answers].sort((a, b) => a - b)[Math.floor(answers.length * 0.99)]!;
}

declare global {
  var answers: number[];
}

/** Returns the screen's text, without empty lines at its end. */
function lastLines(): string {
  const { active } = terminal.buffer;
  const lines = Array.from({ length: terminal.rows }, (_, y) => active.getLine(active.baseY + y)?.translateToString());
  return lines.map((line) => line?.trimEnd() ?? "").join("\n").replace(/\n+$/, "");
}

/** Measures how late the page does things that it should do at once, such as taking a key. */
function watchAnswers(): void {
  globalThis.answers = [];
  const { port1, port2 } = new MessageChannel();
  let asked = performance.now();
  port1.onmessage = () => {
    globalThis.answers.push(performance.now() - asked);
    setTimeout(() => {
      asked = performance.now();
      port2.postMessage(0);
    }, 10);
  };
  port2.postMessage(0);
}
