const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;

/** How long to wait before an attempt: longer each time, and anything between, so that not all come back at once. */
export function delay(attempt: number): number {
  const longest = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1));
  return longest * (0.1 + 0.9 * Math.random());
}

/** Waits for a time, but no longer than until the network comes back, or the page comes into view. */
export class Pause {
  readonly #done: () => void;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #looked = (): void => {
    if (globalThis.document.visibilityState === "visible") this.end();
  };

  constructor(ms: number, done: () => void) {
    this.#done = done;
    this.#timer = setTimeout(this.end, ms);
    // Node has neither.
    globalThis.addEventListener?.("online", this.end);
    globalThis.document?.addEventListener("visibilitychange", this.#looked);
  }

  /** Ends the waiting. */
  readonly end = (): void => {
    this.cancel();
    this.#done();
  };

  /** Ends it without consequence. */
  cancel(): void {
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.end);
    globalThis.document?.removeEventListener("visibilitychange", this.#looked);
  }
}
