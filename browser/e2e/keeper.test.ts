import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Tab, browse, serve } from "./harness.js";
import type { Site } from "./harness.js";

// A server with a keeper is killed, and another one takes its place.

const browser = await browse();

/** The folder of the pictures. They are for people to look at. */
const PICTURES = "e2e/screenshots";
mkdirSync(PICTURES, { recursive: true });

const folder = mkdtempSync(join(tmpdir(), "wsep-keep-"));
after(() => rmSync(folder, { recursive: true }));

async function kill(site: Site): Promise<void> {
  const exited = once(site.process, "exit");
  site.process.kill("SIGKILL");
  await exited;
}

test("goes on with its shell when the server is killed and started again", async () => {
  const first = await serve("--keep", folder);
  const listen = ["--keep", folder, "--listen", new URL(first.address).host];
  const tab = await Tab.open(browser, first.address);
  await tab.connected();
  const [shell, keeper] = (await tab.run("echo $$ $PPID")).split(" ");
  after(() => process.kill(Number(keeper), "SIGTERM"));
  await tab.run("kept=variable; seq 300");
  await tab.run("echo from his''tory");

  // While the page is open. What is typed meanwhile waits.
  await kill(first);
  await tab.says("The connection is lost.");
  await tab.type("echo typed mean''while\n");
  const second = await serve(...listen);
  await tab.connected();
  await tab.shows(/^typed meanwhile$/m);
  assert.equal(await tab.run("echo $$ $kept"), `${shell} variable`);
  for (let n = 0; n < 3; n++) await tab.press("ArrowUp");
  await tab.press("Enter");
  await tab.shows(/^from history$[^]*^from history$/m);
  await tab.prompted();
  await tab.page.screenshot({ path: `${PICTURES}/kept.png`, animations: "disabled" });

  // While the page is reloaded.
  const before = await tab.text();
  await kill(second);
  await serve(...listen);
  await tab.page.reload();
  await tab.connected();
  await tab.shows(/^300$/m);
  await tab.prompted();
  assert.equal(await tab.text(), before);
  assert.equal(await tab.run("echo $$ $kept"), `${shell} variable`);
  assert.equal(await tab.page.locator("#notice").isVisible(), false);

  // The list has the keeper's session. It ends there.
  await tab.press("Control+Shift+L");
  await tab.page.locator("#sessions li").first().waitFor();
  assert.equal(await tab.page.locator("#sessions li").count(), 1);
  await tab.press("Escape");
  assert.deepEqual(tab.complaints.filter((complaint) => !/WebSocket|ERR_CONNECTION/.test(complaint)), []);
  await tab.type("exit\n");
  await tab.close();
});
