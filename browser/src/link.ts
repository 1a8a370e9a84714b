import { Echo } from "./echo.js";
import { DisconnectedError } from "./errors.js";
import type { Loss } from "./errors.js";
import { MAX_RECEIVED, ProtocolError, decode, encode, encodeStdin } from "./message.js";
import type { Answer, Request } from "./message.js";
import { CLOSE_ABNORMAL, CLOSE_NORMAL, causeOf, lossOf, onMark, onRefusal } from "./socket.js";
import type { Socket } from "./socket.js";

/** How much the socket may hold of what was sent. More waits, so that a resize or a signal need not wait for it. */
const MAX_BUFFERED = 1 << 20;

/** How a WebSocket was closed. */
export interface Close {
  readonly code: number;
  readonly reason: string;
}

export interface LinkEvents {
  /** The connection is made, and the first message may be sent. */
  opened(): void;
  /** A message has come. A ProtocolError that this throws ends the link. */
  answer(answer: Answer): void;
  /** The link is over. There is a close if the other end has closed it. */
  lost(error: DisconnectedError, close?: Close): void;
}

/** One connection. It owns the socket, and has no more events when it is over. */
export class Link {
  readonly #socket: Socket;
  readonly #events: LinkEvents;
  readonly #echo: Echo;
  #answerTimer: ReturnType<typeof setTimeout> | undefined;
  #opened = false;
  #over = false;
  /** What the socket's error said. */
  #cause: unknown;
  /** Whether the server answers echoes. */
  echoes = false;
  /** The server's mark, where the socket tells it. */
  mark: string | undefined;

  /** The server's mark is given for a socket that has carried a conversation before. It is open. */
  constructor(socket: Socket, events: LinkEvents, mark?: string) {
    this.#socket = socket;
    this.#events = events;
    this.#echo = new Echo(
      (n) => this.send({ type: "echo", n }),
      () => socket.bufferedAmount,
      () => this.#silent(),
    );
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#opened = true;
      events.opened();
    };
    socket.onmessage = (event: { readonly data: unknown }) => this.#receive(event.data);
    socket.onclose = (event: Close) => this.#closed(event);
    socket.onerror = (event: { readonly error?: unknown; readonly message?: unknown }) => this.#failed(causeOf(event));
    if (mark === undefined) {
      onRefusal(socket, (status) => this.#finish(refusedWith(status)));
      onMark(socket, (told) => (this.mark = told));
      return;
    }
    this.mark = mark;
    this.#opened = true;
    queueMicrotask(() => this.#over || events.opened());
  }

  /** Whether anything may have been sent. */
  get opened(): boolean {
    return this.#opened;
  }

  /** Whether the socket has so much to send that more should wait. */
  get full(): boolean {
    return this.#socket.bufferedAmount >= MAX_BUFFERED;
  }

  /** The server has so long for its answer. It takes the place of an earlier call. */
  expectAnswer(ms: number): void {
    this.answered();
    this.#answerTimer = setTimeout(() => this.#silent(), ms);
  }

  answered(): void {
    clearTimeout(this.#answerTimer);
  }

  send(request: Request): void {
    if (!this.#over) this.#socket.send(encode(request));
  }

  sendStdin(bytes: Uint8Array): void {
    this.#socket.send(encodeStdin(bytes));
  }

  /** Asks the server whether it is still there, if it answers such questions. Without an answer the link is lost. */
  probe(): void {
    if (this.echoes && !this.#over) this.#echo.ask();
  }

  /** Something was typed. A server answers that as a rule. */
  typed(): void {
    if (this.echoes) this.#echo.typed();
  }

  /**
   * Ends the link, and leaves its socket to another conversation. There is no event. It does nothing, and returns undefined, while
   * something is on its way to the server.
   */
  release(): Socket | undefined {
    if (this.#over || this.#socket.bufferedAmount > 0) return undefined;
    this.send({ type: "done" });
    this.#end();
    return this.#socket;
  }

  /** Ends the link. There is no event. Without a code the server does not take it for the client's last word. */
  close(code: typeof CLOSE_NORMAL | undefined): void {
    if (this.#over) return;
    this.#end();
    this.#socket.close(code);
  }

  #end(): void {
    this.#over = true;
    this.answered();
    this.#echo.stop();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
  }

  #receive(data: unknown): void {
    this.#echo.heard();
    try {
      const answer = decode(messageBytes(data));
      if (answer.type === "echo") this.#echo.answered(answer.n);
      this.#events.answer(answer);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#lose("protocol", `server broke the protocol: ${error.message}`, { cause: error });
    }
  }

  #silent(): void {
    this.#lose("silent", "server does not answer");
  }

  #lose(kind: Loss, message: string, options: { readonly code?: number; readonly cause?: unknown } = {}, close?: Close): void {
    this.#finish(new DisconnectedError(message, { kind, ...options }), close);
  }

  /** Tells of the end. What is told closes the socket: it knows with which code. */
  #finish(error: DisconnectedError, close?: Close): void {
    if (!this.#over) this.#events.lost(error, close);
  }

  /** The socket has failed. Before it was open that is all there is to come: not every runtime then closes it. */
  #failed(cause: unknown): void {
    this.#cause = cause;
    if (!this.#opened) this.#closed({ code: CLOSE_ABNORMAL, reason: "" });
  }

  #closed(close: Close): void {
    const { code, reason } = close;
    const cause = this.#cause;
    if (!this.#opened) this.#lose("unreachable", unreachableMessage(cause), { code: CLOSE_ABNORMAL, cause });
    else this.#lose(lossOf(code), lossMessage(code, reason), { code, cause }, close);
  }
}

function unreachableMessage(cause: unknown): string {
  const why = cause instanceof Error ? cause.message : "";
  return `connection could not be made${why && `: ${why}`}`;
}

function refusedWith(status: number): DisconnectedError {
  return new DisconnectedError(`server refuses the connection with status ${status}`, { status });
}

function lossMessage(code: number, reason: string): string {
  if (reason !== "") return `connection lost: ${reason}`;
  return code === CLOSE_ABNORMAL ? "connection lost" : `connection lost: closed with code ${code}`;
}

function messageBytes(data: unknown): Uint8Array<ArrayBuffer> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data as ArrayBuffer);
  if (bytes.length > MAX_RECEIVED) throw new ProtocolError(`message of ${bytes.length} bytes`);
  return bytes;
}
