import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { allExtensions, settle } from "./fake.js";
import { Session } from "./session.js";

/** The parts of a page that tell about its network and itself. */
interface Page {
  window: EventTarget;
  document: EventTarget & { visibilityState: string };
}

/** Has the test run as in a page. To be called before a process is spawned. */
function page(t: TestContext): Page {
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  const globals = globalThis as Record<string, unknown>;
  Object.assign(globals, {
    document,
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
  });
  t.after(() => {
    for (const name of ["document", "addEventListener", "removeEventListener"]) delete globals[name];
  });
  return { window, document };
}

/** The event of a page that is shown: because it was loaded, or because the browser had kept it. */
function pageshow(persisted: boolean): Event {
  return Object.assign(new Event("pageshow"), { persisted });
}

const moments: [string, (page: Page, session: Session) => void | Promise<void>][] = [
  ["the network comes back", ({ window }) => void window.dispatchEvent(new Event("online"))],
  ["the page comes back", ({ window }) => void window.dispatchEvent(pageshow(true))],
  [
    "the page comes into view",
    ({ document }) => {
      document.visibilityState = "visible";
      document.dispatchEvent(new Event("visibilitychange"));
    },
  ],
  ["the clock jumps", (_, session) => session.sleep(20_000)],
];

for (const [name, happen] of moments) {
  test(`${name}: the next attempt comes at once`, async (t) => {
    const p = page(t);
    const s = await Session.begin(t);
    for (let i = 0; i < 8; i++) {
      s.socket.drop();
      if (i < 7) await s.pass(30_000);
    }
    const n = s.sockets.length;
    await happen(p, s);
    await settle();
    assert.equal(s.sockets.length, n + 1);
  });

  test(`${name}: a long attempt is replaced by another`, async (t) => {
    const p = page(t);
    const s = await Session.begin(t);
    await s.pass(2_001);
    await happen(p, s);
    await settle();
    assert.equal(s.sockets.length, 2);
    assert.equal(s.sockets[0]!.closedWith, 1000);
  });

  test(`${name}: the client asks the server for an echo, and gives the connection up without one`, async (t) => {
    const p = page(t);
    const s = await Session.begin(t);
    s.socket.start(allExtensions);
    await happen(p, s);
    assert.deepEqual(s.socket.take(), [{ type: "echo", n: 1 }]);
    await s.pass(9_999);
    assert.equal(s.process.state.status, "connected");
    await s.pass(1);
    const last = s.states.at(-1)!;
    assert.equal(last.status === "waiting" && last.error.kind, "silent");
    assert.equal(s.socket.closedWith, 1000);
  });
}

test("a page that goes out of view asks for no echo", async (t) => {
  const { document } = page(t);
  const s = await Session.begin(t);
  s.socket.start(allExtensions);
  document.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(s.socket.take(), []);
});

test("a young attempt is left alone", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(s.sockets.length, 1);
});

test("a long attempt goes on when the page has loaded", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  await s.pass(2_001);
  window.dispatchEvent(pageshow(false));
  await settle();
  assert.equal(s.sockets.length, 1);
});

test("an attempt is replaced when the clock was set back meanwhile", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  t.mock.method(Date, "now", () => -3_600_000);
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(s.sockets.length, 2);
});

test("a server that answers is asked once for each reason", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  s.socket.start(allExtensions);
  window.dispatchEvent(new Event("online"));
  window.dispatchEvent(pageshow(true));
  assert.deepEqual(s.socket.take(), [{ type: "echo", n: 1 }]);
  s.socket.deliver({ type: "echo", n: 1 });
  await s.pass(60_000);
  assert.equal(s.process.state.status, "connected");
  window.dispatchEvent(new Event("online"));
  assert.deepEqual(s.socket.take(), [{ type: "echo", n: 2 }]);
});

test("a server without echo is not asked", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  s.socket.start({ ...allExtensions, echo: false });
  window.dispatchEvent(new Event("online"));
  await s.process.stdin.getWriter().write("x");
  await s.pass(60_000);
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 1 }]);
});

test("a server is asked when what was typed goes unanswered", async (t) => {
  const s = await Session.begin(t);
  s.socket.start(allExtensions);
  const writer = s.process.stdin.getWriter();
  await writer.write("a");
  s.socket.deliver({ type: "stdout" }, "a");
  await s.pass(4_000);
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 1 }]);
  await writer.write("b");
  await s.pass(3_000);
  await writer.write("c");
  await s.pass(999);
  assert.equal(s.socket.take().length, 2);
  await s.pass(1);
  assert.deepEqual(s.socket.take(), [{ type: "echo", n: 1 }]);
  await s.pass(10_000);
  assert.equal(s.process.state.status, "waiting");
});

test("a command without a terminal may be silent for any time", async (t) => {
  const s = await Session.begin(t, { tty: false, stdin: true });
  s.socket.start(allExtensions);
  await s.process.stdin.getWriter().write("x");
  await s.pass(60_000);
  assert.equal(s.process.state.status, "connected");
  assert.deepEqual(s.socket.take(), [{ type: "stdin", length: 1 }]);
});

test("an echo may wait behind output, and its request behind input", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  s.socket.start(allExtensions);
  s.socket.bufferedAmount = 30_000;
  window.dispatchEvent(new Event("online"));
  for (let i = 0; i < 5; i++) {
    await s.pass(9_000);
    s.socket.deliver({ type: "stdout" }, "x");
  }
  for (; s.socket.bufferedAmount > 0; s.socket.bufferedAmount -= 10_000) await s.pass(9_999);
  assert.equal(s.process.state.status, "connected");
  await s.pass(20_000);
  assert.notEqual(s.process.state.status, "connected");
});

test("a page that was frozen first handles the messages that have come meanwhile", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t);
  s.socket.start(allExtensions);
  window.dispatchEvent(new Event("online"));
  await s.sleep(3_600_000);
  assert.equal(s.process.state.status, "connected");
  s.socket.deliver({ type: "echo", n: 1 });
  await s.pass(60_000);
  assert.equal(s.process.state.status, "connected");
});

test("a page that is left closes its commands, and one that the browser keeps does not", async (t) => {
  const { window } = page(t);
  const s = await Session.begin(t, { id: "" });
  s.socket.start({ ...allExtensions, resume: 60 });
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
  assert.equal(s.process.state.status, "connected");
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  assert.equal(s.socket.closedWith, 1000);
  await assert.rejects(s.process.exited, { kind: "closed" });
});

test("nothing listens when there are no processes", async (t) => {
  const { window, document } = page(t);
  const counted = { added: 0, removed: 0 };
  for (const target of [window, document] as EventTarget[]) {
    const { addEventListener, removeEventListener } = target;
    target.addEventListener = (...args) => (counted.added++, addEventListener.apply(target, args));
    target.removeEventListener = (...args) => (counted.removed++, removeEventListener.apply(target, args));
  }
  Object.assign(globalThis, {
    addEventListener: (...args: Parameters<EventTarget["addEventListener"]>) => window.addEventListener(...args),
    removeEventListener: (...args: Parameters<EventTarget["addEventListener"]>) => window.removeEventListener(...args),
  });
  const s = await Session.begin(t);
  assert.equal(counted.added, 4);
  s.socket.start(allExtensions);
  s.socket.deliver({ type: "exit_code" });
  assert.equal(counted.removed, 4);
});
