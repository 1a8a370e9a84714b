import { MAX_RECEIVED, MIN_WINDOW } from "./message.js";
import type { Start } from "./message.js";

export interface SpawnOptions {
  args?: readonly string[] | undefined;
  /** Whether the command gets standard input. The default is the value of tty. Without it stdin is empty. */
  stdin?: boolean | undefined;
  /** Whether the command runs in a terminal. */
  tty?: boolean | undefined;
  /** The terminal's size. The default is 24 rows of 80 columns. */
  rows?: number | undefined;
  cols?: number | undefined;
  /** Variables beside the server's own. They win. */
  env?: Readonly<Record<string, string>> | undefined;
  /** Where the command starts. The default is the server's own directory. */
  cwd?: string | undefined;
  /**
   * With tty, names a session: the command survives its connection, and whoever spawns with the same ID returns to it,
   * as the process itself does when its connection is lost.
   */
  id?: string | undefined;
  /**
   * How many bytes of each output stream may be unread or under way, and so what a stream that nobody reads takes of
   * the memory. The default is 1 MiB. A small one lets an interrupted command's output end sooner, a large one is
   * faster over long distances. A server of v0.2.4 knows no windows: of its output 64 MiB may be unread, then the
   * connection ends.
   */
  window?: number | undefined;
  /** Closes the connection when it is aborted, which ends the command unless it is in a session. */
  signal?: AbortSignal | undefined;
  /**
   * How many milliseconds the command has, from now until it has ended. Then the connection is closed as by `signal`, and
   * `exited` rejects with a TimeoutError, which is a DOMException. The default is no bound.
   */
  timeout?: number | undefined;
  /**
   * What it means that stdin is aborted, as by the failure of what was piped into it: "close", which is the default, ends
   * the command as close() does, because what it has read is not all; "eof" is an end of file.
   */
  stdinAbort?: "close" | "eof" | undefined;
}

const DEFAULT_WINDOW = 1 << 20;
const MAX_SIZE = 65_535;
/** The longest that a timer runs. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Returns the message that starts a command, or throws if the arguments are not of their types. The server is asked to wait
 * so many seconds for a connection to come back.
 */
export function startMessage(command: string, options: SpawnOptions, resume: number): Start {
  const { args = [], tty = false, stdin = tty, rows = 24, cols = 80, env = {}, cwd = "", id = "" } = options;
  const { window = DEFAULT_WINDOW } = options;
  if (!Array.isArray(args)) throw new TypeError("args is no array");
  checkStrings("", { command, cwd, id });
  checkStrings("argument ", { ...args });
  checkStrings("variable ", env);
  checkSize(rows, cols);
  if (!Number.isSafeInteger(window) || window < MIN_WINDOW) throw new RangeError(`window of ${window} bytes`);
  checkEnding(options);
  return {
    type: "start",
    id,
    command: {
      command,
      args,
      stdin,
      tty,
      rows,
      cols,
      uid: 0,
      gid: 0,
      env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      working_dir: cwd,
    },
    extensions: { window, max_message: MAX_RECEIVED, signal: true, outcome: true, echo: true, ...(resume > 0 && { resume }) },
  };
}

export function checkSize(rows: number, cols: number): void {
  for (const n of [rows, cols]) {
    if (!Number.isInteger(n) || n < 1 || n > MAX_SIZE) throw new RangeError(`terminal of ${rows} by ${cols}`);
  }
}

function checkStrings(what: string, fields: object): void {
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value !== "string") throw new TypeError(`${what}${name} is no string`);
  }
}

function checkEnding({ signal, timeout, stdinAbort }: SpawnOptions): void {
  checkSignal(signal);
  if (timeout !== undefined && !(timeout > 0 && timeout <= MAX_TIMEOUT_MS)) {
    throw new RangeError(`timeout of ${timeout} ms`);
  }
  if (stdinAbort !== undefined && stdinAbort !== "close" && stdinAbort !== "eof") {
    throw new TypeError(`stdinAbort is ${stdinAbort}`);
  }
}

export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw new TypeError("signal is no AbortSignal");
  }
}
