import assert from "node:assert/strict";
import { test } from "node:test";

import { Tab, browse, poll, serve } from "./harness.js";

// Pasted text is only text, in whatever way it is pasted.

const browser = await browse();
const { address } = await serve();

/** Each ends a bracketed paste, if it reaches the terminal unchanged. */
const ends = ["\x1b[201~", "\x9b201~", "\x03"];

const ways: Record<string, (tab: Tab, text: string) => Promise<unknown>> = {
  "Ctrl, Shift and V": async (tab, text) => {
    await tab.page.evaluate((text) => navigator.clipboard.writeText(text), text);
    await tab.press("Control+Shift+V");
  },
  "Shift and Insert": async (tab, text) => {
    await tab.page.evaluate((text) => navigator.clipboard.writeText(text), text);
    await tab.press("Shift+Insert");
  },
  "a menu": (tab, text) => tab.page.evaluate(pasteInto, { selector: ".xterm-helper-textarea", text }),
  "a mouse button": (tab, text) => tab.page.evaluate(pasteInto, { selector: ".xterm-screen", text }),
  "a program": (tab, text) => tab.page.evaluate((text) => terminal.paste(text), text),
  "a phone's keyboard": (tab, text) => tab.page.keyboard.insertText(text),
  "a drop": (tab, text) => tab.page.evaluate(drop, text),
};

test("runs no pasted text, in whatever way it is pasted", async () => {
  const tab = await Tab.open(browser, address, { permissions: ["clipboard-read", "clipboard-write"] });
  await tab.connected();
  await tab.run("echo begun"); // The screen has several lines before it is cleared, as after each paste.
  for (const [way, paste] of Object.entries(ways)) {
    for (const end of ends) {
      await tab.type("clear\n");
      await tab.shows(/^[^\n]*[#$] $/);
      assert.ok(await poll(() => tab.page.evaluate(() => terminal.modes.bracketedPasteMode)));
      await paste(tab, `echo safe${end}\necho PW''N\n`);
      await tab.shows(/echo safe[^]*echo PW''N\n?$/);
      await tab.press("Control+C"); // This is typed, and ends the line.
      await tab.shows(/\^C\n[^\n]*[#$] $/);
      assert.doesNotMatch(await tab.text(), /^PWN$/m, `${way}, ${JSON.stringify(end)}`);
    }
  }
  await tab.close();
});

test("pastes printable text, tabs and lines unchanged", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.prompted();
  await tab.type("cat -v\n");
  assert.ok(await poll(() => tab.page.evaluate(() => !terminal.modes.bracketedPasteMode)));
  await tab.page.evaluate(() => terminal.paste("a\tb\r\nünï 界\n\x1b[31m\x7f\x85x\n"));
  await tab.shows(/^a {7}b\n[^]*^\u241b\[31m\u2421\u241bx$/m);
  await tab.close();
});

test("stays where it is when something is dropped", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  const url = tab.page.url();
  for (const selector of ["body", "#terminal", "header"]) {
    const left = await tab.page.evaluate((selector) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["<title>left</title>"], "left.html", { type: "text/html" }));
      const target = document.querySelector(selector)!;
      return ["dragover", "drop"].some((type) =>
        target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true })),
      );
    }, selector);
    assert.ok(!left, `the browser goes to what is dropped on ${selector}`);
    await tab.says("This terminal takes no files.");
  }
  assert.equal(tab.page.url(), url);
  assert.equal(await tab.run("echo here"), "here");
  await tab.close();
});

/** Pastes as a browser's menu does. */
function pasteInto({ selector, text }: { selector: string; text: string }): void {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true, composed: true });
  document.querySelector(selector)!.dispatchEvent(event);
}

function drop(text: string): void {
  const dataTransfer = new DataTransfer();
  dataTransfer.setData("text/plain", text);
  document.querySelector(".xterm-screen")!.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}
