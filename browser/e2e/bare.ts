import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";

import { WebSocket } from "ws";

import { CHROMIUM, FLAGS } from "./harness.js";

/**
 * A page in a browser of its own, without Playwright: that is told of every frame that a WebSocket receives, which takes
 * longer than showing it.
 */
export class BarePage {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: any) => void>();
  #session: string | undefined;
  #loaded = (): void => {};
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => {
      const answer = JSON.parse(String(data));
      if (answer.method === "Page.loadEventFired") this.#loaded();
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  /** Opens an address, until the tests have ended. */
  static async open(address: string): Promise<BarePage> {
    const socket = new WebSocket(await launch());
    await once(socket, "open");
    const page = new BarePage(socket);
    const { targetInfos } = await page.#ask("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }: { type: string }) => type === "page");
    page.#session = (await page.#ask("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    await page.#go(address);
    return page;
  }

  async #go(url: string): Promise<void> {
    await this.#ask("Page.enable");
    const loaded = new Promise<void>((resolve) => (this.#loaded = resolve));
    await this.#ask("Page.navigate", { url });
    await loaded;
  }

  /** Calls a function in the page and returns what that returns. */
  async evaluate<T>(f: () => T): Promise<T> {
    const expression = `(${f})()`;
    const { result, exceptionDetails } = await this.#ask("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
    return result.value;
  }

  /** Types as the page's user does. */
  async type(text: string): Promise<void> {
    await this.#ask("Input.insertText", { text });
  }

  async press(key: string): Promise<void> {
    const code = { Enter: 13 }[key];
    const event = { key, code: key, windowsVirtualKeyCode: code, text: "\r" };
    for (const type of ["keyDown", "keyUp"]) await this.#ask("Input.dispatchKeyEvent", { type, ...event });
  }

  /** Returns what tells how much memory the page's process has, in bytes: its heap and all else. */
  async memory(): Promise<() => number> {
    const session = this.#session;
    this.#session = undefined; // It is the browser that knows.
    const { processInfo } = await this.#ask("SystemInfo.getProcessInfo");
    this.#session = session;
    // Others are spares, and have done nothing.
    const renderers = processInfo.filter(({ type }: { type: string }) => type === "renderer");
    renderers.sort((a: { cpuTime: number }, b: { cpuTime: number }) => b.cpuTime - a.cpuTime);
    return () => residentMemory(renderers[0].id);
  }

  async #ask(method: string, params: object = {}): Promise<any> {
    const id = ++this.#last;
    const answered = new Promise<any>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params, sessionId: this.#session }));
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }
}

/** Starts a browser and returns the address by which it is driven. */
async function launch(): Promise<string> {
  const profile = mkdtempSync(join(tmpdir(), "wsep-profile-"));
  const flags = [...FLAGS, "--headless=new", "--window-size=900,600", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
  const child = spawn(CHROMIUM, flags, { stdio: ["ignore", "ignore", "pipe"] });
  after(async () => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  for await (const line of createInterface(child.stderr)) {
    const driven = /DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (!driven) continue;
    child.stderr.resume();
    return driven;
  }
  throw new Error("the browser does not say how to drive it");
}

/** What a process has that it does not share: its heap, and all else that it asked for. */
function residentMemory(pid: number): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}
