import { ProtocolError } from "./message.js";

/** Counts what may still be sent of a stream. */
export class Credit {
  readonly #window: number;
  #sent = 0;
  #acked = 0;

  /** A window of 0 is none: there is no flow control. */
  constructor(window: number) {
    this.#window = window;
  }

  get available(): number {
    return this.#window === 0 ? Infinity : this.#acked + this.#window - this.#sent;
  }

  spend(n: number): void {
    this.#sent += n;
  }

  /** Takes the peer's word that offset bytes in all have been consumed. */
  ack(offset: number): void {
    if (offset === 0) return;
    if (offset < this.#acked || offset > this.#sent) {
      throw new ProtocolError(`ack of ${offset} bytes, sent are ${this.#sent} and acknowledged ${this.#acked}`);
    }
    this.#acked = offset;
  }
}

/** Counts what has been received and consumed of a stream, and tells the peer, often enough that it can go on. */
export class Receipts {
  readonly #window: number;
  readonly #tell: (offset: number) => void;
  #received = 0;
  #consumed = 0;
  #told = 0;

  constructor(window: number, tell: (offset: number) => void) {
    this.#window = window;
    this.#tell = tell;
  }

  receive(n: number): void {
    this.#received += n;
    if (this.#received - this.#told > this.#window) throw new ProtocolError("server sent more than the window");
  }

  consume(n: number): void {
    this.#consumed += n;
    if (this.#consumed - this.#told < this.#window / 4) return;
    this.#told = this.#consumed;
    this.#tell(this.#told);
  }
}
