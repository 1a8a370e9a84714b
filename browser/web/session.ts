import { connect } from "@wsep/client";
import type { Process } from "@wsep/client";
import { ProcessAddon } from "@wsep/client/xterm";
import type { Terminal } from "@xterm/xterm";

import { delay } from "../src/retry.js";
import { onWake } from "../src/wake.js";
import { describe, refusal, trouble } from "./status.js";
import type { Words } from "./status.js";
import { RefusedError } from "./server.js";
import type { About, Server } from "./server.js";

/** Empties a terminal of one session for the next. The first byte ends a sequence that was cut short. */
const RESET = "\x18\x1bc";

/**
 * How long a connection waits for the server's word on the token, in milliseconds. The browser may ask on a connection that
 * is dead without its knowledge. A WebSocket makes a new one.
 */
const CHECK_MS = 2_000;

/** What a session tells the page. */
export interface Telling {
  readonly state: (words: Words) => void;
  readonly host: (name: string) => void;
  /** The server does not take the token any more. */
  readonly refused: () => void;
}

/** A session, shown in the terminal until it is left. The session itself goes on. */
export class Session {
  readonly #terminal: Terminal;
  readonly #server: Server;
  readonly #id: string;
  readonly #telling: Telling;
  readonly #leaving = new AbortController();
  /** What trying again means now. */
  #again = (): void => {};
  /** Ends the wait for another attempt. */
  #endWait = (): void => {};

  constructor(terminal: Terminal, server: Server, id: string, telling: Telling) {
    this.#terminal = terminal;
    this.#server = server;
    this.#id = id;
    this.#telling = telling;
    void this.#begin(1);
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
    this.#tell({ tone: "busy", brief: "Connecting", sentence: "" });
    try {
      const about = await this.#server.about();
      if (this.#leaving.signal.aborted) return;
      this.#telling.host(about.host);
      this.#connect(about);
    } catch (error) {
      if (this.#leaving.signal.aborted) return;
      if (error instanceof RefusedError && error.lasting) this.#refused(error);
      else this.#wait(error, attempt + 1);
    }
  }

  #refused(error: RefusedError): void {
    this.#again = () => void this.#begin(1);
    this.#tell(refusal(error));
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
    this.#tell(trouble(error, false, Date.now() + ms));
  }

  #connect(about: About): void {
    const { signal } = this.#leaving;
    const client = connect(".", { token: this.#tokens(), WebSocket: this.#server.WebSocket, signal });
    const { rows, cols } = this.#terminal;
    const shell = { tty: true, id: this.#id, rows, cols, cwd: about.home, env: environment(about) };
    const process = client.spawn(about.shell, shell);
    this.#again = () => process.retry();
    this.#follow(process);
    this.#terminal.write(RESET);
    const addon = new ProcessAddon(process);
    this.#terminal.loadAddon(addon);
    signal.addEventListener("abort", () => addon.dispose());
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
      if (lasting && !this.#leaving.signal.aborted) this.#telling.refused();
      throw error;
    });
    await Promise.race([checked, new Promise((resolve) => setTimeout(resolve, CHECK_MS))]);
  }

  #follow(process: Process): void {
    let known = false;
    const tell = (): void => {
      this.#tell(describe(process.state, known));
      known ||= process.state.status === "connected";
    };
    tell();
    process.onStateChange(tell);
  }

  #tell(words: Words): void {
    if (!this.#leaving.signal.aborted) this.#telling.state(words);
  }
}

/** Bash tells where it is as the title, unless its user has it do something else. Other shells are left alone. */
function environment(about: About): Record<string, string> {
  if (!/\bbash$/.test(about.shell)) return {};
  return { PROMPT_COMMAND: `printf '\\033]0;%s: %s\\007' "\${HOSTNAME%%.*}" "\${PWD/#"$HOME"/\\~}"` };
}
