import { closeSession, listSessions } from "./ask.js";
import type { SessionInfo } from "./ask.js";
import { onAbort } from "./abort.js";
import { checkSignal, startMessage } from "./command.js";
import type { SpawnOptions } from "./command.js";
import { Idle } from "./idle.js";
import type { Process } from "./process.js";
import { RemoteProcess } from "./remote.js";
import { checkRun, run } from "./run.js";
import type { Result, RunOptions } from "./run.js";
import type { SocketConstructor } from "./socket.js";
import { protocols } from "./token.js";
import type { TokenSource } from "./token.js";

export interface ConnectOptions {
  /** Subprotocols to offer. A browser fails the connection if the server takes none of those that it was offered. */
  protocols?: readonly string[] | undefined;
  /**
   * A token for the server, as a subprotocol, because a browser can send no header: "wsep" is offered, and
   * "wsep.token." with the token in base64url. An empty one is not presented, and then a cookie's may count. A function
   * is called for every connection, and has 30 s to answer. Its signal is aborted then, and when the answer is not needed any
   * more. After an error it is called again for the next attempt, unless the error is a DisconnectedError of
   * a final kind: "unauthorized", "protocol" or "closed".
   */
  token?: TokenSource | undefined;
  /** The WebSocket to use instead of the global one. */
  WebSocket?: SocketConstructor | undefined;
  /** Closes all connections when it is aborted. */
  signal?: AbortSignal | undefined;
  /**
   * How many milliseconds a lost connection may take to be replaced by another, without anything being lost or done twice.
   * The server may grant less. 0 and false mean not at all, and so does less than a second. The default is one minute.
   */
  resume?: number | false | undefined;
  /**
   * How many connections are kept for later commands, once they have carried one to its end. A start over such a connection takes
   * one round trip, and asks for no token. It needs `resume`. The default is 2 in a browser and 0 elsewhere: Node does not exit
   * before a connection is closed.
   */
  maxIdle?: number | undefined;
  /** How many milliseconds a connection is kept for a later command. The default is 30 seconds. */
  idleTimeout?: number | undefined;
  /** Whether to connect again to a command with an ID, when its connection is lost for good. The default is true. */
  reconnect?: boolean | undefined;
}

export interface Client {
  /**
   * Starts a command on a connection of its own, or on one that an earlier command has left. Throws if an argument is not of its type. What the server refuses,
   * the process tells.
   */
  spawn(command: string, options?: SpawnOptions): Process;
  /**
   * Runs a command from start to end, and returns what it has written and how it exited, whatever its exit code is. It rejects
   * with a StartError if the command did not start, and else with a RunError, which has what was written before. Its cause is
   * what `Process.exited` rejects with, or why the input could not be read.
   */
  run(command: string, options?: RunOptions): Promise<Result>;
  /**
   * Returns the sessions that the server keeps for this client, or for others of the same owner, oldest first. Rejects with a
   * DisconnectedError if there is no connection, and else with a QuestionError.
   */
  sessions(): Promise<SessionInfo[]>;
  /**
   * Ends a session, and waits until nothing is left of its command. The reason is for its clients. Rejects as `sessions` does: with
   * the kind "not_exist" if there is no such session.
   */
  closeSession(id: string, reason?: string): Promise<void>;
  /** Closes the connections that are kept for later commands: see `maxIdle`. Node then can exit. */
  closeIdleConnections(): void;
}

/**
 * Returns a client for the server at a URL: ws://, wss://, http:// or https://, or relative to the page's base URL. No
 * connection is made before the first command.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Client {
  const address = socketURL(url);
  const { protocols: offered = [], token = "", WebSocket: Constructor = globalThis.WebSocket, signal } = options;
  if (!Constructor) throw new TypeError("there is no WebSocket here: give one in the options");
  if (typeof Constructor !== "function") throw new TypeError("WebSocket is no constructor");
  if (typeof token !== "string" && typeof token !== "function") throw new TypeError("token is no string and no function");
  if (!Array.isArray(offered)) throw new TypeError("protocols is no array");
  checkSignal(signal);
  const resume = resumeTime(options.resume);
  const idle = new Idle(resume > 0 ? maxIdle(options.maxIdle) : 0, idleTimeout(options.idleTimeout));
  if (signal) onAbort(signal, () => idle.clear());
  const connection = {
    protocols: (asking: AbortSignal) => protocols(offered, token, asking),
    dial: (offering: string[]) => new Constructor(address, offering),
  };
  const spawn = (command: string, spawnOptions: SpawnOptions = {}): Process =>
    new RemoteProcess({
      start: startMessage(command, spawnOptions, resume / 1000, idle.most > 0),
      ...connection,
      idle,
      resume,
      reconnect: (options.reconnect ?? true) && !!spawnOptions.tty && !!spawnOptions.id,
      signals: [signal, spawnOptions.signal].filter((s) => s !== undefined),
      timeout: spawnOptions.timeout,
      stdinAbort: spawnOptions.stdinAbort ?? "close",
    });
  return {
    spawn,
    closeIdleConnections: () => idle.clear(),
    sessions: () => listSessions({ ...connection, signal }),
    closeSession: (id, reason = "") => closeSession({ ...connection, signal }, id, reason),
    run: async (command, runOptions = {}) => {
      checkRun(runOptions);
      const { args, env, cwd, signal, timeout, window, input } = runOptions;
      return run(spawn(command, { args, env, cwd, signal, timeout, window, stdin: input !== undefined }), runOptions);
    },
  };
}

const DEFAULT_MAX_IDLE = 2;
const DEFAULT_IDLE_MS = 30_000;

function maxIdle(n: number | undefined): number {
  if (n === undefined) return "document" in globalThis || "WorkerGlobalScope" in globalThis ? DEFAULT_MAX_IDLE : 0;
  if (!(Number.isInteger(n) && n >= 0)) throw new RangeError(`maxIdle of ${n}`);
  return n;
}

function idleTimeout(ms = DEFAULT_IDLE_MS): number {
  if (!(ms > 0 && ms <= MAX_TIMER_MS)) throw new RangeError(`idleTimeout of ${ms} ms`);
  return ms;
}

/** Resolves a URL. A page's base URL is not its address if it has a base element, or came from a srcdoc attribute. */
function socketURL(url: string | URL): string {
  const u = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  u.protocol = u.protocol.replace(/^http/, "ws");
  u.hash = "";
  return u.href;
}

const DEFAULT_RESUME_MS = 60_000;
/** The longest that a timer runs. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** How long a lost connection may be resumed: whole seconds, in milliseconds. */
function resumeTime(ms: number | false = DEFAULT_RESUME_MS): number {
  if (ms === false) return 0;
  if (!(ms >= 0 && ms <= MAX_TIMER_MS)) throw new RangeError(`resume within ${ms} ms`);
  return Math.floor(ms / 1000) * 1000;
}
