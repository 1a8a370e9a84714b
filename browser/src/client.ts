import type { Process } from "./process.js";

/** The part of a WebSocket that is used here. */
export interface Socket {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

export interface ConnectOptions {
  /** Subprotocols to offer. A browser fails the connection if a server takes none of those that it was offered. */
  protocols?: readonly string[];
  /**
   * A token for the server, as a subprotocol, because a browser can send no header: "wsep" is offered, and
   * "wsep.token." with the token in base64url. A function is asked for every connection.
   */
  token?: string | (() => string | Promise<string>);
  /** What makes connections, where the global WebSocket is missing or not the one. */
  WebSocket?: SocketConstructor;
  /** Closes all connections when it is aborted. */
  signal?: AbortSignal;
  /** Whether to connect again to a command with an ID. The default is true. */
  reconnect?: boolean;
}

export interface SpawnOptions {
  args?: readonly string[];
  /** Whether the command gets standard input. The default is the value of tty; without it, stdin is empty. */
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
   * the memory. The default is 1 MiB. A small one lets an interrupted command's output end sooner, a large one is faster
   * over long distances. A server of v0.2.4 knows no windows.
   */
  window?: number;
}

export interface Client {
  /** Starts a command on a connection of its own. It does not throw for what the server may refuse. */
  spawn(command: string, options?: SpawnOptions): Process;
}

/**
 * Returns a client for the server at a URL: ws://, wss://, http:// or https://, or relative to the page. No connection
 * is made before the first command.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Client {
  void [url, options];
  throw new Error("not implemented");
}
