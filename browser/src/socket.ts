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
export const CLOSE_TRY_AGAIN_LATER = 1013;

/** Codes that say that one end does not take what the other says, which another connection does not change. */
const refusals: ReadonlySet<number> = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

/** Whether a connection that was closed with the code is worth making again. */
export function worthRetrying(code: number): boolean {
  return !refusals.has(code);
}
