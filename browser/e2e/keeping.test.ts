import assert from "node:assert/strict";
import { test } from "node:test";

import { Tab, browse, serve } from "./harness.js";

// The page keeps values in the browser, if it can.

const browser = await browse();
const { address } = await serve();

const storages: Record<string, () => void> = {
  blocked: () => {
    const blocked = { get: () => { throw new DOMException("the user blocks it", "SecurityError"); } };
    Object.defineProperties(globalThis, { localStorage: blocked, sessionStorage: blocked });
  },
  full: () => {
    Storage.prototype.setItem = () => {
      throw new DOMException("there is no room", "QuotaExceededError");
    };
  },
};

for (const [state, prepare] of Object.entries(storages)) {
  test(`works with a storage that is ${state}, and says what it can't keep`, async () => {
    const alone = await serve("--random-token");
    const tab = await Tab.open(browser, alone.address, {}, prepare);
    await tab.connected();
    await tab.page.waitForFunction(() => document.title.endsWith(": ~"));
    assert.equal(await tab.run("echo in"), "in");
    await tab.press("Control+Shift+L");
    await tab.page.locator("#sessions li").getByText("bash", { exact: true }).waitFor();
    await tab.page.getByRole("checkbox", { name: "Screen reader support" }).check();
    await tab.says("The browser keeps nothing for this page.");
    await tab.press("Escape");
    await tab.type("echo st''ill\n");
    await tab.shows(/^still$/m);
    assert.deepEqual(tab.complaints, []);
    await tab.close();
  });
}

test("shortens a title of megabytes", async () => {
  const alone = await serve();
  const tab = await Tab.open(browser, alone.address);
  await tab.connected();
  await tab.prompted();
  await tab.page.evaluate(() => new Promise<void>((done) => terminal.write(`\x1b]0;${"😀".repeat(750_000)}\x07`, done)));
  assert.match(await tab.page.title(), /^(😀){99}…$/u);
  assert.equal(await tab.run("echo here"), "here");
  assert.deepEqual(tab.complaints, []);
  await tab.close();
});

test("remembers who uses a screen reader", async () => {
  const tab = await Tab.open(browser, address);
  const reader = tab.page.getByRole("checkbox", { name: "Screen reader support", includeHidden: true });
  const spoken = () => tab.page.evaluate(() => terminal.options.screenReaderMode);
  await tab.connected();
  assert.equal(await spoken(), false);
  for (const wanted of [true, false]) {
    await tab.press("Control+Shift+L");
    await reader.setChecked(wanted);
    await tab.page.reload();
    await tab.connected();
    assert.equal(await spoken(), wanted);
    assert.equal(await reader.isChecked(), wanted);
  }
  await tab.close();
});

test("has its shortcuts where the keyboard's layout has their letters", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  const keyboard = await tab.page.context().newCDPSession(tab.page);
  const press = async (key: string, code: string) => {
    const event = { key, code, modifiers: 2 + 8, windowsVirtualKeyCode: key.charCodeAt(0) }; // Ctrl and Shift
    for (const type of ["rawKeyDown", "keyUp"] as const) await keyboard.send("Input.dispatchKeyEvent", { type, ...event });
  };
  const list = tab.page.locator("#sessions");
  await press("N", "KeyL"); // Dvorak's key in the place of L
  assert.equal(await list.isVisible(), false);
  for (const [key, code] of [
    ["L", "KeyP"], // Dvorak
    ["l", "KeyL"], // with the lock of capitals
    ["Д", "KeyL"], // Russian
  ] as const) {
    await press(key, code);
    await list.waitFor();
    await tab.press("Escape");
    await list.waitFor({ state: "hidden" });
  }
  await tab.close();
});
