import assert from "node:assert/strict";
import { test } from "node:test";

import type { Route } from "playwright-core";

import { Tab, Wire, browse, poll, serve } from "./harness.js";

// How the page finds its server and its session, and gets in.

const browser = await browse();
const { address } = await serve();

test("asks for the token, and takes it from the address", async () => {
  const guarded = await serve("--random-token");
  const [base, token] = guarded.address.split("#token=") as [string, string];
  const tab = await Tab.open(browser, guarded.address);
  await tab.connected();
  assert.ok(!tab.page.url().includes(token), "the token does not stay in the address");
  assert.ok(tab.requests.every((url) => !url.includes(token)));
  assert.equal(await tab.run("echo in"), "in");
  await tab.page.reload();
  await tab.connected();
  await tab.close();

  const stranger = await Tab.open(browser, base);
  const dialog = stranger.page.getByRole("dialog", { name: "This server asks for a token" });
  await dialog.waitFor();
  await stranger.type("wrong");
  await stranger.press("Enter");
  await poll(async () => (await stranger.page.getByLabel("Token", { exact: true }).inputValue()) === "");
  await dialog.waitFor();
  await stranger.type(token);
  await stranger.press("Enter");
  await stranger.connected();
  assert.equal(await stranger.run("echo in"), "in");
  await stranger.close();
});

test("takes the printed address while it asks for the token", async () => {
  const guarded = await serve("--random-token");
  const tab = await Tab.open(browser, guarded.address.replace(/#.*/, ""));
  const dialog = tab.page.getByRole("dialog", { name: "This server asks for a token" });
  await dialog.waitFor();
  await tab.page.evaluate((url) => void (location.href = url), guarded.address);
  await tab.connected();
  assert.ok(!(await dialog.isVisible()));
  assert.equal(await tab.run("echo in"), "in");
  await tab.close();
});

test("is let in by a cookie", async () => {
  const guarded = await serve("--token", "s3cret");
  const tab = await Tab.open(browser, guarded.address, {
    storageState: {
      cookies: [{ name: "wsep-token", value: "s3cret", domain: "127.0.0.1", path: "/", expires: -1, httpOnly: true, secure: false, sameSite: "Strict" }],
      origins: [],
    },
  });
  await tab.connected();
  assert.equal(await tab.run("echo in"), "in");
  await tab.close();
});

test("comes back after a network that swallowed what it was asked", async () => {
  const wire = await Wire.to(address);
  const tab = await Tab.open(browser, wire.address);
  await tab.connected();
  const shell = await tab.run("echo $$");
  await tab.page.evaluate(() => {
    // What takes seconds elsewhere does not here.
    const { timeout } = AbortSignal;
    AbortSignal.timeout = () => timeout.call(AbortSignal, 500);
    globalThis.calm = () => (AbortSignal.timeout = timeout);
    Math.random = () => 0;
    // What is said lasts no longer than that.
    const announcement = document.querySelector("#announcement")!;
    globalThis.said = "";
    new MutationObserver(() => (globalThis.said += announcement.textContent)).observe(announcement, { childList: true });
  });
  wire.swallow();
  const lostTwice = /The connection is lost\.Reconnecting\.The connection is lost\./;
  assert.ok(await poll(async () => lostTwice.test(await tab.page.evaluate(() => globalThis.said))));
  await tab.page.evaluate(() => void globalThis.calm());
  wire.mend();
  await tab.connected();
  assert.equal(await tab.run("echo $$"), shell);
  await tab.close();
});

declare global {
  var said: string;
  var calm: () => void;
}

test("shows the session that the address names last, whatever becomes of others", async () => {
  const tab = await Tab.open(browser, address);
  await tab.connected();
  let fail = (): void => {};
  const failing = new Promise<void>((resolve) => (fail = resolve));
  const holding = async (route: Route): Promise<void> => {
    await failing;
    await route.abort();
  };
  await tab.page.route("**/api/server", holding, { times: 1 });
  const asked = tab.page.waitForRequest("**/api/server");
  await tab.page.evaluate(() => void (location.hash = "first"));
  await asked;
  await tab.page.evaluate(() => void (location.hash = "second"));
  await tab.connected();
  const failed = tab.page.waitForEvent("requestfailed");
  fail();
  await failed;
  assert.equal(await tab.run("echo there"), "there");
  await tab.connected();
  await tab.close();
});
