import { connect } from "@wsep/client";
import type { Process } from "@wsep/client";

import { delay } from "../src/retry.js";
import { onWake } from "../src/wake.js";
import type { Size } from "./cells.js";
import { describe, refusal, trouble } from "./status.js";
import type { Words } from "./status.js";
import { RefusedError } from "./server.js";
import type { About, Server } from "./server.js";

/**
 * How long a connection waits for the server's word on the token, in milliseconds. The browser may ask on a connection that
 * is dead without its knowledge. A WebSocket makes a new one.
 */
const CHECK_MS = 2_000;

/** What a session tells the page. */
export interface Telling {
  /** The process runs. The page shows it until the signal is aborted. */
  readonly process: (process: Process, left: AbortSignal) => void;
  readonly state: (words: Words) => void;
  readonly host: (name: string) => void;
  /** The server does not take the token any more. */
  readonly refused: () => void;
}

/** A connection to a session, until the session is left. The session itself goes on. */
export class Session {
  readonly id: string;
  readonly #server: Server;
  readonly #size: Size;
  readonly #leaving = new AbortController();
  /** What is told waits for this. */
  readonly #heard: Promise<Telling>;
  #hear!: (telling: Telling) => void;
  /** What trying again means now. */
  #again = (): void => {};
  /** Ends the wait for another attempt. */
  #endWait = (): void => {};

  /** Connects at once, with the size that the terminal has when the server has answered. */
  constructor(server: Server, id: string, size: Size) {
    this.id = id;
    this.#server = server;
    this.#size = size;
    this.#heard = new Promise((resolve) => (this.#hear = resolve));
    void this.#begin(1);
  }

  /** Tells from now on what happens, and what has happened so far. It is called once. */
  show(telling: Telling): void {
    this.#hear(telling);
  }

  retry(): void {
    this.#again();
  }

  leave(): void {
    this.#leaving.abort();
    this.#endWait();
  }

  /** Asks where the session's shell runs, as often as it takes, and connects to it. */
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
    const shell = { tty: true, id: this.id, rows, cols, cwd: about.home, env: environment(about) };
    const process = client.spawn(about.shell, shell);
    this.#again = () => process.retry();
    this.#follow(process);
    this.#tell((telling) => telling.process(process, signal));
  }

  /**
   * Returns what is asked for a token before each connection. A WebSocket can't tell that it was refused for its token, so
   * that after the first the server is asked whether it takes the token.
   */
  #tokens(): () => Promise<string> {
    let first = true;
    return async () => {
      if (!first) await this.#check();
      first = false;
      return this.#server.token;
    };
  }

  /** Waits for the server's word on the token, but not for long. A refusal counts whenever it comes. */
  async #check(): Promise<void> {
    const checked = this.#server.check().catch((error: unknown) => {
      const lasting = error instanceof RefusedError && error.lasting;
      if (lasting) this.#tell(({ refused }) => refused());
      throw error;
    });
    await Promise.race([checked, new Promise((resolve) => setTimeout(resolve, CHECK_MS))]);
  }

  #follow(process: Process): void {
    let known = false;
    const tell = (): void => {
      this.#say(describe(process.state, known));
      known ||= process.state.status === "connected";
    };
    tell();
    process.onStateChange(tell);
  }

  #say(words: Words): void {
    this.#tell(({ state }) => state(words));
  }

  /** Tells the page, in order, once there is one that listens. */
  #tell(tell: (telling: Telling) => void): void {
    void this.#heard.then((telling) => {
      if (!this.#leaving.signal.aborted) tell(telling);
    });
  }
}

/** Bash tells where it is as the title, unless its user has it do something else. Other shells are left alone. */
function environment(about: About): Record<string, string> {
  if (!/\bbash$/.test(about.shell)) return {};
  return { PROMPT_COMMAND: `printf '\\033]0;%s: %s\\007' "\${HOSTNAME%%.*}" "\${PWD/#"$HOME"/\\~}"` };
}
