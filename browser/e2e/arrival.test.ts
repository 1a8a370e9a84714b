import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { after, test } from "node:test";

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
  await dialog.getByRole("alert").getByText("That token is wrong").waitFor();
  await stranger.type(token);
  await stranger.press("Enter");
  await stranger.connected();
  assert.equal(await stranger.run("echo in"), "in");
  await stranger.close();
});

test("says that a token is wrong, from its address or after the server took it before", async () => {
  const { base, token } = await guard();
  const tab = await Tab.open(browser, `${base}#token=wrong`);
  const wrong = tab.page.getByRole("dialog").getByRole("alert").getByText("That token is wrong");
  await wrong.waitFor();
  await tab.type(token);
  await tab.press("Enter");
  await tab.connected();
  const shell = await tab.run("echo $$");
  await tab.close();

  const wire = await Wire.to(base);
  const kept = await Tab.open(browser, `${wire.address}#token=${token}`, {}, () => (Math.random = () => 0));
  await kept.connected();
  await kept.page.route("**/api/server", (route) => route.fulfill({ status: 401 }));
  wire.cut();
  wire.mend();
  await kept.page.getByRole("dialog").getByRole("alert").getByText("That token is wrong").waitFor();
  await kept.page.unroute("**/api/server");
  await kept.type(token);
  await kept.press("Enter");
  await kept.connected();
  assert.notEqual(await kept.run("echo $$"), shell);
  await kept.close();
});

test("asks for the token for as long as its user takes", async () => {
  const { base, token } = await guard();
  const wire = await Wire.to(base);
  const tab = await Tab.openWithClock(browser, wire.address);
  const answerLate = async () => {
    await tab.page.getByRole("dialog", { name: "This server asks for a token" }).waitFor();
    await tab.page.clock.runFor(60_000);
    await tab.type(token);
    await tab.press("Enter");
    await tab.connected();
  };
  await answerLate();
  const shell = await tab.run("echo $$");

  // The server may also stop taking it, for a while. Then the page connects again, and asks once more.
  await tab.page.route("**/api/server", (route) => route.fulfill({ status: 401 }));
  wire.cut();
  wire.mend();
  await tab.page.getByRole("dialog", { name: "This server asks for a token" }).waitFor();
  await tab.page.unroute("**/api/server");
  await answerLate();
  assert.equal(await tab.run("echo $$"), shell);
  await tab.close();
});

test("works under a path prefix, and leaves the query of its address alone", async () => {
  const { base, token } = await guard();
  const prefixed = await behindPrefix(base, "/some/where");
  const tab = await Tab.open(browser, `${prefixed}?theme=a&b#token=${token}`);
  await tab.connected();
  assert.equal(await tab.run("echo in"), "in");
  assert.match(tab.page.url(), /\/some\/where\/\?theme=a&b#\w+$/);
  await tab.press("Control+Shift+L");
  await tab.page.locator("#sessions li").first().waitFor();
  await tab.page.reload();
  await tab.connected();
  for (const url of tab.requests) assert.match(new URL(url).pathname, /^\/some\/where\//);
  assert.deepEqual(tab.complaints, []);
  await tab.close();
});

test("finds its own slash behind a proxy that does not add it", async () => {
  const { base, token } = await guard();
  const prefixed = (await behindPrefix(base, "/some/where")).slice(0, -1);
  const tab = await Tab.open(browser, `${prefixed}?theme=a&b#token=${token}`);
  await tab.connected();
  assert.equal(await tab.run("echo in"), "in");
  assert.match(tab.page.url(), /\/some\/where\/\?theme=a&b#\w+$/);
  await tab.close();
});

test("gets the token from an open tab of the same origin, and from no other", async () => {
  const { base, token } = await guard();
  const first = await Tab.open(browser, base);
  const asked = (tab: Tab) => tab.page.getByRole("dialog", { name: "This server asks for a token" });
  await asked(first).waitFor();
  const second = await first.beside(base);
  await asked(second).waitFor();

  // All tabs have the token that one tab gets.
  await first.type(token);
  await first.press("Enter");
  for (const tab of [first, second]) await tab.connected();
  assert.equal(await asked(second).isVisible(), false);
  const third = await first.beside(base);
  await third.connected();
  assert.equal(await third.run("echo in"), "in");

  // A page of another origin does not get the token. A wrong token is not passed on at all.
  const { base: other } = await guard();
  const stranger = await first.beside(`${other}#token=wrong`);
  await asked(stranger).waitFor();
  const fresh = await first.beside(other);
  await asked(fresh).waitFor();
  assert.equal(await fresh.page.getByRole("alert").isVisible(), false, "the wrong one was not passed on");
  await first.close();
});

test("tries again when the server can't run commands, and when the network is back", async () => {
  const prepare = () => (Math.random = () => 0);
  const failing = { status: 502, json: { error: "The server can't run commands now: no route" } };
  const tab = await Tab.open(browser, "about:blank", {}, prepare);
  await tab.page.route("**/api/server", (route) => route.fulfill(failing));
  await tab.page.goto(address);
  await tab.says("The server can't run commands now: no route.");
  await tab.page.unroute("**/api/server");
  await tab.connected();

  // The page now waits longer than the test.
  await tab.page.evaluate(() => void (Math.random = () => 1000));
  await tab.page.route("**/api/server", (route) => route.fulfill({ status: 503 }), { times: 1 });
  await tab.page.evaluate(() => void (location.hash = "another"));
  await tab.says("The server answers 503");
  await tab.page.getByText(/Reconnecting in \d+ s\./).waitFor();
  await tab.page.evaluate(() => void dispatchEvent(new Event("online")));
  await tab.connected();
  assert.equal(await tab.run("echo there"), "there");
  await tab.close();
});

test("does not try again by itself after a refusal, but when its user asks for it", async () => {
  const tab = await Tab.open(browser, "about:blank", {}, () => (Math.random = () => 0));
  await tab.page.route("**/api/server", (route) => route.fulfill({ status: 403 }));
  await tab.page.goto(address);
  await tab.says("The server refuses this page, with status 403.");
  await tab.page.waitForTimeout(500);
  assert.equal(tab.requests.filter((url) => url.endsWith("api/server")).length, 1);
  await tab.page.unroute("**/api/server");
  await tab.page.getByRole("button", { name: "Retry now" }).click();
  await tab.connected();
  await tab.close();
});

/** Runs a server that asks for a token. */
async function guard(): Promise<{ readonly base: string; readonly token: string }> {
  const [base, token] = (await serve("--random-token")).address.split("#token=") as [string, string];
  return { base, token };
}

/** Serves a page's server below a path, until the tests have ended, and returns the page's address there. */
async function behindPrefix(base: string, prefix: string): Promise<string> {
  const { hostname, port } = new URL(base);
  const ask = (request: IncomingMessage): ClientRequest => {
    const path = request.url!.slice(prefix.length).replace(/^(?!\/)/, "/");
    return httpRequest({ hostname, port, path, method: request.method, headers: request.headers });
  };
  const proxy = createServer((request, response) => {
    const asked = ask(request);
    asked.on("response", (answer) => answer.pipe(response.writeHead(answer.statusCode!, answer.headers)));
    request.pipe(asked);
  });
  proxy.on("upgrade", (request, near: Socket) => {
    const asked = ask(request).end();
    asked.on("upgrade", (answer, far) => {
      const headers = answer.rawHeaders.map((word, i) => (i % 2 ? `${word}\r\n` : `${word}: `)).join("");
      near.write(`HTTP/1.1 101 Switching Protocols\r\n${headers}\r\n`);
      near.on("error", () => far.destroy()).on("close", () => far.destroy());
      far.on("error", () => near.destroy()).on("close", () => near.destroy());
      near.pipe(far).pipe(near);
    });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${prefix}/`;
}

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

test("connects anew if its scripts come so late that the server may give up the early connection", async () => {
  const tab = await Tab.open(browser, "about:blank");
  await tab.page.clock.install();
  let arrive = (): void => {};
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  await tab.page.route("**/assets/*.js", (route) => arrived.then(() => route.continue()));
  const early = tab.page.waitForEvent("websocket");
  const loaded = tab.page.goto(address);
  await early;
  await tab.page.clock.fastForward(5_001);
  arrive();
  await loaded;
  await tab.connected();
  assert.equal(await tab.run("echo in"), "in");
  assert.equal(tab.requests.filter((url) => url.startsWith("ws:")).length, 2);
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

test("comes back after a network that swallowed its requests", async () => {
  const wire = await Wire.to((await serve("--resume-timeout", "0")).address);
  const tab = await Tab.open(browser, wire.address);
  await tab.connected();
  const shell = await tab.run("echo $$");
  await tab.page.evaluate(() => {
    // Waits of seconds are shorter here.
    const { timeout } = AbortSignal;
    AbortSignal.timeout = () => timeout.call(AbortSignal, 500);
    globalThis.calm = () => (AbortSignal.timeout = timeout);
    Math.random = () => 0;
    // The page shows a sentence no longer than that.
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
