import type { SocketConstructor } from "../src/socket.js";
import { protocols } from "../src/token.js";

/** A connection to the server that is made before it is known what for. */
export class EarlySocket {
  #offered = "";
  #socket: WebSocket | undefined;

  /** Makes the connection, with a token. */
  async open(token: string): Promise<void> {
    const url = new URL(".", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const offered = await protocols([], token, new AbortController().signal);
    this.#offered = String(offered);
    this.#socket = new WebSocket(url, offered);
  }

  /** Makes connections, the early one first if it is as good as another. */
  get Constructor(): SocketConstructor {
    const take = (url: string, offered: string[]): WebSocket => this.#take(offered) ?? new WebSocket(url, offered);
    return function (url: string, offered: string[]) {
      return take(url, offered);
    } as unknown as SocketConstructor;
  }

  #take(offered: string[]): WebSocket | undefined {
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket || socket.readyState > WebSocket.OPEN) return undefined;
    if (String(offered) !== this.#offered) {
      socket.close();
      return undefined;
    }
    // Whoever takes it waits for it to open.
    if (socket.readyState === WebSocket.OPEN) setTimeout(() => socket.dispatchEvent(new Event("open")));
    return socket;
  }
}
