import assert from "node:assert/strict";
import { test } from "node:test";

import { BarePage } from "./bare.js";
import { poll, serve } from "./harness.js";

const MB = 1e6;

/**
 * How much is printed, how much memory the page may have all in all, with what is garbage and not collected yet, and how
 * late it may answer, in milliseconds, 99 times of 100: now and then the machine has something else to do.
 */
const PRINTED = 200 * MB;
const MEMORY = 300 * MB;
const LATE = 100;

/**
 * What the terminal is given to parse at a time. A machine that is slow at that may be later: by as long as this many of
 * them take.
 */
const WRITE = 32 << 10;
const LATE_WRITES = 10;

/** How long the printing may take, in milliseconds: it is not what is tested. */
const PATIENCE = 500_000;

test("200 MB of output cost the page neither its memory nor its answers", { timeout: PATIENCE + 60_000 }, async (t) => {
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
  // Until the page has made its terminal, the name is that of the element.
  await poll(() => page.evaluate(() => "buffer" in terminal));
  await poll(() => page.evaluate(lastLines));
  // Lines fill the buffer, which is no part of what the rest may cost.
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
  const late = await page.evaluate(() => globalThis.answers.sort((a, b) => a - b));
  const [usual, latest] = [late[Math.floor(late.length * 0.99)]!, late.at(-1)!];
  t.diagnostic(
    `${(PRINTED / MB / seconds).toFixed(1)} MB/s, at most ${(peak / MB).toFixed(0)} MB of memory ` +
      `(${(before / MB).toFixed(0)} MB before), ` +
      `${late.length} answers, 99% within ${usual.toFixed(0)} ms, all within ${latest.toFixed(0)} ms`,
  );
  assert.ok(peak < MEMORY, `${peak / MB} MB`);
  assert.ok(late.length > 100);
  const allowed = Math.max(LATE, (LATE_WRITES * WRITE * seconds * 1000) / PRINTED);
  assert.ok(usual < allowed, `${usual} ms, of ${allowed} ms`);
  await run("echo still here");
});

declare global {
  var answers: number[];
}

/** Returns what the screen shows, without empty lines at its end. */
function lastLines(): string {
  const { active } = terminal.buffer;
  const lines = Array.from({ length: terminal.rows }, (_, y) => active.getLine(active.baseY + y)?.translateToString());
  return lines.map((line) => line?.trimEnd() ?? "").join("\n").replace(/\n+$/, "");
}

/** Measures how long the page lets wait what is to be done at once, such as a press of a key. */
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
