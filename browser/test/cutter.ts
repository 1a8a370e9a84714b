import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { TestContext } from "node:test";

/** How a connection is cut: by a reset, by its end, or by silence in one direction or both. A reset follows the silence. */
export type Cut = "reset" | "close" | "swallow" | "half";

/** When a connection is cut: after this many bytes in a direction. The bytes of the HTTP handshake do not count. */
export interface Plan {
  readonly cut: Cut;
  readonly up: boolean;
  readonly after: number;
  /** How many bytes are carried at a time in that direction. Without it, as many as there are. */
  readonly piece?: number;
}

/** How long a connection is silent before it is reset. */
const SILENCE_MS = 50;

interface Line {
  readonly near: Socket;
  readonly far: Socket;
}

/** A proxy to a server that cuts connections. */
export class Cutter {
  readonly #listener: Server;
  readonly #lines = new Set<Line>();
  readonly #plan: () => Plan | undefined;
  /** How many connections were made, and how many of them were cut by their plan. Those had carried a message, or a part. */
  made = 0;
  cuts = 0;
  /** Whether new connections are refused. */
  down = false;

  #port: number;

  private constructor(port: number, plan: () => Plan | undefined) {
    this.#port = port;
    this.#plan = plan;
    this.#listener = createServer((near) => this.#take(near));
  }

  /** Starts a proxy to the server at an address, until the test ends. plan is called for each connection. */
  static async before(t: TestContext, url: string, plan: () => Plan | undefined = () => undefined): Promise<Cutter> {
    const cutter = new Cutter(Number(new URL(url).port), plan);
    cutter.#listener.listen(0, "127.0.0.1");
    await once(cutter.#listener, "listening");
    t.after(() => {
      cutter.#listener.close();
      cutter.cutAll("reset");
    });
    return cutter;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** Passes new connections to the server at another address. */
  lead(url: string): void {
    this.#port = Number(new URL(url).port);
  }

  cutAll(how: Cut): void {
    for (const line of [...this.#lines]) this.#cut(line, how, true);
  }

  #take(near: Socket): void {
    near.on("error", () => {});
    if (this.down) {
      reset(near);
      return;
    }
    this.made++;
    const line = { near, far: connect(this.#port, "127.0.0.1") };
    this.#lines.add(line);
    const plan = this.#plan();
    this.#carry(line, line.near, line.far, plan?.up === true ? plan : undefined);
    this.#carry(line, line.far, line.near, plan?.up === false ? plan : undefined);
  }

  #carry(line: Line, from: Socket, to: Socket, plan: Plan | undefined): void {
    const handshake = new Handshake();
    let left = plan?.after ?? Infinity;
    let busy = false;
    from.setNoDelay();
    from.on("error", () => {});
    from.on("close", () => {
      this.#lines.delete(line);
      to.destroy();
    });
    to.on("drain", () => busy || from.resume());
    from.on("data", (bytes) => {
      const counted = bytes.length - handshake.partOf(bytes);
      const dropped = Math.max(0, counted - left);
      left -= counted - dropped;
      busy = true;
      from.pause();
      writePieces(to, bytes.subarray(0, bytes.length - dropped), plan?.piece, (full) => {
        busy = false;
        if (!full) from.resume();
        if (!plan || left > 0 || counted === 0 || from.destroyed) return;
        this.cuts++;
        this.#cut(line, plan.cut, plan.up);
      });
    });
  }

  #cut({ near, far }: Line, how: Cut, up: boolean): void {
    switch (how) {
      case "reset":
        reset(near);
        reset(far);
        return;
      case "close":
        near.end();
        far.end();
        mute(near);
        mute(far);
        return;
      case "swallow":
        mute(near);
        mute(far);
        break;
      case "half":
        mute(up ? near : far);
    }
    // Without the reset, the silence would be noticed only when somebody types.
    setTimeout(() => {
      reset(near);
      reset(far);
    }, SILENCE_MS);
  }
}

/** Finds the end of the HTTP handshake in one direction. */
class Handshake {
  #head = "";
  #done = false;

  /** Returns how many of the next bytes belong to the handshake. */
  partOf(bytes: Buffer): number {
    if (this.#done) return 0;
    const before = this.#head.length;
    this.#head += bytes.toString("latin1");
    const end = this.#head.indexOf("\r\n\r\n");
    this.#done = end >= 0;
    return this.#done ? end + 4 - before : bytes.length;
  }
}

/** Writes bytes so many at a time. Calls done after the last, and says whether the socket has so much to send that more should wait. */
function writePieces(to: Socket, bytes: Buffer, piece: number | undefined, done: (full: boolean) => void): void {
  const now = bytes.subarray(0, piece);
  const full = !to.write(now);
  if (now.length === bytes.length) done(full);
  else setImmediate(() => writePieces(to, bytes.subarray(now.length), piece, done));
}

/** Resets a connection. While Node ends a connection it can't reset it: its handle then stays, and Node never exits. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** Drops all bytes that come from a socket from now on. A socket that is not read does not notice its end. */
function mute(socket: Socket): void {
  socket.removeAllListeners("data");
  socket.on("data", () => {});
  socket.resume();
}
