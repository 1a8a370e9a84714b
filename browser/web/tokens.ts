import { forget, load, save } from "./storage.js";

/** Where the token is kept: for this tab, while it is open. A page of another origin can't read it. */
const KEPT = "wsep.token";

/** The channel on which the tabs of this origin talk. */
const CHANNEL = "wsep.token";

/** How long the other tabs have for an answer. One that the browser has put to sleep does not give any. */
const ANSWER_TIMEOUT_MS = 250;

/** What tabs say to each other. A token that is told has been admitted by the server. */
type Message = { readonly ask: true } | { readonly token: string };

/** Returns the token that this tab has kept, or "". */
export function keptToken(): string {
  return load("sessionStorage", KEPT) ?? "";
}

/**
 * The token of this tab. A tab that has none gets it from one that has, while that is open. Nobody else hears that: a
 * channel is of one origin, which is this server's address with its port.
 */
export class Tokens {
  readonly #channel = channel();
  readonly #heard: (token: string) => void;
  /** Those that the server did not take. */
  readonly #refused = new Set<string>();
  #token = keptToken();
  #admitted = false;

  /** heard is told a token that another tab came by. */
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

  /** The server takes a token. If it is this one, the other tabs may have it. */
  admit(token: string): void {
    if (!token || token !== this.#token || this.#admitted) return;
    this.#admitted = true;
    this.#say({ token });
  }

  /** The server does not take a token. */
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

/** A browser that keeps nothing for this page may not let its tabs talk, either. */
function channel(): BroadcastChannel | undefined {
  try {
    return new BroadcastChannel(CHANNEL);
  } catch {
    return undefined;
  }
}
