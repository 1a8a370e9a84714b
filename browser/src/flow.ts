import { ByteQueue } from "./bytes.js";
import { ProtocolError } from "./message.js";

/** What is to be sent of a stream, and what was sent and is kept until it is acknowledged, if it may have to be sent again. */
export class Outbox {
  readonly #window: number;
  readonly #lasting: boolean;
  /** The bytes from #first to #made. */
  readonly #kept = new ByteQueue();
  #first = 0;
  #acked = 0;
  #sent = 0;
  /** The most that was ever sent: less is sent after a rewind. */
  #reached = 0;
  #made = 0;

  /** A window of 0 means no flow control. lasting means that bytes are kept until they are acknowledged, to be sent again. */
  constructor(window: number, lasting: boolean) {
    this.#window = window;
    this.#lasting = lasting;
  }

  /** How many more bytes the peer has room for. */
  get room(): number {
    return this.#window === 0 ? Infinity : this.#acked + this.#window - this.#made;
  }

  get unsent(): number {
    return this.#made - this.#sent;
  }

  push(bytes: Uint8Array): void {
    this.#kept.push(bytes.slice());
    this.#made += bytes.length;
  }

  /** Returns the next bytes to send, at most most. They count as sent. */
  next(most: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#kept.peek(this.#sent - this.#first, most);
    this.#sent += bytes.length;
    this.#reached = Math.max(this.#reached, this.#sent);
    if (!this.#lasting) this.#forget(this.#sent);
    return bytes;
  }

  /** Takes the peer's word that offset bytes in all have been consumed. */
  ack(offset: number): void {
    if (offset === 0) return;
    if (offset < this.#acked || offset > this.#reached) {
      throw new ProtocolError(`ack of ${offset} bytes, sent are ${this.#reached} and acknowledged ${this.#acked}`);
    }
    this.#acked = offset;
    this.#sent = Math.max(this.#sent, offset);
    if (this.#lasting) this.#forget(offset);
  }

  /** What comes after the first offset bytes is to be sent again. */
  rewind(offset: number): void {
    if (offset < this.#first || offset > this.#reached) {
      throw new ProtocolError(`server has ${offset} bytes of stdin, sent are ${this.#reached}, and kept from ${this.#first}`);
    }
    this.#sent = offset;
  }

  #forget(offset: number): void {
    this.#kept.drop(offset - this.#first);
    this.#first = offset;
  }
}

/** How long what was consumed may wait for more of it to be acknowledged together. */
const QUIET_MS = 1_000;

/** Counts what has been received and consumed of a stream, and tells the peer, often enough that it can go on. */
export class Receipts {
  readonly #window: number;
  readonly #prompt: boolean;
  readonly #send: (offset: number) => void;
  #received = 0;
  #consumed = 0;
  #told = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** prompt says that the peer keeps what is not acknowledged, so that nothing waits for long. */
  constructor(window: number, prompt: boolean, send: (offset: number) => void) {
    this.#window = window;
    this.#prompt = prompt;
    this.#send = send;
  }

  get received(): number {
    return this.#received;
  }

  receive(n: number): void {
    this.#received += n;
    if (this.#received - this.#told > this.#window) throw new ProtocolError("server sent more than the window");
  }

  consume(n: number): void {
    this.#consumed += n;
    if (this.#consumed - this.#told >= this.#window / 4) this.tell();
    else if (this.#prompt && n > 0) this.#timer ??= setTimeout(() => this.tell(), QUIET_MS);
  }

  /** Tells the peer what has been consumed, also if it may know. */
  tell(): void {
    this.stop();
    this.#told = this.#consumed;
    if (this.#told > 0) this.#send(this.#told);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
