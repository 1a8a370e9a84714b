import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server as Listener, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";

import { chromium } from "playwright-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import type { Terminal } from "@xterm/xterm";
import { WebSocket } from "ws";

import * as wsep from "../src/index.js";
import { THIS } from "../test/servers.js";

declare global {
  var terminal: Terminal;
}

/** How long to wait for an event. On a quiet machine the event happens at once. */
const PATIENCE_MS = 60_000;

export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
export const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

/** A server with the page, and an address for the page. */
export interface Site {
  readonly address: string;
  readonly process: ChildProcess;
}

/**
 * Runs a server until the tests have ended. Its shells are the same on every machine. They write no history at home: they may
 * exit after the server.
 */
export async function serve(...flags: string[]): Promise<Site> {
  const home = mkdtempSync(join(tmpdir(), "wsep-home-"));
  const child = spawn(THIS, ["--listen", "127.0.0.1:0", "--web", "web/dist", ...flags], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: process.env["PATH"], HOME: home, HISTFILE: "/dev/null", SHELL: "/bin/bash", PS1: "$ ", LANG: "C.UTF-8" },
  });
  after(async () => {
    child.kill("SIGTERM");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    rmSync(home, { recursive: true });
  });
  for await (const line of createInterface(child.stdout)) {
    const address = /^web terminal at (\S+)/.exec(line)?.[1];
    if (address) return { address, process: child };
  }
  throw new Error("server does not say where its page is");
}

/** Returns a client for the server of a page's address. */
export function clientOf(address: string): wsep.Client {
  return wsep.connect(address, { WebSocket });
}

/** Starts the system's browser, until the tests have ended. */
export async function browse(...flags: string[]): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [...FLAGS, ...flags],
  });
  after(() => browser.close());
  return browser;
}

/** The warnings of WebGL without a graphics card, and of xterm.js on a busy machine, that they are slow. */
const SLOWNESS = /GL Driver Message \(OpenGL, Performance|task queue exceeded allotted deadline/;

/**
 * How far ahead a clock is stopped, in milliseconds. It can't be stopped at a time that has passed. The page takes a jump of more
 * than 10 s for a sleep of the machine.
 */
const AHEAD_MS = 8_000;

/** A page with the terminal. */
export class Tab {
  readonly page: Page;
  /** What the browser complained about. */
  readonly complaints: string[] = [];
  /** The addresses of all requests and WebSockets. */
  readonly requests: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (SLOWNESS.test(message.text())) return;
      if (message.type() === "error" || message.type() === "warning") this.complaints.push(message.text());
    });
    page.on("request", (request) => this.requests.push(request.url()));
    page.on("websocket", (socket) => this.requests.push(socket.url()));
  }

  /** Opens the page in a profile of its own. prepare is called in the page before its own scripts. */
  static async open(
    browser: Browser,
    address: string,
    options: BrowserContextOptions = {},
    prepare = (): void => {},
  ): Promise<Tab> {
    const context = await browser.newContext({ viewport: { width: 900, height: 600 }, ...options });
    await context.addInitScript(prepare);
    const tab = new Tab(await context.newPage());
    await tab.page.goto(address);
    return tab;
  }

  /** Opens the page in a profile of its own. The test may stop the page's time and let it pass. */
  static async openWithClock(browser: Browser, address: string): Promise<Tab> {
    const tab = await Tab.open(browser, "about:blank");
    await tab.page.clock.install();
    await tab.page.goto(address);
    return tab;
  }

  /** Stops the page's time: its timers wait until the test lets time pass. */
  async stopTime(): Promise<void> {
    const now = await this.page.evaluate(() => Date.now());
    await this.page.clock.pauseAt(now + AHEAD_MS);
  }

  /** Opens an address in another tab of the same profile. */
  async beside(address: string): Promise<Tab> {
    const tab = new Tab(await this.page.context().newPage());
    await tab.page.goto(address);
    return tab;
  }

  /** Closes all tabs of the profile. */
  async close(): Promise<void> {
    await this.page.context().close();
  }

  /** Types with the keyboard into the element that has the focus. */
  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text);
  }

  /** Moves a finger down the terminal, by a number of pixels. */
  async drag(by: number): Promise<void> {
    const box = (await this.page.locator("#terminal").boundingBox())!;
    const touch = await this.page.context().newCDPSession(this.page);
    const [x, top] = [box.x + box.width / 2, box.y + 50];
    const send = (type: "touchStart" | "touchMove" | "touchEnd", y?: number) =>
      touch.send("Input.dispatchTouchEvent", { type, touchPoints: y === undefined ? [] : [{ x, y }] });
    await send("touchStart", top);
    for (let moved = 10; moved <= by; moved += 10) await send("touchMove", top + moved);
    await send("touchEnd");
  }

  /** Clicks the first cell of a text's last occurrence on the screen. */
  async click(text: string): Promise<void> {
    const at = await this.page.evaluate((text) => {
      const { active } = terminal.buffer;
      const screen = document.querySelector(".xterm-screen")!.getBoundingClientRect();
      for (let y = terminal.rows - 1; y >= 0; y--) {
        const x = active.getLine(active.viewportY + y)?.translateToString().lastIndexOf(text) ?? -1;
        if (x < 0) continue;
        const [width, height] = [screen.width / terminal.cols, screen.height / terminal.rows];
        return { x: screen.x + (x + 0.5) * width, y: screen.y + (y + 0.5) * height };
      }
      throw new Error(`${text} is not shown`);
    }, text);
    await this.page.mouse.move(at.x, at.y, { steps: 3 });
    await this.page.mouse.click(at.x, at.y);
  }

  async press(...keys: string[]): Promise<void> {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** Returns the lines of the terminal and its scrollback, without empty lines at the end. */
  text(): Promise<string> {
    return this.page.evaluate(() => {
      const { active } = terminal.buffer;
      let text = "";
      for (let y = 0; y < active.length; y++) {
        const line = active.getLine(y)!;
        const wrapped = active.getLine(y + 1)?.isWrapped;
        text += line.translateToString(!wrapped) + (wrapped ? "" : "\n");
      }
      return text.replace(/\n+$/, "");
    });
  }

  /** Waits until the terminal shows a match, and returns it. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    let text = "";
    const match = await poll(async () => pattern.exec((text = await this.text())));
    if (!match) throw new Error(`the terminal does not show ${pattern}, but ends with:\n${text.slice(-2000)}`);
    return match;
  }

  /** Waits until the shell asks for a command. */
  async prompted(): Promise<void> {
    await this.shows(/[#$] ?$/);
  }

  /** Runs a command when the shell is ready, waits for the next prompt, and returns the command's output. */
  async run(command: string): Promise<string> {
    await this.prompted();
    const mark = `mark${++marks}`;
    // The typed command must not match the printed mark.
    await this.page.keyboard.insertText(`${command}; echo "ma""rk${marks}."`);
    await this.press("Enter");
    const [, output] = await this.shows(new RegExp(`"ma""rk${marks}\\."\\n([^]*?)${mark}\\.\\n.*[#$>] ?$`));
    return output!.trim();
  }

  /** Waits until the page's status has these words. */
  async says(words: string): Promise<void> {
    const said = this.page.getByRole("status").filter({ hasText: words }).first();
    await said.waitFor().catch(async (cause: unknown) => {
      const texts = await this.page.locator("#status, #announcement, #toast, #notice p").allTextContents();
      throw new Error(`the page does not say "${words}", but ${JSON.stringify(texts)}`, { cause });
    });
  }

  connected(): Promise<void> {
    return this.says("Connected");
  }
}

let marks = 0;

/** Asks until there is an answer, for as long as patience. */
export async function poll<T>(
  ask: () => Promise<T | null | undefined | false>,
  patience = PATIENCE_MS,
  interval = 20,
): Promise<T | undefined> {
  const deadline = Date.now() + patience;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((resolve) => setTimeout(resolve, interval));
  }
  return undefined;
}

/** A proxy between the browser and a server that can cut connections. */
export class Wire {
  readonly #listener: Listener;
  readonly #sockets = new Set<Socket>();
  #fate: "pass" | "break" | "swallow" = "pass";

  private constructor(listener: Listener) {
    this.#listener = listener;
  }

  /** Starts a proxy to the server of a page's address, until the tests have ended. */
  static async to(address: string): Promise<Wire> {
    const { hostname, port } = new URL(address);
    const listener = createServer((near) => wire.#take(near, () => connect(Number(port), hostname)));
    const wire = new Wire(listener);
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    after(() => {
      wire.cut();
      listener.close();
    });
    return wire;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}/`;
  }

  /** Breaks all connections, and refuses new ones. */
  cut(): void {
    this.#end("break");
  }

  /** Breaks all connections. New ones are accepted and carry nothing. */
  swallow(): void {
    this.#end("swallow");
  }

  /** Stops the present connections without closing them. New ones work. */
  hold(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  #end(fate: "break" | "swallow"): void {
    this.#fate = fate;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#fate = "pass";
  }

  #take(near: Socket, far: () => Socket): void {
    near.on("error", () => {});
    if (this.#fate === "pass") this.#join(near, far());
    else if (this.#fate === "break") near.destroy();
    else this.#sockets.add(near);
  }

  #join(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
