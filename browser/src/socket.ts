import type { Loss } from "./errors.js";

/** The part of a WebSocket that is used here. */
export interface Socket {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

export const CLOSE_NORMAL = 1000;
export const CLOSE_GOING_AWAY = 1001;
/** What an API reports where the connection ended without a close frame. */
export const CLOSE_ABNORMAL = 1006;
export const CLOSE_RESTART = 1012;
export const CLOSE_TRY_AGAIN_LATER = 1013;
/** Another client has taken over the conversation. */
export const CLOSE_TAKEN = 4001;

/** Codes that say that one end does not take what the other sends. */
const breaches: ReadonlySet<number> = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

/** Codes that stand for the HTTP statuses 401 and 403 in IANA's registry of close codes. */
const refusals: ReadonlySet<number> = new Set([3000, 3003]);

/** Why a connection is lost that was closed with the code. */
export function lossOf(code: number): Loss {
  if (breaches.has(code)) return "protocol";
  if (code === CLOSE_TAKEN) return "taken";
  return refusals.has(code) ? "unauthorized" : "lost";
}

/** The cause in a socket's error event. `ws`, Node, Bun and Deno give one, browsers do not. */
export function causeOf(event: { readonly error?: unknown; readonly message?: unknown }): unknown {
  return event.error ?? (event.message ? new Error(String(event.message)) : undefined);
}

/** What the WebSocket of `ws` tells beside. */
interface Emitter {
  on?(event: string, listener: (...args: never[]) => void): void;
}

/** Calls back with the HTTP status of a refused handshake, which only `ws` tells. The callback must close the socket. */
export function onRefusal(socket: Socket, refused: (status: number) => void): void {
  const { on } = socket as Emitter;
  if (typeof on !== "function") return;
  on.call(socket, "unexpected-response", (_: unknown, { statusCode }: { statusCode: number }) => refused(statusCode));
}

const MAX_MARK = 128;

/** Calls back with the mark that a server gives in its answer to the handshake, which only `ws` tells. */
export function onMark(socket: Socket, marked: (mark: string) => void): void {
  const { on } = socket as Emitter;
  if (typeof on !== "function") return;
  on.call(socket, "upgrade", ({ headers }: { headers: Record<string, unknown> }) => {
    const mark = headers["wsep-server"];
    if (typeof mark === "string" && mark.length <= MAX_MARK) marked(mark);
  });
}
