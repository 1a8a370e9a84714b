import type { Socket, SocketConstructor } from "../src/index.js";

/** A WebSocket. The test is its other end. */
export class FakeSocket implements Socket {
  readonly url: string;
  readonly protocols: string[];
  binaryType = "blob";
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  /** The messages that were sent and not yet taken. */
  readonly sent: Uint8Array[] = [];
  #upgraded: (response: never) => void = () => {};
  /** The code that this end closed with. */
  closedWith: number | undefined;

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    this.sent.push(data);
  }

  close(code?: number): void {
    this.closedWith = code;
  }

  /** Listens as on a socket of `ws`. Such a socket tells of the answer to the handshake by an event. */
  on(event: string, listener: (response: never) => void): void {
    if (event === "upgrade") this.#upgraded = listener;
  }

  open(headers: Record<string, string | undefined> = {}): void {
    this.#upgraded({ headers } as never);
    this.onopen?.();
  }

  /** A message arrives. */
  deliver(header: object | string, body: string | Uint8Array = ""): void {
    const text = typeof header === "string" ? header : JSON.stringify(header);
    const message = Buffer.concat([Buffer.from(`${text}\n`), Buffer.from(body)]);
    this.onmessage?.({ data: new Uint8Array(message).buffer } as never);
  }

  /** An error event comes, and no close event, as in Node 22 if a connection can't be made. */
  fail(event: object = {}): void {
    this.onerror?.(event as never);
  }

  /** The connection ends. */
  drop(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason } as never);
  }

  /** Opens and starts the command. The result is the start message. */
  start(extensions?: object): Record<string, any> {
    this.open();
    this.deliver({ type: "pid", pid: 42, ...(extensions && { extensions }) });
    return parse(this.sent.shift()!);
  }

  /** Takes the messages that were sent, each as its header with the length of its body. */
  take(): Record<string, any>[] {
    return this.sent.splice(0).map(parse);
  }
}

function parse(message: Uint8Array): Record<string, any> {
  const [header] = Buffer.from(message).toString("utf8").split("\n", 1);
  const length = message.length - Buffer.byteLength(header!) - 1;
  return { ...JSON.parse(header!), ...(length >= 0 && { length }) };
}

export const allExtensions = { window: 65_536, max_message: 262_144, signal: true, outcome: true, echo: true };

/** Returns a WebSocket constructor, and the sockets that it makes. */
export function fakeSockets(): { WebSocket: SocketConstructor; sockets: FakeSocket[] } {
  const sockets: FakeSocket[] = [];
  class Recorded extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  return { WebSocket: Recorded, sockets };
}

/** Lets all pending promises and callbacks run. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
