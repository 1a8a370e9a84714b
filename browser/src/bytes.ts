/** Pieces smaller than this are put together, so that a flood of them takes no more memory than their bytes. */
const SMALL = 4096;
const GATHERED = 16_384;

/** Some bytes: those of the buffer from start to end. */
interface Piece {
  readonly buffer: Uint8Array<ArrayBuffer>;
  start: number;
  end: number;
}

/** Bytes that wait in their order. */
export class ByteQueue {
  readonly #pieces: Piece[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds bytes, which belong to the queue from then on. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    this.#size += bytes.length;
    let last = this.#pieces.at(-1);
    if (!last || bytes.length >= SMALL) {
      this.#pieces.push({ buffer: bytes, start: 0, end: bytes.length });
      return;
    }
    if (last.end + bytes.length > last.buffer.length) {
      last = { buffer: new Uint8Array(GATHERED), start: 0, end: 0 };
      this.#pieces.push(last);
    }
    last.buffer.set(bytes, last.end);
    last.end += bytes.length;
  }

  /** Returns some of the bytes from an offset on: at least one, if there is one, and at most most. */
  peek(offset: number, most: number): Uint8Array<ArrayBuffer> {
    for (const { buffer, start, end } of this.#pieces) {
      if (offset < end - start) return buffer.subarray(start + offset, Math.min(end, start + offset + most));
      offset -= end - start;
    }
    return new Uint8Array(0);
  }

  /** Drops the first n bytes. There are as many. */
  drop(n: number): void {
    this.#size -= n;
    for (let piece = this.#pieces[0]; piece && n > 0; piece = this.#pieces[0]) {
      const some = Math.min(n, piece.end - piece.start);
      piece.start += some;
      n -= some;
      if (piece.start === piece.end) this.#pieces.shift();
    }
  }
}
