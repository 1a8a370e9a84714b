import type { SocketConstructor } from "../src/socket.js";

/** The path of the first request. */
export const ABOUT = "api/server";

/** How long a connection may wait for its first message, in milliseconds. By default the server gives it up after 10 s. */
const FRESH_MS = 5_000;

/** The request and the connection that inline.ts has started. They belong to no session yet. */
export interface Early {
  /** The token that inline.ts has taken out of the page's address. */
  readonly addressed: string | undefined;
  /** The token that both present, or "". */
  readonly token: string;
  /** The answer to ABOUT, until it is taken. */
  about?: Promise<Response>;
  /** A connection, until it is taken. */
  socket?: WebSocket;
  /** When the connection was begun, as in performance.now(). */
  readonly begun: number;
  /** The subprotocols that the connection offers. */
  readonly offered: string;
}

declare global {
  var early: Early | undefined;
}

/** Returns the early answer, once, if it is for this request and this token. */
export function earlyAnswer(method: string, path: string, token: string): Promise<Response> | undefined {
  const { early } = globalThis;
  if (method !== "GET" || path !== ABOUT || !early?.about) return undefined;
  const { about } = early;
  delete early.about;
  return early.token === token ? about : undefined;
}

/** Makes connections. The first is the early one, if it is not closed, is fresh, and offers the same. */
export const EarlyWebSocket = function (url: string, offered: string[]) {
  return take(offered) ?? new WebSocket(url, offered);
} as unknown as SocketConstructor;

function take(offered: string[]): WebSocket | undefined {
  const { early } = globalThis;
  const socket = early?.socket;
  if (!early || !socket) return undefined;
  delete early.socket;
  if (socket.readyState > WebSocket.OPEN) return undefined;
  if (String(offered) !== early.offered || performance.now() - early.begun > FRESH_MS) {
    socket.close();
    return undefined;
  }
  // The caller waits for this event, but the socket had it earlier.
  if (socket.readyState === WebSocket.OPEN) setTimeout(() => socket.dispatchEvent(new Event("open")));
  return socket;
}
