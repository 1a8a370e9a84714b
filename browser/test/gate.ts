import { readFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server as HTTPServer } from "node:http";
import { connect, createServer as listen } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";

import { WebSocketServer } from "ws";

import type { Result } from "./suite.js";

const PAGE = `<!doctype html><base href="/base/"><script type="module" src="/suite.js"></script>`;

/** A proxy to the servers. A connection's path says how to treat it. It also serves the page, and takes its results. */
export class Gate {
  readonly results: Promise<Result[]>;
  readonly #server: HTTPServer;
  readonly #backends: Readonly<Record<string, URL>>;
  /** Both ends of the present connections, by path. */
  readonly #passed = new Map<string, Socket[]>();
  readonly #counts = new Map<string, number>();
  readonly #closing = new WebSocketServer({ noServer: true });
  #take!: (results: Result[]) => void;

  private constructor(backends: Readonly<Record<string, URL>>) {
    this.#backends = backends;
    this.results = new Promise((resolve) => (this.#take = resolve));
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(([type, body]) => response.setHeader("Content-Type", type).end(body));
    });
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Opens a gate to a server, and to another one that asks for a token. */
  static async open(server: string, secret: string): Promise<Gate> {
    const gate = new Gate({ "/secret": new URL(secret), "": new URL(server) });
    gate.#server.listen(0, "127.0.0.1");
    await once(gate.#server, "listening");
    return gate;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  close(): void {
    for (const path of this.#passed.keys()) this.#cut(path);
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage): Promise<[type: string, body: string | Buffer]> {
    const { pathname } = new URL(request.url!, this.address);
    if (pathname === "/suite.js") return ["text/javascript", readFileSync("dist-test/suite.js")];
    if (request.method !== "POST") return ["text/html", PAGE];
    const body = await text(request);
    if (pathname === "/done") this.#done(JSON.parse(body));
    else if (pathname.startsWith("/cut")) this.#cut(pathname);
    else if (pathname === "/freeze") this.#freeze("/frozen");
    else if (pathname === "/closed-port") return ["text/plain", `${await closedPort()}`];
    else if (pathname.startsWith("/count/")) return ["text/plain", `${this.#counts.get(pathname.slice(6)) ?? 0}`];
    return ["text/plain", ""];
  }

  /** Ends dead connections. A runtime that has closed one waits for its end, and no API can hasten that. */
  #done(results: Result[]): void {
    this.#cut("/frozen");
    this.#take(results);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = request.url!;
    const [, way, how] = path.split("/");
    this.#counts.set(path, (this.#counts.get(path) ?? 0) + 1);
    socket.on("error", () => {});
    if (way === "reset") socket.destroy();
    else if (way === "status") socket.end(`HTTP/1.1 ${how} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    else if (way !== "closed") this.#pass(path, request, socket as Socket);
    else {
      this.#closing.handleUpgrade(request, socket, head, (client) => {
        client.once("message", () => client.close(Number(how), "the proxy's own reason"));
      });
    }
  }

  #pass(path: string, { rawHeaders }: IncomingMessage, near: Socket): void {
    const { port, hostname } = this.#backends[path] ?? this.#backends[""]!;
    const far = connect(Number(port), hostname);
    this.#passed.set(path, [...(this.#passed.get(path) ?? []), near, far]);
    let head = "GET / HTTP/1.1\r\n";
    for (let i = 0; i < rawHeaders.length; i += 2) head += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
    far.write(`${head}\r\n`);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.on("error", () => {});
      socket.on("close", () => other.destroy());
      socket.pipe(other);
    }
  }

  #cut(path: string): void {
    for (const socket of this.#passed.get(path) ?? []) socket.destroy();
  }

  /** Stops passing bytes on, without closing anything. */
  #freeze(path: string): void {
    for (const socket of this.#passed.get(path) ?? []) socket.unpipe().pause();
  }
}

/** Returns a port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = listen().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
