import { DisconnectedError, OutcomeError, StartError, toKind } from "./errors.js";
import type { Kind, Loss } from "./errors.js";
import { Echo } from "./echo.js";
import { Credit, Receipts } from "./flow.js";
import { MAX_RECEIVED, MAX_STDIN, ProtocolError, decode, encode, encodeStdin } from "./message.js";
import type { Answer, ExitMessage, Extensions, Request, Start } from "./message.js";
import type { Output } from "./output.js";
import type { Exit } from "./process.js";
import {
  CLOSE_ABNORMAL,
  CLOSE_GOING_AWAY,
  CLOSE_NORMAL,
  CLOSE_TRY_AGAIN_LATER,
  causeOf,
  lossOf,
  onRefusal,
} from "./socket.js";
import type { Socket } from "./socket.js";

/** How long the server has from the beginning to the answer to start. */
const ANSWER_TIMEOUT_MS = 30_000;

/** How much the socket may hold of what was sent. More waits, so that a resize or a signal need not wait for it. */
const MAX_BUFFERED = 1 << 20;
/** How often to look at what the socket holds: there is no event for it. */
const BUFFERED_POLL_MS = 10;

/** How much unread output of a stream is kept of a server without flow control, which can't be made to wait. */
const MAX_UNREAD = 64 << 20;

/** Why a conversation is over before the command has exited. */
export type Failure = StartError | DisconnectedError;

export interface Events {
  /** The command has started. */
  started(pid: number): void;
  /** The command has exited. */
  exited(outcome: Exit | OutcomeError): void;
  /** No more output comes. Without a failure, exited may still follow. */
  over(failure?: Failure): void;
}

type Outputs = { readonly stdout: Output; readonly stderr: Output };

const noExtensions: Extensions = { window: 0, max_message: 0, signal: false, outcome: false, echo: false };

/** One command over one WebSocket. It owns the socket, and fills the outputs. */
export class Conversation {
  readonly #socket: Socket;
  readonly #outputs: Outputs;
  readonly #events: Events;
  readonly #window: number;
  readonly #tty: boolean;
  readonly #echo: Echo;
  readonly #answerTimer: ReturnType<typeof setTimeout>;

  #opened = false;
  /** What the socket's error said. */
  #cause: unknown;
  /** What the server agreed to, from pid on. */
  #peer: Extensions | undefined;
  #exited = false;
  #over = false;
  #credit = new Credit(0);
  #receipts: { readonly stdout: Receipts; readonly stderr: Receipts } | undefined;
  /** Continues a write that waits. */
  #wake: () => void = () => {};

  constructor(socket: Socket, start: Start, outputs: Outputs, events: Events) {
    this.#socket = socket;
    this.#outputs = outputs;
    this.#events = events;
    this.#window = start.extensions?.window ?? 0;
    this.#tty = start.command.tty;
    this.#echo = new Echo(
      (n) => this.request({ type: "echo", n }),
      () => socket.bufferedAmount,
      () => this.#lose("silent", "server does not answer"),
    );
    this.#answerTimer = setTimeout(() => this.#lose("silent", "server does not answer"), ANSWER_TIMEOUT_MS);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#opened = true;
      this.request(start);
    };
    socket.onmessage = (event: { readonly data: unknown }) => this.#receive(event.data);
    socket.onclose = (event: { readonly code: number; readonly reason: string }) => this.#closed(event);
    socket.onerror = (event: { readonly error?: unknown; readonly message?: unknown }) => this.#failed(causeOf(event));
    onRefusal(socket, (status) => this.#finish(refusedWith(status)));
  }

  /** The server takes signal and close. */
  get takesSignals(): boolean {
    return this.#peer?.signal ?? false;
  }

  /** Asks the server whether it is still there, if it answers such questions. Without an answer the conversation is over. */
  probe(): void {
    if (this.#peer?.echo && !this.#over) this.#echo.ask();
  }

  request(request: Request): void {
    if (!this.#over) this.#socket.send(encode(request));
  }

  /** Sends stdin as there is room for it. The result is whether that was possible to the end. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const wake = (): void => this.#wake();
    signal.addEventListener("abort", wake);
    try {
      let rest = bytes;
      while (rest.length > 0) {
        if (this.#over || this.#exited || signal.aborted) return false;
        rest = rest.subarray(this.#writeSome(rest));
        if (rest.length > 0) await this.#room();
      }
      return true;
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Sends as much as there is room for and returns how much that is. */
  #writeSome(bytes: Uint8Array): number {
    let sent = 0;
    while (sent < bytes.length && this.#socket.bufferedAmount < MAX_BUFFERED) {
      const n = Math.min(bytes.length - sent, MAX_STDIN, this.#credit.available);
      if (n === 0) break;
      this.#socket.send(encodeStdin(bytes.subarray(sent, sent + n)));
      this.#credit.spend(n);
      sent += n;
    }
    if (sent > 0 && this.#tty && this.#peer?.echo) this.#echo.typed();
    return sent;
  }

  /** Waits until there may be room for more stdin. */
  async #room(): Promise<void> {
    const full = this.#socket.bufferedAmount >= MAX_BUFFERED;
    let poll: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (full) poll = setTimeout(resolve, BUFFERED_POLL_MS);
    });
    clearTimeout(poll);
  }

  /** Ends the conversation. There is no event. */
  hangUp(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#answerTimer);
    this.#echo.stop();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(CLOSE_NORMAL);
    this.#wake();
  }

  #finish(failure?: Failure): void {
    if (this.#over) return;
    this.hangUp();
    this.#events.over(failure);
  }

  #lose(kind: Loss, message: string, options: { readonly code?: number; readonly cause?: unknown } = {}): void {
    this.#finish(new DisconnectedError(message, { kind, ...options }));
  }

  #receive(data: unknown): void {
    this.#echo.heard();
    try {
      this.#handle(decode(messageBytes(data)));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#lose("protocol", `server broke the protocol: ${error.message}`, { cause: error });
    }
  }

  #handle(answer: Answer): void {
    if (!this.#peer) this.#handleFirst(answer);
    else this.#handleLater(answer);
  }

  #handleFirst(answer: Answer): void {
    switch (answer.type) {
      case "pid":
        clearTimeout(this.#answerTimer);
        this.#agree(answer.extensions ?? noExtensions);
        this.#events.started(answer.pid);
        return;
      case "start_error":
        this.#finish(startFailure(toKind(answer.kind), answer.message));
        return;
      case "ignored":
        if (!answer.known) return;
    }
    throw new ProtocolError("unexpected message before pid");
  }

  #agree(peer: Extensions): void {
    this.#peer = peer;
    this.#credit = new Credit(peer.window);
    if (peer.window === 0) return;
    this.#receipts = {
      stdout: new Receipts(this.#window, (stdout) => this.#ack({ stdout })),
      stderr: new Receipts(this.#window, (stderr) => this.#ack({ stderr })),
    };
    this.#outputs.stdout.consumed = (n) => this.#receipts?.stdout.consume(n);
    this.#outputs.stderr.consumed = (n) => this.#receipts?.stderr.consume(n);
  }

  #ack(offsets: { readonly stdout: number } | { readonly stderr: number }): void {
    this.request({ type: "ack", ...offsets });
  }

  #handleLater(answer: Answer): void {
    switch (answer.type) {
      case "stdout":
      case "stderr":
        this.#output(answer.type, answer.body);
        return;
      case "ack":
        this.#credit.ack(answer.stdin);
        this.#wake();
        return;
      case "echo":
        this.#echo.answered(answer.n);
        return;
      case "exit_code":
        this.#exit(answer);
        return;
      case "end":
        if (!this.#exited) throw new ProtocolError("end without an exit code");
        this.#finish();
    }
  }

  #output(stream: "stdout" | "stderr", bytes: Uint8Array<ArrayBuffer>): void {
    const output = this.#outputs[stream];
    this.#receipts?.[stream].receive(bytes.length);
    output.push(bytes);
    if (!this.#receipts && output.size > MAX_UNREAD) throw new ProtocolError("too much output, and no windows");
  }

  #exit(message: ExitMessage): void {
    if (message.kind === "disconnected") {
      this.#lose("remote", message.error);
      return;
    }
    this.#exited = true;
    // Output ends first: a listener may close the process when it exits, and close() cuts output that has not ended.
    if (!message.pending) this.#finish();
    this.#events.exited(outcome(message));
    this.#wake();
  }

  /** The socket has failed. Before it was open no other event may come: not every runtime fires close then. */
  #failed(cause: unknown): void {
    this.#cause = cause;
    if (!this.#opened) this.#closed({ code: CLOSE_ABNORMAL, reason: "" });
  }

  #closed(event: { readonly code: number; readonly reason: string }): void {
    const { code, reason } = event;
    const cause = this.#cause;
    if (!this.#opened) this.#lose("unreachable", unreachableMessage(cause), { code: CLOSE_ABNORMAL, cause });
    else if (!this.#peer && saysStartFailed(code, reason)) this.#finish(closedStart(code, reason));
    else this.#lose(lossOf(code), lossMessage(code, reason), { code, cause });
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

function startFailure(kind: Kind, message: string): Failure {
  return kind === "disconnected" ? new DisconnectedError(message, { kind: "remote" }) : new StartError(kind, message);
}

/** What a server that sends no start_error puts before the reason. A proxy closes connections for reasons of its own. */
const START_FAILED = /^start command(?: with pty)?: /;

function saysStartFailed(code: number, reason: string): boolean {
  return code !== CLOSE_GOING_AWAY && START_FAILED.test(reason);
}

function closedStart(code: number, reason: string): Failure {
  return startFailure(code === CLOSE_TRY_AGAIN_LATER ? "busy" : "other", reason.replace(START_FAILED, ""));
}

function outcome(message: ExitMessage): Exit | OutcomeError {
  if (message.kind !== "") return new OutcomeError(toKind(message.kind), message.error);
  if (message.signal !== "") return { signal: message.signal };
  if (message.exit_code !== 0) return { code: message.exit_code };
  // A server of v0.2.4 that could not find out says so in the text alone.
  if (message.error !== "") return new OutcomeError("other", message.error);
  return { code: 0 };
}
