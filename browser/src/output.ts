/** Pieces smaller than this are put together, so that a flood of them takes no more memory than their bytes. */
const SMALL = 4096;
const GATHERED = 16_384;

interface Piece {
  readonly buffer: Uint8Array<ArrayBuffer>;
  used: number;
}

/** What comes after the last byte: the end, or an error. */
export interface End {
  readonly error?: unknown;
}

/**
 * The bytes of one output stream between a connection, which can't be made to wait, and a reader. It hands out bytes
 * when they are read and not before, so that what has been consumed is known. How much it holds is the caller's care.
 */
export class Output {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Called with the number of bytes that were read, or dropped because nobody will read them. */
  consumed: (n: number) => void = () => {};

  readonly #pieces: Piece[] = [];
  #size = 0;
  #end: End | undefined;
  #cancelled = false;
  /** Continues a read that waits. */
  #wake: () => void = () => {};

  constructor() {
    this.stream = new ReadableStream(
      {
        pull: (controller) => this.#pull(controller),
        cancel: () => this.#cancel(),
      },
      { highWaterMark: 0 },
    );
  }

  /** How many bytes nobody has read yet. */
  get size(): number {
    return this.#size;
  }

  /** Adds bytes, which belong to the Output from then on. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0 || this.#end) return;
    if (this.#cancelled) {
      this.consumed(bytes.length);
      return;
    }
    this.#append(bytes);
    this.#size += bytes.length;
    this.#wake();
  }

  /** Ends the stream after what it holds. The first call counts. */
  close(end: End = {}): void {
    this.#end ??= end;
    this.#wake();
  }

  /** Drops what has not been read. It does not count as consumed. */
  clear(): void {
    this.#pieces.length = 0;
    this.#size = 0;
  }

  #append(bytes: Uint8Array<ArrayBuffer>): void {
    let last = this.#pieces.at(-1);
    if (!last || bytes.length >= SMALL) {
      this.#pieces.push({ buffer: bytes, used: bytes.length });
      return;
    }
    if (last.used + bytes.length > last.buffer.length) {
      last = { buffer: new Uint8Array(GATHERED), used: 0 };
      this.#pieces.push(last);
    }
    last.buffer.set(bytes, last.used);
    last.used += bytes.length;
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    while (this.#size === 0 && !this.#end && !this.#cancelled) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#cancelled) return;
    const piece = this.#pieces.shift();
    if (piece) {
      this.#size -= piece.used;
      controller.enqueue(piece.buffer.subarray(0, piece.used));
      this.consumed(piece.used);
    } else if (this.#end && "error" in this.#end) {
      controller.error(this.#end.error);
    } else {
      controller.close();
    }
  }

  #cancel(): void {
    const n = this.#size;
    this.clear();
    this.#cancelled = true;
    this.#wake();
    this.consumed(n);
  }
}
