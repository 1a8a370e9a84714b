import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";

import { WebSocket } from "ws";

import { CHROMIUM, FLAGS } from "./harness.js";

/**
 * A page in a browser of its own, without Playwright. Playwright gets an event for every frame that a WebSocket receives. That
 * takes longer than showing the frame.
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

  /** Opens an address, until the tests have ended. prepare is called in the page before its own scripts. */
  static async open(address: string, prepare = (): void => {}): Promise<BarePage> {
    const { child, driven, profile } = await launch();
    const socket = new WebSocket(driven);
    await once(socket, "open");
    const page = new BarePage(socket);
    after(async () => {
      const exited = once(child, "exit");
      page.#session = undefined;
      void page.#ask("Browser.close");
      await exited;
      rmSync(profile, { recursive: true, maxRetries: 20 });
    });
    const { targetInfos } = await page.#ask("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }: { type: string }) => type === "page");
    page.#session = (await page.#ask("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    await page.#go(address, prepare);
    return page;
  }

  async #go(url: string, prepare: () => void): Promise<void> {
    await this.#ask("Page.enable");
    await this.#ask("Page.addScriptToEvaluateOnNewDocument", { source: `(${prepare})()` });
    const loaded = new Promise<void>((resolve) => (this.#loaded = resolve));
    await this.#ask("Page.navigate", { url });
    await loaded;
  }

  /** Calls a function in the page and returns its result. */
  async evaluate<T>(f: () => T): Promise<T> {
    const expression = `(${f})()`;
    const { result, exceptionDetails } = await this.#ask("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
    return result.value;
  }

  /** Types like the page's user. */
  async type(text: string): Promise<void> {
    await this.#ask("Input.insertText", { text });
  }

  async press(key: string): Promise<void> {
    const code = { Enter: 13 }[key];
    const event = { key, code: key, windowsVirtualKeyCode: code, text: "\r" };
    for (const type of ["keyDown", "keyUp"]) await this.#ask("Input.dispatchKeyEvent", { type, ...event });
  }

  /**
   * Returns a function that returns the memory of all pages' processes, in bytes. There is only one page, but the browser does
   * not say which process is its own.
   */
  async memory(): Promise<() => number> {
    const session = this.#session;
    this.#session = undefined; // The browser knows the processes, not the page.
    const { processInfo } = await this.#ask("SystemInfo.getProcessInfo");
    this.#session = session;
    const renderers: { type: string; id: number }[] = processInfo.filter(({ type }: { type: string }) => type === "renderer");
    return () => renderers.reduce((sum, { id }) => sum + privateMemory(id), 0);
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

interface Launched {
  readonly child: ChildProcess;
  /** The address for the test's commands. */
  readonly driven: string;
  readonly profile: string;
}

/** Starts a browser. */
async function launch(): Promise<Launched> {
  const profile = mkdtempSync(join(tmpdir(), "wsep-profile-"));
  const flags = [...FLAGS, "--headless=new", "--window-size=900,600", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
  const child = spawn(CHROMIUM, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface(child.stderr)) {
    const driven = /DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (!driven) continue;
    child.stderr.resume();
    return { child, driven, profile };
  }
  throw new Error("the browser does not say how to drive it");
}

/** Returns the memory that a process does not share: its heap, and everything else that it has allocated. */
function privateMemory(pid: number): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}
