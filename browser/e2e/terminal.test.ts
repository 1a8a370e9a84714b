import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";

import { Tab, Wire, browse, clientOf, poll, serve } from "./harness.js";

// Another name for the server, like a name of an attacker's.
const browser = await browse("--host-resolver-rules=MAP evil.example 127.0.0.1");
const { address } = await serve();

test("runs typed commands, and connects to its server only", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  assert.equal(await tab.run("echo $((6 * 7)) ünï 界"), "42 ünï 界");
  assert.equal(await tab.run("stty size"), await tab.page.evaluate(() => `${terminal.rows} ${terminal.cols}`));
  const { host } = new URL(address);
  assert.ok(tab.requests.some((url) => url.startsWith(`ws://${host}/`)));
  for (const url of tab.requests) assert.equal(new URL(url).host, host, url);
  assert.deepEqual(tab.complaints, [], "the policy forbids nothing that the page does");
  await tab.close();
});

test("shows a full-screen program, resizes it, and restores the screen after it", async () => {
  const tab = await Tab.open(browser, address);
  const size = () => tab.page.evaluate(() => ({ rows: terminal.rows, cols: terminal.cols }));
  await tab.connected();
  await tab.run("echo before");
  const program = `${process.cwd()}/e2e/fullscreen.mjs`;

  await tab.type(`${program}\n`);
  const { rows, cols } = await size();
  await tab.shows(new RegExp(`^${rows} by ${cols}\n{${rows - 1}}-- INSERT --$`, "m"));
  await tab.type("x");
  await tab.shows(/^    key x$/m);
  await tab.type("q");
  await tab.shows(/^before$[^]*[#$] $/m);
  assert.ok(!(await tab.text()).includes("INSERT"));

  await tab.type(`${program}\n`);
  await tab.shows(/INSERT/);
  await tab.page.setViewportSize({ width: 700, height: 420 });
  const smaller = await poll(async () => {
    const now = await size();
    return now.rows < rows && now.cols < cols && now;
  });
  assert.ok(smaller);
  await tab.shows(new RegExp(`^${smaller.rows} by ${smaller.cols}\n{${smaller.rows - 1}}-- INSERT --$`, "m"));
  await tab.type("xq");
  await tab.prompted();
  assert.equal(await tab.run("stty size"), `${smaller.rows} ${smaller.cols}`);
  await tab.close();
});

test("is in the same shell after a reload", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  const shell = await tab.run("echo $$");
  const url = tab.page.url();
  await tab.page.reload();
  await tab.connected();
  assert.equal(tab.page.url(), url);
  assert.equal(await tab.run("echo $$"), shell);
  await tab.close();
});

test("comes back when its connection is lost for good", async () => {
  const wire = await Wire.to((await serve("--resume-timeout", "0")).address);
  const tab = await Tab.openWithClock(browser, wire.address);
  await tab.connected();
  const shell = await tab.run("echo $$");
  const notice = tab.page.locator("#notice");
  const retry = tab.page.getByRole("button", { name: "Retry now" });

  // While time stands still, only the button can end the wait.
  await tab.stopTime();
  wire.cut();
  await tab.says("The connection is lost.");
  await notice.getByText(/Reconnecting in \d+ s\./).waitFor();
  await tab.type("lost"); // without Enter, which would press the button
  wire.mend();
  await retry.click();
  await tab.connected();
  await notice.waitFor({ state: "hidden" });
  await tab.page.clock.resume();
  assert.equal(await tab.run("echo $$"), shell);
  assert.ok(!(await tab.text()).includes("lost"), "what is typed without a connection goes nowhere");

  // The page also comes back by itself.
  wire.cut();
  await tab.says("The connection is lost.");
  wire.mend();
  await tab.connected();
  assert.equal(await tab.run("echo $$"), shell);
  await tab.close();
});

test("notices a dead connection when the network is back, and replaces it", async () => {
  const wire = await Wire.to((await serve("--resume-timeout", "0")).address);
  const tab = await Tab.openWithClock(browser, wire.address);
  await tab.connected();
  const shell = await tab.run("echo $$");

  // While time stands still, the page does not try again by itself.
  await tab.stopTime();
  wire.hold();
  await tab.page.evaluate(() => void dispatchEvent(new Event("online")));
  await tab.page.clock.runFor(9_900);
  await tab.connected();
  await tab.page.clock.runFor(100);
  await tab.says("The server does not answer.");
  await tab.page.getByRole("button", { name: "Retry now" }).click();
  // The browser's other connections are dead, too. The page does not wait for requests over them.
  await tab.page.clock.runFor(2_000);
  await tab.connected();
  await tab.page.clock.resume();
  assert.equal(await tab.run("echo $$"), shell);
  await tab.close();
});

test("says how the shell exited, and starts another", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  const shell = await tab.run("echo $$");
  await tab.type("exit 3\n");
  await tab.says("The shell has exited with code 3.");
  const url = tab.page.url();
  await tab.press("Enter");
  await tab.connected();
  assert.notEqual(tab.page.url(), url);
  assert.notEqual(await tab.run("echo $$"), shell);
  await tab.close();
});

test("keeps foreign pages out", async () => {
  const evil = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<title>evil</title>"));
  evil.listen(0, "127.0.0.1");
  await once(evil, "listening");
  after(() => evil.close());
  const origin = `http://127.0.0.1:${(evil.address() as AddressInfo).port}/`;
  const rebound = address.replace("127.0.0.1", "evil.example");
  const attack = async ({ address, frame }: { address: string; frame: boolean }) => {
    const socket = new WebSocket(address.replace("http", "ws"), ["wsep"]);
    const opened = await new Promise((done) => {
      socket.onopen = () => done(true);
      socket.onerror = () => done(false);
    });
    const status = await fetch(`${address}api/server`).then(
      (response) => response.status,
      () => 0,
    );
    if (!frame) return { opened, status };
    const embedded = document.createElement("iframe");
    embedded.src = address;
    document.body.append(embedded);
    await new Promise((done) => (embedded.onload = done));
    return { opened, status };
  };

  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(origin);
  assert.deepEqual(await page.evaluate(attack, { address, frame: true }), { opened: false, status: 0 });
  const frame = page.frames().find((f) => f !== page.mainFrame())!;
  const refused = await poll(async () => frame.url() === "chrome-error://chromewebdata/");
  assert.ok(refused, `the page can't be framed: ${frame.url()}`);

  // If a page's own name points here, its browser takes this server for the page's origin.
  await page.goto(rebound);
  assert.deepEqual(await page.evaluate(attack, { address: rebound, frame: false }), { opened: false, status: 403 });

  // From the server's own page the same connection is allowed.
  await page.goto(address);
  assert.deepEqual(await page.evaluate(attack, { address, frame: false }), { opened: true, status: 200 });
  await context.close();
});

test("lists the present sessions, and no earlier ones", async () => {
  const alone = await serve();
  const tab = await Tab.open(browser, alone.address);
  await tab.connected();
  const items = tab.page.locator("#sessions li");
  await tab.press("Control+Shift+L");
  await items.first().waitFor();
  await tab.press("Escape");

  let answer = () => {};
  const answered = new Promise<void>((resolve) => (answer = resolve));
  await tab.page.route("**/api/server", async (route) => {
    await answered;
    await route.continue();
  });
  await tab.press("Control+Shift+L");
  await tab.page.locator("#sessions").waitFor();
  assert.equal(await items.count(), 0);
  answer();
  await items.first().waitFor();
  await tab.close();
});

test("lists the same in every browser: what runs, where, since when, and its last line", async () => {
  const alone = await serve("--sessions", "native");
  const one = await Tab.open(browser, alone.address);
  await one.connected();
  const host = await one.run("uname -n");
  await one.run("export PS1='<1> '");
  const other = await Tab.open(browser, `${alone.address}#2`);
  await other.connected();
  await other.run("export PS1='<b>2</b> '");
  const client = clientOf(alone.address);
  const job = client.spawn("sh", { args: ["-c", "echo 'the last'; exit 3"], id: "job", keep: 60_000, cwd: "/usr" });
  assert.deepEqual(await job.exited, { code: 3 });
  await one.shows(/^<1> $/m);
  await other.shows(/^<b>2<\/b> $/m);
  const lists = [];
  for (const tab of [one, other]) {
    await tab.press("Control+Shift+L");
    const items = tab.page.locator("#sessions li a");
    await items.nth(2).waitFor();
    lists.push(
      await items.evaluateAll((links) =>
        links.map((link) => ["strong", "small", "code"].map((part) => link.querySelector(part)!.textContent)),
      ),
    );
    assert.equal(await tab.page.locator("#sessions li a[href]").count(), 2, "a command without a terminal can't be shown");
    assert.equal(await tab.page.evaluate(() => localStorage.length), 0);
  }
  for (const list of lists) {
    const shown = list.map(([program, detail, line]) => [program, ...detail!.split(", "), line]);
    const home = shown[0]![1];
    assert.match(home!, new RegExp(`^in /\\S+ on ${host}$`));
    for (const [, , since] of shown) assert.match(since!, /^started (just now|\d+ minutes? ago)$/);
    assert.deepEqual(
      shown.map(([program, where, , state, line]) => [program, where, state, line]),
      [
        ["bash", home, "open in 1 window", "<1>"],
        ["bash", home, "open in 1 window", "<b>2</b>"],
        ["sh -c echo 'the last'; exit 3", `in /usr on ${host}`, "exited with code 3", "the last"],
      ],
    );
  }
  for (const tab of [one, other]) await tab.close();
});

test("says when a session could not be closed", async () => {
  const alone = await serve();
  const tab = await Tab.open(browser, alone.address);
  await tab.connected();
  await tab.press("Control+Shift+L");
  await tab.page.locator("#sessions li").first().waitFor();
  const ended = once(alone.process, "exit");
  alone.process.kill("SIGKILL");
  await ended;
  for (const name of [/^Close session/, /^End everything/]) await tab.page.getByRole("button", { name }).click();
  await tab.page.locator("#sessions .word", { hasText: /^The session could not be closed\. The server can't be reached\.$/ }).waitFor();
  await tab.close();
});

test("can be used with the keyboard alone", async () => {
  const alone = await serve();
  const tab = await Tab.open(browser, alone.address);
  const focused = () =>
    tab.page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const outline = getComputedStyle(element);
      return {
        name: element.getAttribute("aria-label") ?? element.textContent?.trim(),
        visible: outline.outlineStyle !== "none" && outline.outlineWidth !== "0px",
      };
    });
  await tab.connected();
  const first = await tab.run("cd / && echo $$");
  await tab.page.waitForFunction(() => document.title.endsWith(": /"));

  // Start a second session from the list.
  await tab.press("Control+Shift+L");
  const items = tab.page.locator("#sessions li");
  await items.first().waitFor();
  assert.match((await focused()).name!, /^bashin \/\S+ on \S+, started just now, open in 1 window/);
  await tab.press("Tab", "Tab");
  assert.deepEqual(await focused(), { name: "New session", visible: true });
  await tab.press("Enter");
  await tab.connected();
  assert.ok(await poll(async () => !(await tab.text()).includes(first)));
  const second = await tab.run("cd /tmp && echo $$");
  assert.notEqual(second, first);
  await tab.page.waitForFunction(() => document.title.endsWith(": /tmp"));

  // Return to the first session.
  await tab.press("Control+Shift+L");
  await items.nth(1).waitFor();
  assert.equal(await tab.page.locator("#sessions li:nth-child(2) a:focus").count(), 1, "the one of this tab");
  await tab.press("Shift+Tab", "Shift+Tab");
  assert.equal(await tab.page.locator("#sessions li:nth-child(1) a:focus").count(), 1);
  await tab.press("Enter");
  await tab.shows(new RegExp(`^${first}$`, "m"));
  assert.equal(await tab.run("echo $$"), first);

  // Close the second session, which takes two presses.
  await tab.press("Control+Shift+L");
  await items.nth(1).waitFor();
  await tab.press("Tab", "Tab", "Tab");
  assert.deepEqual(await focused(), { name: "Close session bash", visible: true });
  await tab.press("Enter");
  assert.equal(await items.count(), 2);
  assert.match((await focused()).name!, /^End everything that runs in session/);
  await tab.press("Enter");
  await poll(async () => (await items.count()) === 1);
  assert.equal(await items.count(), 1);
  await tab.press("Escape");
  assert.equal(await tab.run("echo $$"), first, "the terminal has the focus again");

  // Search.
  await tab.run("for i in 1 2 3; do echo need'le'; done");
  await tab.press("Control+Shift+F");
  await tab.page.getByRole("search").waitFor();
  await tab.type("needle");
  await tab.page.locator("#search output").filter({ hasText: /^[1-3] of 3$/ }).waitFor();
  const at = await tab.page.evaluate(() => terminal.getSelectionPosition()?.start.y);
  await tab.press("Enter");
  assert.notEqual(await tab.page.evaluate(() => terminal.getSelectionPosition()?.start.y), at);
  await tab.press("Escape");
  assert.equal(await tab.run("echo $$"), first);

  // When the list is closed, the keyboard reaches the rest of the bar.
  for (const name of ["Sessions", "Search"]) await tab.page.getByRole("button", { name }).first().waitFor();
  await tab.close();
});

test("copies and pastes", async () => {
  const tab = await Tab.open(browser, address, { permissions: ["clipboard-read", "clipboard-write"] });
  await tab.connected();
  await tab.run("echo copied-text");
  await tab.page.evaluate(() => {
    const { active } = terminal.buffer;
    for (let y = 0; y < active.length; y++) {
      if (active.getLine(y)!.translateToString(true) === "copied-text") terminal.select(0, y, "copied-text".length);
    }
  });
  await tab.press("Control+Shift+C");
  await tab.says("Copied");
  assert.equal(await tab.page.evaluate(() => navigator.clipboard.readText()), "copied-text");
  await tab.page.evaluate(() => navigator.clipboard.writeText("pasted\ntext"));
  await tab.type("cat -v <<'END'\n");
  await tab.press("Control+Shift+V");
  await tab.shows(/pasted\ntext$/); // The page has read the clipboard, and other keys come behind the text.
  await tab.type("\nEND\n");
  await tab.shows(/END\npasted\ntext\n/);
  await tab.close();
});

test("follows the session's title", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  await tab.run("cd /usr/bin");
  await tab.page.waitForFunction(() => document.title.endsWith(": /usr/bin"));
  await tab.run(String.raw`PROMPT_COMMAND=; printf '\033]0;<b>mine</b>\007'`);
  await tab.page.waitForFunction(() => document.title === "<b>mine</b>");
  assert.equal(await tab.page.locator("#title").textContent(), "<b>mine</b>");
  await tab.close();
});

test("draws with WebGL where that is fast", async () => {
  const canvases = (tab: Tab) => tab.page.locator("#terminal canvas").count();
  const slow = await Tab.open(browser, address);
  await slow.connected();
  await slow.press("Control+Shift+F");
  await slow.page.getByRole("search").waitFor(); // it comes with all late parts
  assert.equal(await canvases(slow), 0);
  await slow.close();

  // The browser of this test draws in software. Here it hides that.
  const fast = await Tab.open(browser, address, {}, () => {
    const { prototype } = WebGL2RenderingContext;
    const { getExtension } = prototype;
    const withoutInfo = function (this: WebGL2RenderingContext, name: string): unknown {
      return name === "WEBGL_debug_renderer_info" ? null : Reflect.apply(getExtension, this, [name]);
    };
    Object.assign(prototype, { getExtension: withoutInfo });
  });
  await fast.connected();
  assert.ok(await poll(async () => (await canvases(fast)) > 0));
  assert.equal(await fast.run("echo drawn"), "drawn");
  assert.deepEqual(fast.complaints, []);
  await fast.close();
});

test("can be used on a phone", async () => {
  const tab = await Tab.open(browser, address, { viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true });
  await tab.connected();
  const key = (name: string) => tab.page.locator("#keys").getByRole("button", { name, exact: true }).tap();
  await tab.prompted();
  await tab.type('(echo a""b;cat)\n');
  await tab.shows(/^ab$/m); // cat runs, so Ctrl-C is for it
  await key("Ctrl");
  await tab.type("c");
  await tab.shows(/\^C/);
  await tab.run("echo one");
  await key("Up");
  await key("Up");
  await tab.shows(/[#$] \(echo a""b;cat\)$/);
  await key("Ctrl");
  await tab.type("u");
  await tab.run("seq 200");
  assert.match(await tab.run("echo $COLUMNS"), /^[45]\d$/);

  // A finger moves the scrollback into view.
  const before = await tab.page.evaluate(() => terminal.buffer.active.viewportY);
  await tab.drag(200);
  await poll(() => tab.page.evaluate((was) => terminal.buffer.active.viewportY < was - 5, before));
  assert.ok((await tab.page.evaluate(() => terminal.buffer.active.viewportY)) < before - 5);
  const wide = await tab.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  assert.ok(wide, "nothing sticks out of the page");
  await tab.close();
});
