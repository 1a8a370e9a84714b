import type { DisconnectedError, StartError } from "./errors.js";

/** How a command ended: with an exit code, or by a signal, named without SIG. */
export type Exit =
  | { readonly code: number; readonly signal?: undefined }
  | { readonly code?: undefined; readonly signal: string };

/** Where a process is with its connection. */
export type State =
  /** A connection is being made. The first attempt is 1; after a connection that held it is 1 again. */
  | { readonly status: "connecting"; readonly attempt: number }
  /** The command runs, and its streams flow. */
  | { readonly status: "connected" }
  /** The connection was lost or not made. The next attempt is at retryAt, in the milliseconds of Date.now(). */
  | {
      readonly status: "waiting";
      readonly attempt: number;
      readonly retryAt: number;
      readonly error: DisconnectedError | StartError;
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
   * The command's standard input. Closing or aborting it is end of file. A write is done when the bytes are on their
   * way, and not before the server has room for them. It fails when the command has ended, with an EndedError, and with
   * what `exited` rejects with when the connection is lost for good.
   *
   * What is written while a session's connection is lost goes nowhere, and so may what was on its way: nobody wants
   * keys from a minute ago typed into a shell.
   */
  readonly stdin: WritableStream<Uint8Array>;

  /**
   * The command's output, of a terminal all of it. What is not read holds the command up when the window is full, so
   * read both streams, or cancel one. A stream ends after the last byte, and fails if that did not come.
   *
   * When a session is connected to again it shows its screen anew, and what was unread of the old one is dropped.
   */
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;

  /** The command has started. Rejects like `exited` if it does not. */
  readonly started: Promise<void>;

  /**
   * How the command ended. There may be output left to read. Rejects with a StartError if it did not start, a
   * DisconnectedError if the connection is lost for good or close() did not wait, an OutcomeError if the server can't
   * tell, and the signal's reason if connect's signal was aborted.
   */
  readonly exited: Promise<Exit>;

  readonly state: State;

  /** Calls the listener at every change of state, until the function that is returned is called. */
  onStateChange(listener: (state: State) => void): () => void;

  /**
   * Has the next attempt to connect made now, in the place of one that is under way. Once there is a connection, and for a
   * command without an ID, it does nothing.
   */
  retry(): void;

  /** Tells the terminal's size, also to every later connection. Without a terminal it does nothing. */
  resize(rows: number, cols: number): void;

  /**
   * Sends a signal such as "INT" to the command's process group. Rejects if the command has ended, if there is no
   * connection, or if the server does not take signals. That the signal arrived is not known.
   */
  signal(name: string): Promise<void>;

  /**
   * Ends the command: with SIGTERM, and SIGKILL if that does not help. In a session it leaves, and the command goes on.
   * A server that can't be asked, or does not answer in time, is disconnected from.
   */
  close(): void;
}
