import { ByteQueue } from "./bytes.js";

type Controller = ReadableByteStreamController | ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

/** How a stream ends after its last byte: in order, or with an error. */
export interface End {
  readonly error?: unknown;
}

/**
 * The bytes of one output, between a connection and a reader. The connection can't wait, so the caller bounds how much is
 * held. Bytes are handed out only when they are read, so that consumed is exact. The stream is a stream of bytes if the
 * platform has those: a reader can bring its own buffer.
 */
export class Output {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Called with the number of bytes that were read, or dropped after the reader has canceled. */
  consumed: (n: number) => void = () => {};

  #unread = new ByteQueue();
  #end: End | undefined;
  #canceled = false;
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

  /** How many bytes are unread. */
  get size(): number {
    return this.#unread.size;
  }

  /** Adds bytes. The Output owns them from then on. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0 || this.#end) return;
    if (this.#canceled) {
      this.consumed(bytes.length);
      return;
    }
    this.#unread.push(bytes);
    this.#wake();
  }

  /** Ends the stream after the bytes that it holds. Only the first call counts. */
  close(end: End = {}): void {
    this.#end ??= end;
    this.#wake();
  }

  /** Drops unread bytes. They do not count as consumed. */
  clear(): void {
    this.#unread = new ByteQueue();
  }

  async #pull(controller: Controller): Promise<void> {
    while (this.size === 0 && !this.#end && !this.#canceled) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#canceled) return;
    if (this.size > 0) this.#handOut(controller);
    else if (this.#end && "error" in this.#end) controller.error(this.#end.error);
    else close(controller);
  }

  /** Gives the reader the next bytes, as many as its own buffer takes. */
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
    this.#canceled = true;
    this.#wake();
    this.consumed(n);
  }
}

/** Closes a stream. A reader that waits with its own buffer gets that back empty. */
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
