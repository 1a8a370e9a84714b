import { DisconnectedError, connect } from "@wsep/client";
import type { Process } from "@wsep/client";

import { delay } from "../src/retry.js";
import { onWake } from "../src/wake.js";
import { attached, forgetAttached, keepAttached } from "./attached.js";
import { SCROLLBACK } from "./cells.js";
import type { Size } from "./cells.js";
import { describe, newShell, refusal, trouble } from "./status.js";
import type { Words } from "./status.js";
import { RefusedError } from "./server.js";
import type { About, Server } from "./server.js";

/**
 * How long to wait for the server to check the token, in milliseconds. The browser may send the request over a connection that
 * is lost without its knowledge. A WebSocket always gets a new connection.
 */
const CHECK_MS = 2_000;

/** What a session tells the page. */
export interface Telling {
  /** The page shows the process until the signal is aborted. */
  readonly process: (process: Process, left: AbortSignal) => void;
  readonly state: (words: Words) => void;
  readonly host: (name: string) => void;
  /** The server has stopped accepting the token. */
  readonly refused: () => void;
}

/** A client of a session, until the page leaves the session. The session itself goes on. */
export class Session {
  readonly id: string;
  readonly #server: Server;
  readonly #size: Size;
  readonly #leaving = new AbortController();
  /** Resolves when show is called. Reports to the page wait for that. */
  readonly #heard: Promise<Telling>;
  #hear!: (telling: Telling) => void;
  /** What retry does in the present state. */
  #again = (): void => {};
  /** Ends the wait for another attempt. */
  #endWait = (): void => {};
  /** A sentence that the user has not hidden, or "". */
  #news = "";
  /** Describes the present state again. */
  #describe = (): void => {};

  /** Connects at once. It reads the size when the server has answered. */
  constructor(server: Server, id: string, size: Size) {
    this.id = id;
    this.#server = server;
    this.#size = size;
    this.#heard = new Promise((resolve) => (this.#hear = resolve));
    void this.#begin(1);
  }

  /** Reports what happens, and what has happened so far. It is called once. */
  show(telling: Telling): void {
    this.#hear(telling);
  }

  retry(): void {
    this.#again();
  }

  /** Stops showing the news. */
  hideNews(): void {
    this.#news = "";
    this.#describe();
  }

  leave(): void {
    this.#leaving.abort();
    this.#endWait();
  }

  /** Asks the server where the shell runs, until it answers, and then connects to the session. */
  async #begin(attempt: number): Promise<void> {
    this.#again = () => {};
    this.#say({ tone: "busy", brief: "Connecting", sentence: "" });
    try {
      const about = await this.#server.about();
      if (this.#leaving.signal.aborted) return;
      this.#tell(({ host }) => host(about.host));
      this.#connect(about);
    } catch (error) {
      if (this.#leaving.signal.aborted) return;
      if (error instanceof RefusedError && error.lasting) this.#refused(error);
      else this.#wait(error, attempt + 1);
    }
  }

  #refused(error: RefusedError): void {
    this.#again = () => void this.#begin(1);
    this.#say(refusal(error));
  }

  #wait(error: unknown, attempt: number): void {
    const ms = delay(attempt);
    this.#again = () => {
      this.#endWait();
      void this.#begin(attempt);
    };
    const timer = setTimeout(this.#again, ms);
    const deafen = onWake(this.#again);
    this.#endWait = () => {
      clearTimeout(timer);
      deafen();
    };
    this.#say(trouble(error, false, Date.now() + ms));
  }

  #connect(about: About): void {
    const { signal } = this.#leaving;
    const client = connect(".", { token: this.#tokens(), WebSocket: this.#server.WebSocket, signal });
    const { rows, cols } = this.#size;
    // The scrollback is asked for only where it comes: the terminal's own is cleared before.
    const scrollback = about.scrollback ? SCROLLBACK : 0;
    const shell = { tty: true, id: this.id, scrollback, rows, cols, cwd: about.home, env: environment(about) };
    const process = client.spawn(about.shell, shell);
    this.#again = () => process.retry();
    this.#follow(process, about);
    this.#tell((telling) => telling.process(process, signal));
  }

  /**
   * Returns a function that returns the token for a connection. A WebSocket's error does not say that the token was refused. So
   * the function checks the token first, except for the first connection.
   */
  #tokens(): () => Promise<string> {
    let first = true;
    return async () => {
      if (!first) await this.#check();
      first = false;
      return this.#server.token;
    };
  }

  /** Has the server check the token, and waits at most CHECK_MS. A refusal counts also if it comes later. */
  async #check(): Promise<void> {
    const checked = this.#server.check().catch((error: unknown) => {
      const lasting = error instanceof RefusedError && error.lasting;
      if (lasting) this.#tell(({ refused }) => refused());
      throw error;
    });
    await Promise.race([checked, new Promise((resolve) => setTimeout(resolve, CHECK_MS))]);
  }

  #follow(process: Process, about: About): void {
    let known = false;
    this.#describe = () => this.#say(describe(process.state, known, this.#news));
    const follow = (): void => {
      const { state } = process;
      this.#describe();
      known ||= state.status === "connected";
      if (state.status === "connected" && !state.resumed) void this.#attached(process, about);
      // When the page is left, the session goes on.
      if (state.status === "ended" && !(state.error instanceof DisconnectedError)) forgetAttached(this.id);
    };
    follow();
    process.onStateChange(follow);
  }

  /** Tells the user if the session has another shell than the one that this tab was attached to. */
  async #attached(process: Process, { since }: About): Promise<void> {
    const before = attached(this.id);
    keepAttached(this.id, since);
    if (before === undefined || process.session !== "created") return;
    const now = await this.#server.about().catch(() => undefined);
    if (now) keepAttached(this.id, now.since);
    this.#news = newShell(now !== undefined && now.since !== before);
    this.#describe();
  }

  #say(words: Words): void {
    this.#tell(({ state }) => state(words));
  }

  /** Reports to the page, in order. It waits until show is called. */
  #tell(tell: (telling: Telling) => void): void {
    void this.#heard.then((telling) => {
      if (!this.#leaving.signal.aborted) tell(telling);
    });
  }
}

/** Bash sets the title to its directory, unless the user's files set PROMPT_COMMAND. Other shells get no variables. */
function environment(about: About): Record<string, string> {
  if (!/\bbash$/.test(about.shell)) return {};
  return { PROMPT_COMMAND: `printf '\\033]0;%s: %s\\007' "\${HOSTNAME%%.*}" "\${PWD/#"$HOME"/\\~}"` };
}
