/// <reference lib="esnext.disposable" preserve="true" />
import type { DisconnectedError, StartError } from "./errors.js";

/** How a command ended: with an exit code, or by a signal, named without SIG. */
export type Exit =
  | { readonly code: number; readonly signal?: undefined }
  | { readonly code?: undefined; readonly signal: string };

/** What can be written to stdin. */
export type Chunk = string | ArrayBuffer | ArrayBufferView;

/** A command that has ended, and all that it put out. */
export interface Finished {
  readonly exit: Exit;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: Uint8Array<ArrayBuffer>;
}

/** Where a process is with its connection. */
export type State =
  /**
   * A connection is being made. The first attempt is 1; after a connection that held it is 1 again. While `resuming` the
   * command goes on, and its streams wait.
   */
  | { readonly status: "connecting"; readonly attempt: number; readonly resuming?: true }
  /** The command runs, and its streams flow. If it was `resumed` they go on where they were. */
  | { readonly status: "connected"; readonly resumed?: true }
  /**
   * The connection was lost or not made. The next attempt is at retryAt, in the milliseconds of Date.now(). `resuming` is as
   * above.
   */
  | {
      readonly status: "waiting";
      readonly attempt: number;
      readonly retryAt: number;
      readonly error: DisconnectedError | StartError;
      readonly resuming?: true;
    }
  /** It is over, and `exited` has the same to tell. */
  | { readonly status: "ended"; readonly exit: Exit; readonly error?: undefined }
  | { readonly status: "ended"; readonly exit?: undefined; readonly error: unknown };

/**
 * A command at the other end of a connection.
 *
 * Its streams, and what it is asked, wait for the connection. The promises may be left alone: their rejection is not
 * reported as unhandled.
 */
export interface Process {
  /** The process's ID on its machine: undefined until it has started. In a session, that of the client there. */
  readonly pid: number | undefined;

  /**
   * The command's standard input: bytes, and strings, which are sent in UTF-8. Closing it is end of file. What aborting
   * it means is `stdinAbort` in the options. A write is done when the bytes are on their way, and not before the server has
   * room for them. What is neither bytes nor a string ends the stream with a TypeError, and the command's input with it.
   *
   * The stream ends with the command, so that nothing that is piped into it waits for ever: it fails with an EndedError
   * when the command has ended, and with what `exited` rejects with when the connection is lost for good.
   *
   * What is written while a connection is being resumed waits for it, within the server's window. When a session's
   * connection could not be resumed, that goes nowhere, and so may what was on its way: nobody wants keys from minutes ago
   * typed into a shell.
   */
  readonly stdin: WritableStream<Chunk>;

  /**
   * The command's output, of a terminal all of it. What is not read holds the command up when the window is full, so
   * read both streams, or cancel one. A stream ends after the last byte, and fails if that did not come. Both are streams
   * of bytes, for readers with a buffer of their own too (`mode: "byob"`), where the platform has those.
   *
   * A connection that is resumed goes on where they were. When a session is started again it shows its screen anew, and
   * what was unread of the old one is dropped.
   */
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;

  /** The command has started. Rejects like `exited` if it does not. */
  readonly started: Promise<void>;

  /**
   * How the command ended. There may be output left to read. Rejects with a StartError if it did not start, a
   * DisconnectedError if the connection is lost for good or close() did not wait, an OutcomeError if the server can't
   * tell, a TimeoutError if the timeout has passed, and a signal's reason if that was aborted.
   */
  readonly exited: Promise<Exit>;

  /** Reads both outputs to their ends, and waits for the command's. Rejects like `exited`, and if one is locked. */
  output(): Promise<Finished>;

  /**
   * Reads stdout to its end as UTF-8, whatever the exit code, which `exited` tells. What comes on stderr is dropped, unless
   * somebody reads that. Rejects like `exited`, and if stdout is locked.
   */
  text(): Promise<string>;

  readonly state: State;

  /** Calls the listener at every change of state, until the function that is returned is called. */
  onStateChange(listener: (state: State) => void): () => void;

  /**
   * Has the next attempt to connect made now, in the place of one that is under way. Once there is a connection, and for the
   * first attempt of a command without an ID, it does nothing.
   */
  retry(): void;

  /** Tells the terminal's size, also to every later connection. Without a terminal it does nothing. */
  resize(rows: number, cols: number): void;

  /**
   * Sends a signal such as "INT" to the command's process group, once, also if the connection has to be resumed for that.
   * Rejects if the command has ended, if there is no connection to it and none is being resumed, or if the server does not
   * take signals. That the signal arrived is not known.
   */
  signal(name: string): Promise<void>;

  /**
   * Ends the command: with SIGTERM, and SIGKILL if that does not help. In a session it leaves, and the command goes on.
   * A server that can't be asked, or does not answer in time, is disconnected from. The result is `exited`. Output that
   * nobody has read by then holds nothing up any more: what has not arrived when the command has ended is given up, and its
   * stream fails.
   */
  close(): Promise<Exit>;

  /** Calls close() and waits, whatever comes of it: `await using process = client.spawn(…)`. */
  [Symbol.asyncDispose](): Promise<void>;
}
