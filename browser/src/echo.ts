/** How long nothing may come after something was typed before the server is asked whether it is there. */
const QUIET_MS = 4_000;

/** How long nothing may come after it was asked. What answers may wait behind output. */
const ANSWER_MS = 10_000;

/** How many bytes a line must have taken meanwhile for its silence to prove nothing. The question itself is less. */
const PROGRESS = 4096;

/** A timer that is so late was held up, by a page that was frozen for example, and so was what came meanwhile. */
const LATE_MS = 2_000;

/** Finds out whether the server is still there: a page can't send pings, and a dead connection may look alive for minutes. */
export class Echo {
  readonly #send: (n: number) => void;
  readonly #unsent: () => number;
  readonly #lost: () => void;

  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The question that waits for its answer; 0 if none does. */
  #asked = 0;
  #last = 0;
  /** How much was still to be sent when it was looked last. */
  #left = 0;

  /** send asks the server, unsent tells how many bytes the socket still has to send, and lost is called once. */
  constructor(send: (n: number) => void, unsent: () => number, lost: () => void) {
    this.#send = send;
    this.#unsent = unsent;
    this.#lost = lost;
  }

  /** Something was typed, which a server answers to as a rule. */
  typed(): void {
    if (this.#timer === undefined) this.#after(QUIET_MS, () => this.ask());
  }

  /** A message has come. */
  heard(): void {
    if (this.#timer === undefined) return;
    this.stop();
    if (this.#asked !== 0) this.#await();
  }

  /** An answer has come. */
  answered(n: number): void {
    if (n !== this.#asked) return;
    this.#asked = 0;
    this.stop();
  }

  /** Asks the server. */
  ask(): void {
    if (this.#asked !== 0) return;
    this.#asked = ++this.#last;
    this.#send(this.#asked);
    this.#await();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #await(): void {
    this.#left = this.#unsent();
    this.#after(ANSWER_MS, (late) => this.#silent(late));
  }

  #silent(late: number): void {
    if (late > LATE_MS || this.#unsent() + PROGRESS < this.#left) this.#await();
    else this.#lost();
  }

  #after(ms: number, then: (late: number) => void): void {
    this.stop();
    const due = Date.now() + ms;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      then(Date.now() - due);
    }, ms);
  }
}
