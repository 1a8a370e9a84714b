import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Tab, browse, serve } from "./harness.js";

const MB = 1e6;

/** How much is printed, how much more memory the page may take for it, and how late it may answer, in milliseconds. */
const PRINTED = 200 * MB;
const MEMORY = 100 * MB;
const LATE = 100;

test("200 MB of output cost the page neither its memory nor its answers", { timeout: 110_000 }, async (t) => {
  const browser = await browse("--js-flags=--expose-gc");
  const { address } = await serve();
  const tab = await Tab.open(browser, address);
  const { page } = tab;
  await tab.connected();
  // The buffer's lines are no part of what the output may cost.
  await tab.type("seq 20000\n");
  await tab.shows(/^20000\n.*# $/m);
  const memory = await residentMemory(tab);
  const before = memory();

  await page.evaluate(watchAnswers);
  const start = Date.now();
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, memory())), 50);
  const line = "0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  await tab.type(`yes '${line}' | head -c ${PRINTED}; echo "al""l."\n`);
  await page.waitForFunction(
    () => {
      const { active } = terminal.buffer;
      for (let y = active.baseY; y < active.length; y++) {
        if (active.getLine(y)?.translateToString(true).endsWith("all.")) return true;
      }
      return false;
    },
    undefined,
    { polling: 250, timeout: 100_000 },
  );
  clearInterval(watch);
  const seconds = (Date.now() - start) / 1000;
  const latest = await page.evaluate(() => globalThis.latestAnswer);
  const more = peak - before;
  t.diagnostic(
    `${(PRINTED / MB / seconds).toFixed(1)} MB/s, ${(more / MB).toFixed(0)} MB more memory at most, ` +
      `answers after ${latest.toFixed(0)} ms at most`,
  );
  assert.ok(more < MEMORY, `${more / MB} MB`);
  assert.ok(latest < LATE, `${latest} ms`);
  assert.equal(await tab.run("echo still here"), "still here");
});

declare global {
  var latestAnswer: number;
}

/** Measures how long the page lets wait what is to be done at once, such as a press of a key, at worst. */
function watchAnswers(): void {
  globalThis.latestAnswer = 0;
  const { port1, port2 } = new MessageChannel();
  let asked = performance.now();
  port1.onmessage = () => {
    globalThis.latestAnswer = Math.max(globalThis.latestAnswer, performance.now() - asked);
    setTimeout(() => {
      asked = performance.now();
      port2.postMessage(0);
    }, 10);
  };
  port2.postMessage(0);
}

/** Returns what tells how much memory the page's process has, in bytes: its heap and all else. */
async function residentMemory(tab: Tab): Promise<() => number> {
  const session = await tab.page.context().browser()!.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  // The one with this page is the busiest: others are spares.
  const renderers = processInfo.filter(({ type }) => type === "renderer").sort((a, b) => b.cpuTime - a.cpuTime);
  const status = `/proc/${renderers[0]!.id}/status`;
  return () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(status, "utf8"))![1]) * 1024;
}
