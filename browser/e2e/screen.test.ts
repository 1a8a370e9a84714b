import assert from "node:assert/strict";
import { test } from "node:test";

import { Tab, browse, poll, serve } from "./harness.js";

// The terminal's screen: colors, links, selections, touch.

const browser = await browse();
const { address } = await serve();

const phone = { viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true };

test("is dark where the system is, and changes with it", async () => {
  const background = () => tab.page.evaluate(() => terminal.options.theme?.background);
  const tab = await Tab.open(browser, address, { colorScheme: "dark" });
  await tab.connected();
  const dark = await background();
  await tab.page.emulateMedia({ colorScheme: "light" });
  const light = await poll(async () => {
    const now = await background();
    return now !== dark && now;
  });
  assert.ok(brightness(dark) < 64 && brightness(light || undefined) > 192, `${dark}, ${light}`);
  await tab.page.emulateMedia({ colorScheme: "dark" });
  assert.ok(await poll(async () => (await background()) === dark));
  await tab.close();
});

/** Returns the brightness of a color like #123456, at most 255. */
function brightness(color = ""): number {
  return Math.max(...[1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)));
}

test("opens links to the web, and no others", async () => {
  const tab = await Tab.open(browser, address, {}, () => {
    globalThis.opened = [];
    window.open = (url) => (globalThis.opened.push(String(url)), null);
  });
  await tab.connected();
  // Links with a text of their own are written directly, to test more than one kind.
  await tab.run("echo plain https://example.com/plain");
  await tab.prompted();
  await tab.page.evaluate(
    (text) => new Promise<void>((done) => terminal.write(text, done)),
    ["javascript:alert(1)", "https://example.com/marked"]
      .map((url, n) => `\x1b]8;;${url}\x1b\\marked${n}\x1b]8;;\x1b\\\r\n`)
      .join(""),
  );
  for (const text of ["https://example.com/plain", "marked0", "marked1"]) await tab.click(text);
  assert.ok(await poll(async () => (await tab.page.evaluate(() => globalThis.opened)).length === 2));
  assert.deepEqual(await tab.page.evaluate(() => globalThis.opened), [
    "https://example.com/plain",
    "https://example.com/marked",
  ]);
  await tab.close();
});

declare global {
  var opened: string[];
}

test("gives characters as many columns as programs count", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.prompted();
  const cells = await tab.page.evaluate(async () => {
    await new Promise<void>((done) => terminal.write("\re\u0301漢👩\u200d👩x", done));
    const { active } = terminal.buffer;
    const line = active.getLine(active.baseY + active.cursorY)!;
    return [0, 1, 3, 5, 7].map((x) => line.getCell(x)!.getChars());
  });
  assert.deepEqual(cells, ["e\u0301", "漢", "👩\u200d", "👩", "x"]);
  await tab.close();
});

test("speaks to screen readers that want it", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.press("Control+Shift+L");
  await tab.page.getByRole("checkbox", { name: "Screen reader support" }).check();
  await tab.press("Escape");
  await tab.page.locator("#sessions").waitFor({ state: "hidden" });
  await tab.type("echo spo''ken\n");
  await tab.page.locator(".xterm-accessibility").getByText("spoken", { exact: true }).waitFor();
  await tab.close();
});

test("copies and pastes on a phone, wrapped lines as one line", async () => {
  const tab = await Tab.open(browser, address, { ...phone, permissions: ["clipboard-read", "clipboard-write"] });
  await tab.connected();
  const key = (name: string) => tab.page.locator("#keys").getByRole("button", { name, exact: true }).tap();
  await tab.run("printf 'https://example.com/%080d\\nnext\\n' 7");
  await key("Copy");
  await tab.says("Copied what the screen shows");
  const copied = await tab.page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, /^https:\/\/example\.com\/0{79}7\nnext\n/m);
  await tab.page.evaluate(() => navigator.clipboard.writeText("echo pas''ted"));
  await key("Paste");
  await tab.shows(/[#$] echo pas''ted$/);
  await tab.press("Enter");
  await tab.shows(/^pasted$/m);
  await tab.close();
});

test("reports touch as the wheel to a program that asks for mouse reports", async () => {
  const tab = await Tab.open(browser, address, phone);
  await tab.connected();
  await tab.prompted();
  await tab.type(String.raw`printf '\033[?1000h'; cat -v` + "\n");
  assert.ok(await poll(() => tab.page.evaluate(() => terminal.modes.mouseTrackingMode !== "none")));
  await tab.drag(200);
  await tab.shows(/\^\[\[M`/); // the wheel, upwards
  await tab.close();
});
