import assert from "node:assert/strict";
import { test } from "node:test";

import { Tab, Wire, browse, poll, serve } from "./harness.js";

// The connection is lost for seconds, and the server waits.

const browser = await browse();

declare global {
  /** The calls of the terminal: writes, clears and resizes. */
  var written: string;
  var resized: number;
  /** The sentences that the page has shown about its connection. */
  var statuses: string[];
}

/** Has the page record the calls of its terminal. */
async function watch(tab: Tab): Promise<void> {
  await tab.page.evaluate(() => {
    globalThis.written = "";
    globalThis.resized = 0;
    globalThis.statuses = [];
    const write = terminal.write.bind(terminal);
    terminal.write = (data, callback) => {
      globalThis.written += typeof data === "string" ? data : new TextDecoder().decode(data);
      write(data, callback);
    };
    terminal.onResize(() => globalThis.resized++);
    const status = document.querySelector("#status span")!;
    const say = () => globalThis.statuses.push(status.textContent!);
    new MutationObserver(say).observe(status, { childList: true });
  });
}

test("a full-screen program does not notice a connection that is lost for seconds", async () => {
  const { address } = await serve();
  const wire = await Wire.to(address);
  const tab = await Tab.open(browser, wire.address);
  await tab.connected();
  await tab.prompted();
  // The program shows the keys that it reads. It also shows when it has to draw its screen again.
  const program = `trap 'printf REDRAW' WINCH; printf '\\033[?1049h\\033[2JSCREEN\\r\\n'; while IFS= read -rsn1 k; do printf '<%s>' "$k"; done`;
  await tab.page.keyboard.insertText(`bash -c "${program.replaceAll("$", "\\$").replaceAll('"', '\\"')}"`);
  await tab.press("Enter");
  await tab.shows(/^SCREEN$/m);
  await tab.type("a");
  await tab.shows(/<a>/);
  await watch(tab);
  wire.cut();
  await tab.page.getByText("The connection is lost. The shell goes on, and what you type waits.").first().waitFor();
  await tab.page.locator("#notice").getByText(/Reconnecting in \d+ s\./).waitFor();
  await tab.type("bcd");
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  wire.mend();
  await tab.connected();
  await tab.shows(/<a><b><c><d>/);
  await tab.type("e");
  await tab.shows(/<a><b><c><d><e>/);
  const seen = await tab.page.evaluate(() => [globalThis.written, globalThis.resized, globalThis.statuses] as const);
  const [written, resized, statuses] = seen;
  assert.equal(written, "<b><c><d><e>");
  assert.equal(resized, 0);
  assert.deepEqual([statuses[0], statuses.at(-1)], ["Reconnecting", "Connected"]);
  assert.ok(!statuses.includes("Disconnected"), `${statuses}`);
  await tab.close();
});

test("comes back at once when the network does", async () => {
  const { address } = await serve();
  const wire = await Wire.to(address);
  const tab = await Tab.openWithClock(browser, wire.address);
  await tab.connected();
  await tab.prompted();
  await watch(tab);
  await tab.stopTime();
  wire.cut();
  await tab.says("Reconnecting");
  wire.mend();
  await tab.page.evaluate(() => void dispatchEvent(new Event("online")));
  await tab.connected();
  await tab.page.clock.resume();
  assert.equal(await tab.run("echo there"), "there");
  assert.ok(!(await tab.page.evaluate(() => globalThis.written)).includes("\x1b[2J"));
  await tab.close();
});

test("attaches to its session anew when the server does not wait any longer", async () => {
  const { address } = await serve("--resume-timeout", "1s");
  const wire = await Wire.to(address);
  const tab = await Tab.open(browser, wire.address);
  await tab.connected();
  const shell = await tab.run("echo $$");
  wire.cut();
  await tab.says("The connection is lost.");
  assert.ok(await poll(async () => (await tab.page.locator("#status").textContent()) === "Disconnected"));
  wire.mend();
  await tab.connected();
  assert.equal(await tab.run("echo $$"), shell);
  await tab.close();
});

test("keeps its scrollback when it attaches anew to a session in GNU screen", async () => {
  const { address } = await serve("--sessions", "screen", "--resume-timeout", "1s");
  const wire = await Wire.to(address);
  const tab = await Tab.open(browser, wire.address);
  await tab.connected();
  await tab.run("seq 300");
  wire.cut();
  await tab.says("The connection is lost.");
  assert.ok(await poll(async () => (await tab.page.locator("#status").textContent()) === "Disconnected"));
  wire.mend();
  await tab.connected();
  assert.equal(await tab.run("echo here"), "here");
  assert.match(await tab.text(), /^100\n101\n102$/m);
  await tab.close();
});
