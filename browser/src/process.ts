/// <reference lib="esnext.disposable" preserve="true" />
import type { DisconnectedError, StartError } from "./errors.js";

/** How a command ended: with an exit code, or by a signal, named without SIG. */
export type Exit =
  | { readonly code: number; readonly signal?: undefined }
  | { readonly code?: undefined; readonly signal: string };

/** What can be written to stdin. */
export type Chunk = string | ArrayBuffer | ArrayBufferView;

/** How a command exited, with all of its output. */
export interface Finished {
  readonly exit: Exit;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: Uint8Array<ArrayBuffer>;
}

/** The state of a process's connection. */
export type State =
  /**
   * A connection is being made. The first attempt is 1. It is 1 again after a connection that has held. While `resuming`,
   * the command goes on and its streams wait.
   */
  | { readonly status: "connecting"; readonly attempt: number; readonly resuming?: true }
  /** The command runs, and its streams flow. After a resume, `resumed` is true, and they go on where they were. */
  | { readonly status: "connected"; readonly resumed?: true }
  /**
   * The connection was lost, or could not be made. The next attempt is at retryAt, in milliseconds as Date.now() counts
   * them. `resuming` is as above.
   */
  | {
      readonly status: "waiting";
      readonly attempt: number;
      readonly retryAt: number;
      readonly error: DisconnectedError | StartError;
      readonly resuming?: true;
    }
  /** The process has ended. `exited` tells the same. */
  | { readonly status: "ended"; readonly exit: Exit; readonly error?: undefined }
  | { readonly status: "ended"; readonly exit?: undefined; readonly error: unknown };

/**
 * A command at the other end of a connection.
 *
 * Its streams, and what it is asked, wait for the connection. The promises may be left alone: their rejection is not
 * reported as unhandled.
 */
export interface Process {
  /** The process's ID on its machine, undefined until it has started. In a session it is the ID of the display. */
  readonly pid: number | undefined;

  /**
   * Whether the last start has created the session of the option `id`, or has found it. A process whose connection was lost and
   * whose session is created again has a new command. It is undefined without a session, and if the server does not tell.
   */
  readonly session: "created" | "found" | undefined;

  /** The option `scrollback`: how many lines a session is asked to show again at each attach. */
  readonly scrollback: number;

  /**
   * How many bytes of each output are missing. A command with `keep` does not wait for its clients, and the server keeps the
   * newest output alone.
   */
  readonly skipped: { readonly stdout: number; readonly stderr: number };

  /**
   * The command's standard input. It takes bytes and strings, and sends strings in UTF-8. To close it is an end of file.
   * The option `stdinAbort` says what an abort does. A write is done when the server has room for the bytes and they are on
   * their way. Any other type of chunk ends the stream with a TypeError, and ends the command's input.
   *
   * The stream fails when the command exits, so that a pipe into it does not wait for ever. The error is an EndedError. If
   * the connection is lost for good, the error is the one of `exited`.
   *
   * While a connection is being resumed, writes wait for it, within the server's window. If a session's connection can't be
   * resumed, these bytes are dropped, and bytes on their way may be. Keys from minutes ago must not be typed into a shell.
   */
  readonly stdin: WritableStream<Chunk>;

  /**
   * The command's outputs. A terminal has stdout alone. When a window is full the command waits, so read both streams, or
   * cancel one. A stream ends after the last byte, and fails if the connection is lost before. Both are streams of bytes
   * (`mode: "byob"`) if the platform has those.
   *
   * After a resume they go on where they were. When a session is attached to again, it shows its screen anew, and unread
   * output is dropped.
   */
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;

  /** The command has started. Rejects like `exited` if it does not. */
  readonly started: Promise<void>;

  /**
   * How the command exited. Output may still be unread. It rejects with a StartError if the command did not start, a
   * DisconnectedError if the connection is lost for good or close() did not wait, an OutcomeError if the server can't
   * tell, a TimeoutError if the timeout has passed, and an aborted signal's reason.
   */
  readonly exited: Promise<Exit>;

  /** Reads both outputs to their ends, and waits for the exit. Rejects like `exited`, and if an output is locked. */
  output(): Promise<Finished>;

  /**
   * Reads stdout to its end as UTF-8, whatever the exit code is: see `exited`. Stderr is dropped unless it has a reader.
   * Rejects like `exited`, and if stdout is locked.
   */
  text(): Promise<string>;

  readonly state: State;

  /** Calls the listener at every change of state. The returned function ends that. */
  onStateChange(listener: (state: State) => void): () => void;

  /**
   * Makes the next attempt to connect now, in the place of one that is under way. It does nothing if there is a connection,
   * and during the first attempt of a command without an ID.
   */
  retry(): void;

  /**
   * Tells the terminal's size, also to every later connection. Without a terminal it does nothing. What is written to stdin
   * afterwards reaches the command after the new size.
   */
  resize(rows: number, cols: number): void;

  /**
   * Sends a signal such as "INT" to the command's process group, once. While the connection is being resumed, the signal
   * waits. Rejects if the command has exited, if there is no connection and none is being resumed, or if the server does not
   * take signals. It does not tell whether the signal has arrived.
   */
  signal(name: string): Promise<void>;

  /**
   * Ends the command with SIGTERM, and with SIGKILL if that does not help. Of a session it detaches, and the command goes
   * on. If the server can't be asked, or does not answer in time, it closes the connection. The result is `exited`. Output
   * that has not arrived when the command exits is given up, and its stream fails.
   */
  close(): Promise<Exit>;

  /** Calls close() and waits. It never rejects: `await using process = client.spawn(…)`. */
  [Symbol.asyncDispose](): Promise<void>;
}
