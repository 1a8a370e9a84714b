import type { SocketConstructor } from "../src/socket.js";

/** What the server is asked first. */
export const ABOUT = "api/server";

/** What inline.ts has begun. It does not know yet which session it is for. */
export interface Early {
  /** The token that was in the page's address, and is there no more. */
  readonly addressed: string | undefined;
  /** The token that was presented, or "". */
  readonly token: string;
  /** The answer to ABOUT, until it is taken. */
  about?: Promise<Response>;
  /** A connection, until it is taken, and what was offered to make it. */
  socket?: WebSocket;
  readonly offered: string;
}

declare global {
  var early: Early | undefined;
}

/** Returns the answer that is on its way already, once, if the server was asked this with this token. */
export function earlyAnswer(method: string, path: string, token: string): Promise<Response> | undefined {
  const { early } = globalThis;
  if (method !== "GET" || path !== ABOUT || !early?.about) return undefined;
  const { about } = early;
  delete early.about;
  return early.token === token ? about : undefined;
}

/** Makes connections. The first is the early one, if that is as good as another. */
export const EarlyWebSocket = function (url: string, offered: string[]) {
  return take(offered) ?? new WebSocket(url, offered);
} as unknown as SocketConstructor;

function take(offered: string[]): WebSocket | undefined {
  const { early } = globalThis;
  const socket = early?.socket;
  if (!early || !socket) return undefined;
  delete early.socket;
  if (socket.readyState > WebSocket.OPEN) return undefined;
  if (String(offered) !== early.offered) {
    socket.close();
    return undefined;
  }
  // The one that takes it waits for it to open.
  if (socket.readyState === WebSocket.OPEN) setTimeout(() => socket.dispatchEvent(new Event("open")));
  return socket;
}
