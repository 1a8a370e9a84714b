import { QuestionError, connect } from "@wsep/client";
import type { Client, SessionInfo } from "@wsep/client";

import type { SocketConstructor } from "../src/socket.js";
import { ask } from "./ask.js";
import { ABOUT, EarlyWebSocket, earlyAnswer } from "./early.js";
import { answerToken, askToken } from "./token.js";
import { Tokens } from "./tokens.js";

/** The server, and the machine where its commands run. */
export interface About {
  readonly host: string;
  readonly shell: string;
  readonly home: string;
  /** When the server was started, in milliseconds since 1970. It tells the server from one that was restarted. */
  readonly since: number;
  /** Whether sessions show again what has scrolled off. */
  readonly scrollback: boolean;
}

/** The server has answered with an error. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }

  /** Whether another attempt would fail in the same way. */
  get lasting(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

/** The server that the page came from. */
export class Server {
  readonly #tokens = new Tokens(answerToken);
  #asking: Promise<void> | undefined;

  set token(token: string) {
    this.#tokens.token = token;
    answerToken(token);
  }

  get token(): string {
    return this.#tokens.token;
  }

  /** Makes the connections to the server. */
  readonly WebSocket: SocketConstructor = EarlyWebSocket;

  /** Returns the machine where commands run. The user may have to enter a token first. */
  async about(): Promise<About> {
    return (await this.#request("GET", ABOUT)).json();
  }

  /** Fails if the server refuses the token. A WebSocket's error does not say that. */
  async check(): Promise<void> {
    await this.#ask("GET", ABOUT, this.token);
  }

  /** Returns the sessions that the server keeps. The user may have to enter a token first. */
  async sessions(): Promise<readonly SessionInfo[]> {
    await this.#request("GET", ABOUT); // A WebSocket's error does not say that the token was refused.
    return this.#client().sessions();
  }

  async closeSession(id: string): Promise<void> {
    await this.#request("GET", ABOUT);
    try {
      await this.#client().closeSession(id, "session was closed in the list of sessions");
    } catch (error) {
      // The session is done already.
      if (!(error instanceof QuestionError) || error.kind !== "not_exist") throw error;
    }
  }

  #client(): Client {
    return connect(".", { token: this.token, WebSocket: this.WebSocket });
  }

  /** Makes a request. It repeats the request with other tokens until the server takes one. */
  async #request(method: string, path: string): Promise<Response> {
    for (;;) {
      await this.#asking;
      const { token } = this;
      try {
        return await this.#ask(method, path, token);
      } catch (error) {
        if (!(error instanceof RefusedError) || error.status !== 401) throw error;
        if (token === this.token) this.#asking ??= this.#find(token);
      }
    }
  }

  async #ask(method: string, path: string, token: string): Promise<Response> {
    const response = await (earlyAnswer(method, path, token) ?? ask(method, path, token));
    if (!response.ok) throw new RefusedError(response.status, await reason(response));
    this.#tokens.admit(token);
    return response;
  }

  /** Gets a token from another tab, or from the user, after the server has refused one. */
  async #find(refused: string): Promise<void> {
    try {
      this.#tokens.refuse(refused);
      const found = await this.#tokens.ofOthers();
      if (!this.token) this.token = found ?? (await askToken(refused !== ""));
    } finally {
      this.#asking = undefined;
    }
  }
}

/** Returns why the server refused a request: its own words, or the HTTP status. */
async function reason(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => undefined);
  const said = (body as { error?: unknown } | undefined)?.error;
  return typeof said === "string" ? said : `The server answers ${response.status} ${response.statusText}`.trim();
}
