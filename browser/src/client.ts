import { MAX_RECEIVED, MIN_WINDOW } from "./message.js";
import type { Start } from "./message.js";
import type { Process } from "./process.js";
import { RemoteProcess, checkSize } from "./remote.js";
import type { SocketConstructor } from "./socket.js";
import { protocols } from "./token.js";
import type { TokenSource } from "./token.js";

export interface ConnectOptions {
  /** Subprotocols to offer. A browser fails the connection if the server takes none of those that it was offered. */
  protocols?: readonly string[];
  /**
   * A token for the server, as a subprotocol, because a browser can send no header: "wsep" is offered, and
   * "wsep.token." with the token in base64url. An empty one is not presented, and then a cookie's may count. A function
   * is asked for every connection, and has 30 s to answer: its signal is aborted then, or when nobody wants to know any
   * more. What it throws may go better at the next attempt, unless it is a DisconnectedError that says otherwise.
   */
  token?: TokenSource;
  /** What makes connections, where the global WebSocket is missing or not the one. */
  WebSocket?: SocketConstructor;
  /** Closes all connections when it is aborted. */
  signal?: AbortSignal;
  /** Whether to connect again to a command with an ID. The default is true. */
  reconnect?: boolean;
}

export interface SpawnOptions {
  args?: readonly string[];
  /** Whether the command gets standard input. The default is the value of tty. Without it stdin is empty. */
  stdin?: boolean;
  /** Whether the command runs in a terminal. */
  tty?: boolean;
  /** The terminal's size. The default is 24 rows of 80 columns. */
  rows?: number;
  cols?: number;
  /** Variables beside the server's own. They win. */
  env?: Readonly<Record<string, string>>;
  /** Where the command starts. The default is the server's own directory. */
  cwd?: string;
  /**
   * With tty, names a session: the command survives its connection, and whoever spawns with the same ID returns to it,
   * as the process itself does when its connection is lost.
   */
  id?: string;
  /**
   * How many bytes of each output stream may be unread or under way, and so what a stream that nobody reads takes of
   * the memory. The default is 1 MiB. A small one lets an interrupted command's output end sooner, a large one is
   * faster over long distances. A server of v0.2.4 knows no windows: of its output 64 MiB may be unread, then the
   * connection ends.
   */
  window?: number;
}

export interface Client {
  /** Starts a command on a connection of its own. What the server may refuse is told by the process. */
  spawn(command: string, options?: SpawnOptions): Process;
}

const DEFAULT_WINDOW = 1 << 20;

/**
 * Returns a client for the server at a URL: ws://, wss://, http:// or https://, or relative to the page. No connection
 * is made before the first command.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Client {
  const address = socketURL(url);
  const Constructor = options.WebSocket ?? globalThis.WebSocket;
  if (!Constructor) throw new TypeError("there is no WebSocket here: give one in the options");
  return {
    spawn: (command, spawnOptions = {}) =>
      new RemoteProcess({
        start: startMessage(command, spawnOptions),
        protocols: (signal) => protocols(options.protocols ?? [], options.token ?? "", signal),
        dial: (offered) => new Constructor(address, offered),
        reconnect: (options.reconnect ?? true) && !!spawnOptions.tty && !!spawnOptions.id,
        signal: options.signal,
      }),
  };
}

function socketURL(url: string | URL): string {
  const u = new URL(url, globalThis.location?.href);
  u.protocol = u.protocol.replace(/^http/, "ws");
  u.hash = "";
  return u.href;
}

function startMessage(command: string, options: SpawnOptions): Start {
  const { args = [], tty = false, stdin = tty, rows = 24, cols = 80, env = {}, cwd = "", id = "" } = options;
  const { window = DEFAULT_WINDOW } = options;
  checkSize(rows, cols);
  if (!Number.isSafeInteger(window) || window < MIN_WINDOW) throw new RangeError(`window of ${window} bytes`);
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
    extensions: { window, max_message: MAX_RECEIVED, signal: true, outcome: true },
  };
}
