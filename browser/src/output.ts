import { ByteQueue } from "./bytes.js";

type Controller = ReadableByteStreamController | ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

/** What comes after the last byte: the end, or an error. */
export interface End {
  readonly error?: unknown;
}

/**
 * The bytes of one output stream between a connection, which can't be made to wait, and a reader. It hands out bytes
 * when they are read and not before, so that what has been consumed is known. How much it holds is the caller's care. The
 * stream is one of bytes, which can be read into a buffer of the reader's, where the platform has such streams.
 */
export class Output {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Called with the number of bytes that were read, or dropped because nobody will read them. */
  consumed: (n: number) => void = () => {};

  #unread = new ByteQueue();
  #end: End | undefined;
  #cancelled = false;
  /** Continues a read that waits. */
  #wake: () => void = () => {};

  constructor() {
    const source = {
      type: "ReadableByteStreamController" in globalThis ? "bytes" : undefined,
      pull: (controller: Controller) => this.#pull(controller),
      cancel: () => this.#cancel(),
    };
    this.stream = new ReadableStream(source as UnderlyingByteSource, { highWaterMark: 0 });
  }

  /** How many bytes nobody has read yet. */
  get size(): number {
    return this.#unread.size;
  }

  /** Adds bytes, which belong to the Output from then on. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0 || this.#end) return;
    if (this.#cancelled) {
      this.consumed(bytes.length);
      return;
    }
    this.#unread.push(bytes);
    this.#wake();
  }

  /** Ends the stream after what it holds. The first call counts. */
  close(end: End = {}): void {
    this.#end ??= end;
    this.#wake();
  }

  /** Drops what has not been read. It does not count as consumed. */
  clear(): void {
    this.#unread = new ByteQueue();
  }

  async #pull(controller: Controller): Promise<void> {
    while (this.size === 0 && !this.#end && !this.#cancelled) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#cancelled) return;
    if (this.size > 0) this.#handOut(controller);
    else if (this.#end && "error" in this.#end) controller.error(this.#end.error);
    else close(controller);
  }

  /** Gives the reader what comes next, or as much of it as the reader's own buffer takes. */
  #handOut(controller: Controller): void {
    const request = "byobRequest" in controller ? controller.byobRequest : null;
    const bytes = this.#unread.peek(0, request?.view?.byteLength ?? Infinity);
    const n = bytes.length;
    this.#unread.drop(n);
    if (request?.view) {
      new Uint8Array(request.view.buffer, request.view.byteOffset).set(bytes);
      request.respond(n);
    } else {
      controller.enqueue(bytes);
    }
    this.consumed(n);
  }

  #cancel(): void {
    const n = this.size;
    this.clear();
    this.#cancelled = true;
    this.#wake();
    this.consumed(n);
  }
}

/** Closes a stream. A reader that waits with a buffer of its own gets it back empty. */
function close(controller: Controller): void {
  controller.close();
  if ("byobRequest" in controller) controller.byobRequest?.respond(0);
}

/** Reads a stream to its end. */
export async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    pieces.push(next.value);
    size += next.value.length;
  }
  return joined(pieces, size);
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(size);
  let end = 0;
  for (const piece of pieces) {
    all.set(piece, end);
    end += piece.length;
  }
  return all;
}
