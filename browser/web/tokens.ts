import { forget, load, save } from "./storage.js";

/** The key of the token in sessionStorage, which is for this tab while it is open. No page of another origin can read it. */
const KEPT = "wsep.token";

/** The channel on which the tabs of this origin talk. */
const CHANNEL = "wsep.token";

/** How long to wait for answers of other tabs. A tab that the browser has put to sleep gives none. */
const ANSWER_TIMEOUT_MS = 250;

/** A message between tabs. The server has accepted the token in it. */
type Message = { readonly ask: true } | { readonly token: string };

/** Returns the token that this tab has kept, or "". */
export function keptToken(): string {
  return load("sessionStorage", KEPT) ?? "";
}

/**
 * The token of this tab. A tab without a token gets it from an open tab that has one. Only pages of this origin can hear that.
 * The origin is this server's address with its port.
 */
export class Tokens {
  readonly #channel = channel();
  readonly #heard: (token: string) => void;
  /** The tokens that the server has refused. */
  readonly #refused = new Set<string>();
  #token = keptToken();
  #admitted = false;

  /** heard is called with the token that another tab has sent. */
  constructor(heard: (token: string) => void) {
    this.#heard = heard;
    this.#channel?.addEventListener("message", ({ data }: MessageEvent<Message>) => this.#hear(data));
  }

  /** The token, or "". */
  get token(): string {
    return this.#token;
  }

  set token(token: string) {
    this.#token = token;
    this.#admitted = false;
    if (token) save("sessionStorage", KEPT, token);
    else forget("sessionStorage", KEPT);
  }

  /** To be called when the server has accepted a token. If it is this tab's, the other tabs get it. */
  admit(token: string): void {
    if (!token || token !== this.#token || this.#admitted) return;
    this.#admitted = true;
    this.#say({ token });
  }

  /** To be called when the server has refused a token. */
  refuse(token: string): void {
    this.#refused.add(token);
    if (token === this.#token) this.token = "";
  }

  /** Asks the other tabs for a token. */
  ofOthers(): Promise<string | undefined> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    return new Promise((resolve) => {
      const hear = ({ data }: MessageEvent<Message>): void => {
        if ("token" in data && !this.#refused.has(data.token)) resolve(data.token);
      };
      this.#channel?.addEventListener("message", hear, { signal });
      signal.addEventListener("abort", () => resolve(undefined));
      this.#say({ ask: true });
    });
  }

  #hear(message: Message): void {
    if ("ask" in message && this.#admitted) this.#say({ token: this.#token });
    if ("token" in message && !this.#refused.has(message.token)) this.#heard(message.token);
  }

  #say(message: Message): void {
    this.#channel?.postMessage(message);
  }
}

/** Returns the channel. A browser that forbids storage may also forbid channels. */
function channel(): BroadcastChannel | undefined {
  try {
    return new BroadcastChannel(CHANNEL);
  } catch {
    return undefined;
  }
}
