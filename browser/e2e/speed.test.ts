import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { BarePage } from "./bare.js";
import { clientOf, poll, serve } from "./harness.js";

/** How much output is shown, and how much longer a session may take for it than a terminal without one. */
const SIZE = 20e6;
const RATIO = 1.5;

/** How often the two are compared. Other programs may disturb one run, but not all. */
const RUNS = 3;

/** How long to wait for a prompt, or for the output. Two browsers share the machine. */
const PATIENCE_MS = 120_000;

const folder = mkdtempSync(join(tmpdir(), "wsep-speed-"));
after(() => rmSync(folder, { recursive: true }));

test("cat of 20 MB in a session takes at most 1.5 times as long as without one", { timeout: 300_000 }, async (t) => {
  const file = join(folder, "lines");
  const line = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\n";
  writeFileSync(file, line.repeat(SIZE / line.length));
  const { address } = await serve("--sessions", "native");
  const session = await BarePage.open(address);
  const plain = await BarePage.open(`${address}#plain`, withoutID);
  const ratios: number[] = [];
  for (let run = 0; run < RUNS && !ratios.some((ratio) => ratio <= RATIO); run++) {
    const [with_, without] = [await timeOf(session, file), await timeOf(plain, file)];
    ratios.push(with_ / without);
    t.diagnostic(`${with_.toFixed(0)} ms in a session, ${without.toFixed(0)} ms without one`);
  }
  assert.equal((await clientOf(address).sessions()).length, 1, "one of the two pages has a session");
  assert.ok(Math.min(...ratios) <= RATIO, `${ratios}`);
});

/** Has the page start its shell without an ID, so without a session. */
function withoutID(): void {
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    const text = new TextDecoder().decode(data as Uint8Array);
    const start = text.startsWith('{"type":"start"');
    send.call(this, start ? new TextEncoder().encode(text.replace(/"id":"[^"]*"/, '"id":""')) : data);
  };
}

let runs = 0;

/** Returns how long a page takes to show a file, in milliseconds. */
async function timeOf(page: BarePage, file: string): Promise<number> {
  assert.ok(await poll(() => page.evaluate(prompts), PATIENCE_MS), await page.evaluate(lastLine));
  const mark = `done${++runs}`;
  await page.type(`cat ${file}; echo "do""ne${runs}"`);
  const start = performance.now();
  await page.press("Enter");
  const shown = async () => (await page.evaluate(lastLine)).includes(mark);
  assert.ok(await poll(shown, PATIENCE_MS, 10), await page.evaluate(lastLine));
  return performance.now() - start;
}

/** Returns the last lines that are not empty. */
function lastLine(): string {
  const { active } = terminal.buffer;
  const lines = Array.from({ length: active.cursorY + 1 }, (_, y) => active.getLine(active.baseY + y)?.translateToString(true));
  return lines.slice(-2).join("\n");
}

/** Whether the shell waits for a command. */
function prompts(): boolean {
  if (!("buffer" in terminal)) return false;
  const { active } = terminal.buffer;
  return active.getLine(active.baseY + active.cursorY)!.translateToString(true).trim().match(/[#$]$/) !== null;
}
