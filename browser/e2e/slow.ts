import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { after } from "node:test";

/** The size of the pieces in which connections take turns, in bytes: the payload of an Ethernet packet. */
const SEGMENT = 1460;

/** A piece on its way: bytes, or the end of a connection. */
interface Segment {
  readonly bytes: Buffer;
  readonly arrive: () => void;
}

/** One direction of a line. The connections share it evenly. */
class Direction {
  readonly #bytesPerMs: number;
  readonly #delay: number;
  /** The pieces that wait to be sent, by connection. The next connection comes first. */
  readonly #waiting = new Map<Socket, Segment[]>();
  /** The pieces on their way, in order. Timers that are due at the same time may run in another order. */
  readonly #arriving: (() => void)[] = [];
  #busyUntil = 0;
  #sending = false;

  constructor(bytesPerMs: number, delay: number) {
    this.#bytesPerMs = bytesPerMs;
    this.#delay = delay;
  }

  send(from: Socket, bytes: Buffer, arrive: (bytes: Buffer) => void): void {
    const segments = this.#waiting.get(from) ?? [];
    this.#waiting.set(from, segments);
    let rest = bytes;
    do {
      const segment = rest.subarray(0, SEGMENT);
      segments.push({ bytes: segment, arrive: () => arrive(segment) });
      rest = rest.subarray(SEGMENT);
    } while (rest.length > 0);
    if (!this.#sending) this.#sendNext();
  }

  /** Sends pieces until none waits. */
  #sendNext(): void {
    const [next] = this.#waiting;
    this.#sending = next !== undefined;
    if (!next) return;
    const [from, segments] = next;
    const { bytes, arrive } = segments.shift()!;
    this.#waiting.delete(from);
    if (segments.length > 0) this.#waiting.set(from, segments); // behind the others
    const now = performance.now();
    this.#busyUntil = Math.max(now, this.#busyUntil) + bytes.length / this.#bytesPerMs;
    this.#arriving.push(arrive);
    setTimeout(() => this.#arriving.shift()!(), this.#busyUntil - now + this.#delay);
    setTimeout(() => this.#sendNext(), this.#busyUntil - now);
  }
}

export interface Speed {
  /** The time to the other end and back, in milliseconds. */
  readonly roundTrip: number;
  /** In each direction. */
  readonly bitsPerSecond: number;
}

/**
 * Starts a proxy to the server of an address that is as slow as a line, until the tests have ended. Returns the proxy's
 * address. A browser's own throttling does not slow WebSockets down. A connection takes one round trip to make, and has its full
 * share of the line from the beginning: there is no slow start.
 */
export async function slowLine(address: string, { roundTrip, bitsPerSecond }: Speed): Promise<string> {
  const { hostname, port, pathname, hash } = new URL(address);
  const [up, down] = [1, 2].map(() => new Direction(bitsPerSecond / 8 / 1000, roundTrip / 2)) as [Direction, Direction];
  const sockets = new Set<Socket>();
  const listener = createServer((near) => {
    // The connection to the proxy is made at once. So the first bytes wait for a round trip.
    near.pause();
    setTimeout(() => near.resume(), roundTrip);
    const far = connect(Number(port), hostname);
    carry(near, far, up);
    carry(far, near, down);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  return `http://127.0.0.1:${(listener.address() as AddressInfo).port}${pathname}${hash}`;
}

function carry(from: Socket, to: Socket, line: Direction): void {
  from.setNoDelay();
  from.on("error", () => {});
  from.on("data", (bytes) => line.send(from, bytes, (arrived) => to.write(arrived)));
  from.on("close", () => line.send(from, Buffer.alloc(0), () => to.destroy()));
}
