import { ProtocolError } from "./message.js";
import type { Order } from "./message.js";

/** How many orders the server may not have taken. */
const MAX_UNTAKEN = 64;

/**
 * What is asked of the command beside stdin's bytes. If the orders are numbered each is kept until the server has taken it,
 * and sent again over the next connection.
 */
export class Orders {
  readonly #numbered: boolean;
  /** The ones that the server has not taken, the oldest first; without numbers those that were not sent. */
  readonly #queue: Order[] = [];
  /** How many of these were sent over the connection. */
  #sent = 0;
  #last = 0;
  /** close_stdin is to follow stdin's last byte. */
  #ending = false;
  /** Continues the calls that wait for room. */
  #waiting: (() => void)[] = [];

  constructor(numbered: boolean) {
    this.#numbered = numbered;
  }

  /** Waits while there is no room for another order. */
  async room(): Promise<void> {
    while (this.#queue.length >= MAX_UNTAKEN) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Adds an order. A size replaces one that was not sent. */
  add(order: Order): void {
    const last = this.#queue.at(-1);
    if (order.type === "resize" && last?.type === "resize" && this.#queue.length > this.#sent) {
      this.#queue[this.#queue.length - 1] = { ...order, ...(last.seq && { seq: last.seq }) };
      return;
    }
    this.#queue.push(this.#numbered ? { ...order, seq: ++this.#last } : order);
  }

  endStdin(): void {
    this.#ending = true;
  }

  /** Sends what may be sent. drained says that all of stdin was sent, so that its end may follow. */
  flush(send: (order: Order) => void, drained: boolean): void {
    if (this.#ending && drained) {
      this.#ending = false;
      this.add({ type: "close_stdin" });
    }
    for (; this.#sent < Math.min(this.#queue.length, MAX_UNTAKEN); this.#sent++) {
      const order = this.#queue[this.#sent]!;
      if (order.type === "close_stdin" && !drained) return;
      send(order);
    }
    if (!this.#numbered) this.#forget(this.#sent);
  }

  /** The connection is lost. */
  rewind(): void {
    this.#sent = 0;
  }

  /** The server has taken the orders up to a number. 0 says nothing. */
  taken(seq: number): void {
    if (seq > this.#last) throw new ProtocolError(`ack of request ${seq}, the last is ${this.#last}`);
    const n = seq - (this.#last - this.#queue.length);
    if (this.#numbered && n > 0) this.#forget(n);
  }

  #forget(n: number): void {
    this.#queue.splice(0, n);
    this.#sent = Math.max(0, this.#sent - n);
    this.wake();
  }

  /** Makes the calls that wait for room look again. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
