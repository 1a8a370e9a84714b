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
  /** The number of the newest that was sent over any connection. */
  #tried = 0;
  /** close_stdin is to follow stdin's last byte. */
  #ending = false;
  /** Continues the calls of changed. */
  #waiting: (() => void)[] = [];

  constructor(numbered: boolean) {
    this.#numbered = numbered;
  }

  /** There is no room for an order that could wait. */
  get full(): boolean {
    return this.#queue.length >= MAX_UNTAKEN;
  }

  /** Waits until there may be room, or the conversation is over. */
  changed(): Promise<void> {
    return new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Adds an order. A size replaces one that was never sent: a server ignores another order with a number that it has. */
  add(order: Order): void {
    const last = this.#queue.at(-1);
    if (order.type === "resize" && last?.type === "resize" && this.#queue.length > this.#sent && (last.seq ?? 1) > this.#tried) {
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
    this.#flushUpTo(this.#queue.length, send, drained);
    if (!this.#numbered) this.#forget(this.#sent);
  }

  /** Sends the orders up to the newest size. The result is whether stdin may follow: it waits for a size without room. */
  flushSizes(send: (order: Order) => void): boolean {
    const newest = this.#queue.map((order) => order.type).lastIndexOf("resize");
    this.#flushUpTo(newest + 1, send, false);
    return newest < MAX_UNTAKEN;
  }

  #flushUpTo(end: number, send: (order: Order) => void, drained: boolean): void {
    for (; this.#sent < Math.min(end, MAX_UNTAKEN); this.#sent++) {
      const order = this.#queue[this.#sent]!;
      if (order.type === "close_stdin" && !drained) return;
      this.#tried = Math.max(this.#tried, order.seq ?? 0);
      send(order);
    }
  }

  /**
   * The server goes on over another connection, and has taken the orders up to a number. The others are sent again.
   */
  rewind(seq: number): void {
    this.taken(seq);
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

  /** Makes those that wait for room look again. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
