import { MAX_RESTING, decode } from "./message.js";
import { CLOSE_NORMAL } from "./socket.js";
import type { Socket } from "./socket.js";
import { onLeave, onWake } from "./wake.js";

/** A connection that has carried a conversation, and may carry another one. */
export interface Rested {
  readonly socket: Socket;
  /** The server's mark for the next start. */
  readonly mark: string;
}

interface Resting extends Rested {
  /** When it is too old, as Date.now() counts. Timers stand still while a machine sleeps. */
  readonly until: number;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** Connections that wait for the next command. When the network may have changed, all are closed. */
export class Idle {
  readonly most: number;
  readonly #ms: number;
  #resting: Resting[] = [];
  /** What listens for changes of the network while there is any connection. */
  #deafen: (() => void)[] = [];

  /** Keeps so many connections at most, each for so many milliseconds. */
  constructor(most: number, ms: number) {
    this.most = most;
    this.#ms = ms;
  }

  /** Keeps a connection, or closes it. */
  put({ socket, mark }: Rested): void {
    if (this.#resting.length >= this.most) {
      socket.close(CLOSE_NORMAL);
      return;
    }
    const drop = (): void => void (this.#remove(resting) && socket.close(CLOSE_NORMAL));
    const resting = { socket, mark, until: Date.now() + this.#ms, timer: setTimeout(drop, this.#ms) };
    socket.onmessage = (event: { readonly data: unknown }) => void (isLate(event.data) || drop());
    socket.onclose = () => void this.#remove(resting);
    if (this.#resting.push(resting) === 1) this.#deafen = [onWake(() => this.clear()), onLeave(() => this.clear())];
  }

  /** The connection that has rested least, if there is one. The caller sets the socket's handlers at once. */
  take(): Rested | undefined {
    for (let last = this.#resting.at(-1); last; last = this.#resting.at(-1)) {
      this.#remove(last);
      if (Date.now() < last.until) return last;
      last.socket.close(CLOSE_NORMAL);
    }
    return undefined;
  }

  /** Closes all. */
  clear(): void {
    for (const resting of [...this.#resting]) {
      this.#remove(resting);
      resting.socket.close(CLOSE_NORMAL);
    }
  }

  #remove(resting: Resting): boolean {
    const at = this.#resting.indexOf(resting);
    if (at < 0) return false;
    this.#resting.splice(at, 1);
    clearTimeout(resting.timer);
    resting.socket.onmessage = resting.socket.onclose = null;
    if (this.#resting.length === 0) for (const stop of this.#deafen) stop();
    return true;
  }
}

/** Whether a message of the conversation before was still on its way. Only small ones may be. */
function isLate(data: unknown): boolean {
  try {
    const bytes = new Uint8Array(data as ArrayBuffer);
    return bytes.length <= MAX_RESTING && ["ack", "echo"].includes(decode(bytes).type);
  } catch {
    return false;
  }
}
