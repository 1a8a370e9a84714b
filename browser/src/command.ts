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
  /** Variables in addition to the server's own. They win over those. */
  env?: Readonly<Record<string, string>> | undefined;
  /** Where the command starts. The default is the server's own directory. */
  cwd?: string | undefined;
  /**
   * With tty, names a session. Its command survives the connection. Another spawn with the same ID attaches to it, and so
   * does the process itself when its connection is lost for good.
   */
  id?: string | undefined;
  /**
   * With an id and without tty, how many milliseconds the command is remembered after its exit, while no client is attached.
   * The command survives the connection then, and close() detaches. A later spawn with the same ID attaches to it: it gets
   * what is kept of the outputs, then what is new, then the exit. `skipped` tells what it does not get. To close stdin is an
   * end of file for the command. The server counts in seconds, and may grant less.
   *
   * A spawn of the command "" with an id attaches, and starts nothing: if there is no such session it fails with the kind
   * `not_exist`.
   */
  keep?: number | undefined;
  /**
   * With an id, how many lines that have scrolled off are shown again at each attach, at most. The terminal must then be blank,
   * also what has scrolled off there. The default is 0.
   */
  scrollback?: number | undefined;
  /**
   * How many bytes of each output may be unread or under way. A stream without a reader takes so much memory. The default is
   * 1 MiB. With a small window an interrupted command's output ends sooner; a large one is faster over long distances. A
   * server of v0.2.4 has no windows. When 64 MiB of its output are unread, the connection is closed.
   */
  window?: number | undefined;
  /** Its abort closes the connection. That ends the command, unless it is in a session. */
  signal?: AbortSignal | undefined;
  /**
   * How many milliseconds the command has until its exit, counted from now. After that the connection is closed as by
   * `signal`, and `exited` rejects with a TimeoutError (a DOMException). The default is no bound.
   */
  timeout?: number | undefined;
  /**
   * What an abort of stdin does. A failed pipe into stdin is one. "close", the default, ends the command as close() does,
   * because its input is not complete. "eof" is an end of file.
   */
  stdinAbort?: "close" | "eof" | undefined;
}

const DEFAULT_WINDOW = 1 << 20;
const MAX_SIZE = 65_535;
const MAX_SCROLLBACK = 2 ** 32 - 1;
/** The longest time that a timer can run. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Returns the message that starts a command. It throws if an argument has a wrong type. resume is how many seconds the
 * server is asked to wait for a lost connection, reuse whether the connection is wanted for another command.
 */
export function startMessage(command: string, options: SpawnOptions, resume: number, reuse = false): Start {
  const { args = [], tty = false, stdin = tty, rows = 24, cols = 80, env = {}, cwd = "", id = "" } = options;
  const { window = DEFAULT_WINDOW, scrollback = 0, keep = 0 } = options;
  if (!Array.isArray(args)) throw new TypeError("args is no array");
  checkStrings("", { command, cwd, id });
  checkStrings("argument ", { ...args });
  checkStrings("variable ", env);
  checkSize(rows, cols);
  if (!Number.isSafeInteger(window) || window < MIN_WINDOW) throw new RangeError(`window of ${window} bytes`);
  if (!Number.isInteger(scrollback) || scrollback < 0 || scrollback > MAX_SCROLLBACK) {
    throw new RangeError(`scrollback of ${scrollback} lines`);
  }
  if (!(keep >= 0 && keep <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`keep for ${keep} ms`);
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
    ...(scrollback > 0 && { scrollback }),
    extensions: {
      window,
      max_message: MAX_RECEIVED,
      signal: true,
      outcome: true,
      echo: true,
      ...(resume > 0 && { resume }),
      ...(id !== "" && (tty || keep > 0 || command === "") && { session: true }),
      ...(id !== "" && !tty && keep > 0 && { keep: Math.ceil(keep / 1000) }),
      ...(reuse && { reuse }),
    },
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
