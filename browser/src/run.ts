import { ByteQueue } from "./bytes.js";
import type { SpawnOptions } from "./command.js";
import { EndedError, RunError } from "./errors.js";
import type { Chunk, Exit, Process } from "./process.js";

export interface RunOptions extends Pick<SpawnOptions, "args" | "env" | "cwd" | "signal" | "timeout" | "window"> {
  /** The command's standard input. Without it stdin is empty. */
  input?: Chunk | ReadableStream<Chunk> | undefined;
  /**
   * How many bytes of each output are kept, at least 2. Of a longer output these are its beginning and its end, half of them
   * each. All of it is read. The default is 1 MiB.
   */
  limit?: number | undefined;
}

/** What a command has written, as UTF-8. */
export interface Written {
  /** If bytes are left out, a line says where and how many. */
  readonly stdout: string;
  readonly stderr: string;
  /** Whether bytes are left out. */
  readonly truncated: boolean;
}

/** How a command exited, and what it has written. */
export interface Result extends Written {
  readonly exit: Exit;
}

const DEFAULT_LIMIT = 1 << 20;

/** Throws if an option of run has a wrong type or value. */
export function checkRun({ input, limit = DEFAULT_LIMIT }: RunOptions): void {
  if (!Number.isSafeInteger(limit) || limit < 2) throw new RangeError(`limit of ${limit} bytes`);
  if (input === undefined || typeof input === "string" || input instanceof ArrayBuffer || ArrayBuffer.isView(input)) return;
  if (isStream(input)) {
    if (input.locked) throw new TypeError("input has another reader");
    return;
  }
  throw new TypeError("input is no string, no bytes and no stream");
}

/** Carries a process's streams to their ends. */
export async function run(process: Process, { input, limit = DEFAULT_LIMIT }: RunOptions): Promise<Result> {
  const stdout = new Excerpt(limit);
  const stderr = new Excerpt(limit);
  const written = (): Written => ({
    stdout: stdout.text(),
    stderr: stderr.text(),
    truncated: stdout.dropped + stderr.dropped > 0,
  });
  const feeding = feed(process.stdin, input).catch(unlessEnded);
  feeding.catch(() => {}); // It is told below, unless the start has failed.
  await process.started;
  try {
    const [exit] = await Promise.all([process.exited, stdout.fill(process.stdout), stderr.fill(process.stderr), feeding]);
    return { exit, ...written() };
  } catch (error) {
    throw new RunError(error, written());
  }
}

async function feed(stdin: WritableStream<Chunk>, input: RunOptions["input"]): Promise<void> {
  if (input === undefined) return;
  if (isStream(input)) return input.pipeTo(stdin);
  const writer = stdin.getWriter();
  await writer.write(input);
  await writer.close();
}

/** A command need not read its input. */
function unlessEnded(error: unknown): void {
  if (!(error instanceof EndedError)) throw error;
}

function isStream(input: NonNullable<RunOptions["input"]>): input is ReadableStream<Chunk> {
  return typeof (input as ReadableStream).pipeTo === "function";
}

/** The beginning and the end of an output. */
class Excerpt {
  /** How many bytes between the two are left out. */
  dropped = 0;
  readonly #head = new ByteQueue();
  readonly #tail = new ByteQueue();
  readonly #half: number;

  constructor(limit: number) {
    this.#half = Math.floor(limit / 2);
  }

  /** Reads a stream to its end. */
  async fill(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    const reader = stream.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) this.#push(next.value);
  }

  #push(bytes: Uint8Array<ArrayBuffer>): void {
    const room = this.#half - this.#head.size;
    this.#head.push(bytes.slice(0, room));
    this.#tail.push(bytes.slice(room).subarray(-this.#half));
    this.dropped += Math.max(0, bytes.length - room - this.#half);
    const excess = Math.max(0, this.#tail.size - this.#half);
    this.#tail.drop(excess);
    this.dropped += excess;
  }

  text(): string {
    const head = all(this.#head);
    const tail = all(this.#tail);
    const decoder = new TextDecoder();
    if (this.dropped === 0) return decoder.decode(head, { stream: true }) + decoder.decode(tail);
    const end = head.length - begun(head);
    const start = continued(tail);
    const left = this.dropped + head.length - end + start;
    return `${decoder.decode(head.subarray(0, end))}\n[${left} bytes left out]\n${decoder.decode(tail.subarray(start))}`;
  }
}

function all(queue: ByteQueue): Uint8Array {
  const bytes = new Uint8Array(queue.size);
  for (let at = 0; at < bytes.length; ) {
    const some = queue.peek(at, Infinity);
    bytes.set(some, at);
    at += some.length;
  }
  return bytes;
}

/** How many bytes at the end are the beginning of a UTF-8 character, and not all of it. */
function begun(bytes: Uint8Array): number {
  for (let n = 1; n <= Math.min(3, bytes.length); n++) {
    const byte = bytes[bytes.length - n]!;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return n < (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4) ? n : 0;
  }
  return 0;
}

/** How many bytes at the start are the rest of a UTF-8 character. */
function continued(bytes: Uint8Array): number {
  const start = bytes.subarray(0, 3).findIndex((byte) => (byte & 0xc0) !== 0x80);
  return Math.max(0, start);
}
