/** What the server tells about itself. */
export interface About {
  readonly host: string;
  readonly shell: string;
  readonly home: string;
}

/** A session that the server keeps. */
export interface SessionInfo {
  readonly id: string;
  readonly command: string;
  readonly started: number;
  readonly clients: number;
}

/** Where the token is kept: for this tab, while it is open. A page of another origin can't read it. */
const KEPT = "wsep.token";

/** How long a request may take. One that the network has swallowed would else be waited for without end. */
const REQUEST_TIMEOUT_MS = 10_000;

/** The server that the page came from. */
export class Server {
  readonly #askToken: () => Promise<string>;
  #asking: Promise<void> | undefined;

  constructor(askToken: () => Promise<string>) {
    this.#askToken = askToken;
  }

  set token(token: string) {
    sessionStorage.setItem(KEPT, token);
  }

  get token(): string {
    return sessionStorage.getItem(KEPT) ?? "";
  }

  async about(): Promise<About> {
    return (await this.#request("GET", "api/server")).json();
  }

  async sessions(): Promise<SessionInfo[]> {
    return (await this.#request("GET", "api/sessions")).json();
  }

  async closeSession(id: string): Promise<void> {
    await this.#request("DELETE", `api/sessions?id=${encodeURIComponent(id)}`);
  }

  /**
   * Returns a token that the server takes. A WebSocket can't tell that it was refused for its token, so this has to be
   * known before.
   */
  async admittedToken(): Promise<string> {
    await this.about();
    return this.token;
  }

  async #request(method: string, path: string): Promise<Response> {
    for (;;) {
      await this.#asking;
      const token = this.token;
      const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
      const response = await fetch(path, { method, headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
      if (response.ok || response.status === 404) return response;
      if (response.status !== 401) throw new Error(`the server answers ${response.status} ${response.statusText}`);
      if (token === this.token) this.#asking ??= this.#ask();
    }
  }

  async #ask(): Promise<void> {
    try {
      this.token = await this.#askToken();
    } finally {
      this.#asking = undefined;
    }
  }
}
