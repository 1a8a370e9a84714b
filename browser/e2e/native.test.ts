import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Tab, browse, clientOf, poll, serve } from "./harness.js";

// The page's sessions in the server's own terminal model.

const browser = await browse();
const native = ["--sessions", "native"];
const { address } = await serve(...native);

const folder = mkdtempSync(join(tmpdir(), "wsep-native-"));
after(() => rmSync(folder, { recursive: true }));

/** The folder of the pictures. They are for people to look at. */
const PICTURES = "e2e/screenshots";
mkdirSync(PICTURES, { recursive: true });

function picture(tab: Tab, name: string): Promise<unknown> {
  return tab.page.screenshot({ path: `${PICTURES}/native-${name}.png`, animations: "disabled" });
}

/** Reloads the page, and waits until it shows the session again. */
async function reload(tab: Tab): Promise<void> {
  await tab.page.reload();
  await tab.page.waitForFunction(() => "buffer" in terminal);
  await tab.page.locator("#status").getByText("Connected").waitFor();
}

/** A file of numbered lines. */
function numbered(lines: number): string {
  const path = join(folder, `lines-${lines}`);
  writeFileSync(path, Array.from({ length: lines }, (_, i) => `line ${i + 1}\n`).join(""));
  return path;
}

function bufferType(tab: Tab): Promise<string> {
  return tab.page.evaluate(() => terminal.buffer.active.type);
}

test("has the scrollback after a reload", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.run("seq 3000");
  const before = await tab.text();
  await reload(tab);
  await tab.shows(/^3000\n/m);
  assert.equal(await tab.text(), before);
  const numbers = before.split("\n").filter((line) => /^\d+$/.test(line));
  assert.deepEqual(numbers, Array.from({ length: 3000 }, (_, i) => String(i + 1)));
  assert.equal(await tab.run("echo still here"), "still here");
  await tab.page.evaluate(() => terminal.scrollToTop());
  await picture(tab, "scrollback");
  await tab.close();
});

test("clears the scrollback of its old connection before the session shows it again", async () => {
  const tab = await Tab.open(browser, (await serve(...native, "--resume-timeout", "0")).address, {}, () => {
    const made: WebSocket[] = [];
    globalThis.WebSocket = class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        made.push(this);
      }
    };
    globalThis.cutAll = () => made.forEach((socket) => socket.close());
    globalThis.connections = () => made.length;
  });
  await tab.connected();
  await tab.run("seq 300");
  const before = await tab.text();
  await tab.page.evaluate(() => globalThis.cutAll());
  assert.ok(await poll(() => tab.page.evaluate(() => globalThis.connections() > 1)));
  await tab.connected();
  await tab.shows(/^300\n/m);
  assert.ok(await poll(async () => (await tab.text()) === before), await tab.text());
  await tab.close();
});

declare global {
  var cutAll: () => void;
  var connections: () => number;
}

test("keeps vim in the alternate screen", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.run("seq 100");
  const before = await tab.text();
  await tab.type(`vim -u NONE -N -c 'set ruler' ${numbered(200)}\n`);
  await tab.shows(/^line 1$/m);
  await tab.type("50Gihello ");
  await tab.shows(/^hello line 50$[^]* 50,7 /m);
  const screen = await tab.text();
  await reload(tab);
  await tab.shows(/^hello line 50$/m);
  assert.equal(await bufferType(tab), "alternate");
  assert.ok(await poll(async () => (await tab.text()) === screen), await tab.text());
  await picture(tab, "vim");
  await tab.type("again ");
  await tab.shows(/^hello again line 50$/m);
  await tab.press("Escape");
  await tab.type(":q!\n");
  await tab.prompted();
  assert.equal(await bufferType(tab), "normal");
  assert.ok((await tab.text()).startsWith(before), "the normal screen and its scrollback are back");
  await tab.close();
});

test("scrolls less with the wheel, also after a reload", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.prompted();
  await tab.type(`less ${numbered(500)}\n`);
  await tab.shows(/^line 1$/m);
  const top = async (): Promise<number> => Number(/^line (\d+)$/m.exec(await tab.text())?.[1]);
  const turn = async (): Promise<void> => {
    const from = await top();
    await tab.page.mouse.move(300, 300);
    await tab.page.mouse.wheel(0, 200);
    assert.ok(await poll(async () => (await top()) > from), "the wheel scrolls less");
    // One turn is several lines. When less asks for a pattern, it has drawn them all.
    await tab.type("/");
    await tab.shows(/\n\/$/);
    await tab.press("Backspace");
    await tab.shows(/\n:$/);
  };
  assert.equal(await bufferType(tab), "alternate");
  await turn();
  const at = await top();
  await reload(tab);
  await tab.shows(new RegExp(`^line ${at}$`, "m"));
  assert.equal(await top(), at);
  assert.equal(await bufferType(tab), "alternate");
  await turn();
  await picture(tab, "less");
  await tab.type("q");
  await tab.prompted();
  assert.equal(await bufferType(tab), "normal");
  await tab.close();
});

test("shows true colors, italics and links, also after a reload", async () => {
  const tab = await Tab.open(browser, address, {}, () => {
    globalThis.opened = [];
    window.open = (url) => (globalThis.opened.push(String(url)), null);
  });
  await tab.connected();
  assert.equal(await tab.run('echo "$TERM $COLORTERM"'), "xterm-256color truecolor");
  const text =
    String.raw`\033[38;2;200;100;50mcolored\033[0m \033[3mitalic\033[0m ` +
    String.raw`\033]8;;https://example.com/marked\033\\linked\033]8;;\033\\ \033[4:3mcurly\033[0m 界✓`;
  await tab.run(`printf '${text}\\n'`);
  for (const when of ["at once", "after a reload"]) {
    await tab.shows(/^colored italic linked curly 界✓$/m);
    assert.deepEqual(await tab.page.evaluate(looks), { color: 0xc86432, rgb: true, italic: true }, when);
    await tab.click("linked");
    assert.ok(await poll(async () => (await tab.page.evaluate(() => globalThis.opened)).length === 1), when);
    assert.deepEqual(await tab.page.evaluate(() => globalThis.opened), ["https://example.com/marked"]);
    if (when === "at once") await reload(tab);
  }
  await picture(tab, "colors");
  await tab.close();
});

declare global {
  var opened: string[];
}

/** Returns the looks of the words in the line of the test above. */
function looks(): object {
  const { active } = terminal.buffer;
  for (let y = active.length - 1; y >= 0; y--) {
    const line = active.getLine(y)!;
    if (!line.translateToString().startsWith("colored italic")) continue;
    const [colored, italic] = [line.getCell(0)!, line.getCell("colored ".length)!];
    return { color: colored.getFgColor(), rgb: colored.isFgRGB(), italic: italic.isItalic() !== 0 };
  }
  throw new Error("the line is not there");
}

test("counts columns like the session", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.run("printf '👩\\u200d💻|❤\\ufe0f|漢|\\n'");
  for (const when of ["at once", "after a reload"]) {
    await tab.shows(/^👩\u200d💻\|❤\ufe0f\|漢\|$/mu);
    assert.deepEqual(await tab.page.evaluate(bars), [4, 6, 9], when);
    if (when === "at once") await reload(tab);
  }
  await tab.close();
});

/** Returns the columns of the bars in the line of the test above. */
function bars(): number[] {
  const { active } = terminal.buffer;
  for (let y = active.length - 1; y >= 0; y--) {
    const line = active.getLine(y)!;
    if (!line.translateToString().startsWith("👩")) continue;
    return Array.from({ length: line.length }, (_, x) => x).filter((x) => line.getCell(x)!.getChars() === "|");
  }
  throw new Error("the line is not there");
}

test("says that the server has restarted, and that the shell is a new one", async () => {
  const first = await serve(...native);
  const listen = ["--listen", new URL(first.address).host];
  const tab = await Tab.open(browser, first.address);
  await tab.connected();
  await tab.run("old=shell; seq 100");
  const news = tab.page.locator("#notice").getByText("The server has restarted. This is a new shell.");
  const stop = async (site: typeof first): Promise<void> => {
    const exited = once(site.process, "exit");
    site.process.kill("SIGKILL");
    await exited;
  };

  // While the page is open.
  await stop(first);
  const second = await serve(...native, ...listen);
  await news.waitFor();
  await picture(tab, "restarted");
  assert.equal(await tab.run('echo "<$old>"'), "<>");
  assert.ok(!(await tab.text()).includes("\n99\n"), "the old shell's output is gone");
  await tab.page.getByRole("button", { name: "OK" }).click();
  assert.equal(await news.isVisible(), false);

  // And while it is reloaded.
  await stop(second);
  await serve(...native, ...listen);
  await reload(tab);
  await news.waitFor();

  // Another reload finds the shell.
  await reload(tab);
  await tab.prompted();
  assert.equal(await news.isVisible(), false);
  await tab.close();
});

test("says that a session has ended meanwhile, but not at its first start or after its exit", async () => {
  const own = await serve(...native);
  const tab = await Tab.open(browser, own.address);
  const notice = tab.page.locator("#notice");
  await tab.connected();
  await tab.prompted();
  assert.equal(await notice.isVisible(), false);
  const { hash } = new URL(tab.page.url());
  await tab.page.goto("about:blank");
  const id = decodeURIComponent(hash.slice(1));
  await clientOf(own.address).closeSession(id);
  await tab.page.goto(`${own.address}${hash}`);
  await notice.getByText("The session has ended meanwhile. This is a new shell.").waitFor();

  await tab.prompted();
  await tab.type("exit\n");
  await tab.says("The shell has exited.");
  await reload(tab);
  await tab.prompted();
  assert.equal(await notice.isVisible(), false);
  await tab.close();
});
