import assert from "node:assert/strict";
import { test } from "node:test";

import type { Browser } from "playwright-core";

import { Tab, browse, serve } from "./harness.js";
import { slowLine } from "./slow.js";
import { standIn } from "./standin.js";

/** A phone's connection in a bad place. */
const SPEED = { roundTrip: 150, bitsPerSecond: 1.6e6 };

/** How often the two are compared. Other programs may disturb one run, but not all. */
const RUNS = 3;

test("starts its shell before xterm.js has arrived, with the size that the terminal will have", async () => {
  const tab = await Tab.open(await browse(), "about:blank");
  let arrive = (): void => {};
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  await tab.page.route("**/app-*.js", (route) => arrived.then(() => route.continue()));
  const sent: Record<string, any>[] = [];
  const started = new Promise<void>((resolve) => {
    tab.page.on("websocket", (socket) => {
      socket.on("framesent", ({ payload }) => sent.push(JSON.parse(String(payload).split("\n", 1)[0]!)));
      socket.on("framereceived", () => resolve());
    });
  });
  void tab.page.goto((await serve()).address);
  await started;
  arrive();
  await tab.connected();
  await tab.prompted();
  const { rows, cols } = await tab.page.evaluate(() => ({ rows: terminal.rows, cols: terminal.cols }));
  // After a while the page also acknowledges what it has shown.
  const told = sent.filter(({ type }) => type !== "ack").map(({ type, command }) => [type, command?.rows, command?.cols]);
  assert.deepEqual(told, [["start", rows, cols]]);
  assert.equal(await tab.run("stty size"), `${rows} ${cols}`);
  await tab.close();
});

test("shows its first prompt on a slow line before a page of ttyd's size", async (t) => {
  const browser = await browse();
  const page = await slowLine((await serve()).address, SPEED);
  const other = await slowLine(await standIn(), SPEED);
  const times: (readonly [page: number, other: number])[] = [];
  for (let run = 0; run < RUNS; run++) times.push([await firstPrompt(browser, page), await firstPrompt(browser, other)]);
  const ratios = times.map(([page, other]) => page / other);
  t.diagnostic(`first prompt, and that of the stand-in for ttyd, in ms: ${times.map((pair) => pair.join("/")).join(" ")}`);
  t.diagnostic(`ratio: ${median(ratios).toFixed(2)}, least ${Math.min(...ratios).toFixed(2)}`);
  assert.ok(Math.min(...ratios) < 1);
});

/** Returns the time from the page's request to its prompt, in milliseconds, in a browser with an empty cache. */
async function firstPrompt(browser: Browser, address: string): Promise<number> {
  const tab = await Tab.open(browser, address, {}, watch);
  const prompted = await tab.page.waitForFunction(() => globalThis.prompted);
  const ms = Math.round((await prompted.jsonValue()) as number);
  await tab.close();
  return ms;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
}

declare global {
  /** When the terminal showed a prompt, in milliseconds since the page was asked for. */
  var prompted: number | undefined;
}

function watch(): void {
  const look = (): void => {
    const active = globalThis.terminal?.buffer?.active;
    const line = active?.getLine(active.baseY + active.cursorY)?.translateToString(true);
    if (line && /[#$] ?$/.test(line)) globalThis.prompted = performance.now();
    else requestAnimationFrame(look);
  };
  look();
}
