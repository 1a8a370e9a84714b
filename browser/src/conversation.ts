import { DisconnectedError, OutcomeError, StartError, toKind, worthRetrying } from "./errors.js";
import type { Kind } from "./errors.js";
import { Outbox, Receipts } from "./flow.js";
import type { Idle, Rested } from "./idle.js";
import { Link } from "./link.js";
import type { Close } from "./link.js";
import { MAX_STDIN, ProtocolError } from "./message.js";
import type { Answer, Exit as WireExit, ExitMessage, Extensions, Order, Pid, Request, Resumed, SessionOrigin, Start } from "./message.js";
import { Orders } from "./orders.js";
import type { Output } from "./output.js";
import type { Exit } from "./process.js";
import { CLOSE_GOING_AWAY, CLOSE_NORMAL, CLOSE_RESTART, CLOSE_TRY_AGAIN_LATER } from "./socket.js";
import type { Socket } from "./socket.js";

/** How long the server has from the beginning to the answer to start. */
const ANSWER_TIMEOUT_MS = 30_000;
/**
 * How long it takes to make a connection again, and how long the server then has to answer. An older one never does. A connection
 * that has rested may be lost without notice, and has so long too.
 */
const RESUME_TIMEOUT_MS = 10_000;

/** How old a server's mark may be for the next start. */
const FRESH_MARK_MS = 300_000;

/** How much is taken off a write at a time. */
const MAX_TAKEN = 1 << 20;
/** How often to look at what the socket holds: no event tells. */
const BUFFERED_POLL_MS = 10;

/** How much unread output of a stream is kept if the server has no flow control. Such a server can't be made to wait. */
const MAX_UNREAD = 64 << 20;

/** Why a conversation is over before its time. */
export type Failure = StartError | DisconnectedError;

export interface Events {
  /** The command has started. */
  started(pid: number, session: SessionOrigin): void;
  /** So many bytes of each output do not come, in all. */
  skipped(stdout: number, stderr: number): void;
  /** The command has ended. */
  exited(outcome: Exit | OutcomeError): void;
  /** The connection is lost, or could not be made again: resume is wanted, at once if hurry says so. */
  lost(error: DisconnectedError, hurry: boolean): void;
  /** The conversation goes on over another connection. */
  resumed(): void;
  /** The connection is lost, and no command was started, nor will one be. The conversation is over. */
  unstarted(error: DisconnectedError): void;
  /** No more output comes, nor anything else but exited if there was no failure. */
  over(failure?: Failure): void;
}

type Outputs = { readonly stdout: Output; readonly stderr: Output };

const noExtensions: Extensions = { window: 0, max_message: 0, signal: false, outcome: false, echo: false, resume: 0, session: false };

/**
 * What is said about one command. It fills the outputs, and keeps what the server may not have received. It outlives its
 * connection if both ends can resume: then another one takes its place.
 */
export class Conversation {
  readonly #start: Start;
  readonly #outputs: Outputs;
  readonly #events: Events;

  /** The connection under way, or the one that carries the conversation. */
  #link: Link | undefined;
  /** The link carries the conversation: the server has answered. */
  #attached = false;
  /** The server's mark on the connection that start was sent over, or may have been. */
  #mark: string | undefined;
  /**
   * The server's mark for the next start over this connection, and when it came. Undefined if the connection carries no other
   * conversation.
   */
  #nextMark: { readonly mark: string; readonly at: number } | undefined;
  /** Keeps the connection when the conversation is over. */
  readonly #idle: Idle | undefined;
  /** How many resumes were sent. */
  #resumes = 0;
  /** Ends the wait for another connection; undefined while one carries the conversation. */
  #graceTimer: ReturnType<typeof setTimeout> | undefined;
  /** How long another connection is waited for, in milliseconds. 0 is not at all. */
  #grace: number;

  /** What the server agreed to, from pid on. */
  #peer: Extensions | undefined;
  #exited = false;
  #over = false;
  #outbox = new Outbox(0, false);
  #orders = new Orders(false);
  #receipts: { readonly stdout: Receipts; readonly stderr: Receipts } | undefined;
  #pollTimer: ReturnType<typeof setTimeout> | undefined;
  /** Continues a write that waits. */
  #wake: () => void = () => {};

  /** A start with a key may be resumed, for grace milliseconds after a loss. The line may have carried a conversation before. */
  constructor(line: Socket | Rested, start: Start, grace: number, outputs: Outputs, events: Events, idle?: Idle) {
    this.#start = start;
    this.#idle = idle;
    this.#grace = start.key === undefined ? 0 : grace;
    this.#outputs = outputs;
    this.#events = events;
    const rested = "mark" in line;
    const limit = rested ? RESUME_TIMEOUT_MS : ANSWER_TIMEOUT_MS;
    this.#connect(line, () => this.#link?.send(start), limit, (answer) => this.#handleFirst(answer, rested));
  }

  /** The command has started. */
  get started(): boolean {
    return this.#peer !== undefined;
  }

  /** A connection carries the conversation. */
  get attached(): boolean {
    return this.#attached;
  }

  /** The server takes signal and close. */
  get takesSignals(): boolean {
    return this.#peer?.signal ?? false;
  }

  /** Takes the conversation up over another connection. */
  resume(socket: Socket): void {
    this.#connect(socket, () => this.#link?.send(this.askToResume()), RESUME_TIMEOUT_MS, (answer) => this.#handleResumed(answer));
  }

  /** Gives up the connection that is being made in resume. There is no event. */
  abandon(): void {
    this.#link?.close(undefined);
    this.#link = undefined;
  }

  /** The connection for resume could not even be tried. */
  notMade(error: DisconnectedError): void {
    this.#lostAgain(error);
  }

  /** Asks the server whether it is still there, if it answers such questions. Without an answer the connection is lost. */
  probe(): void {
    if (this.#attached) this.#link?.probe();
  }

  /** Asks for something, as soon as there is room. The result is whether that was possible before the command's end. */
  async ask(order: Order): Promise<boolean> {
    while (this.#orders.full && !this.#over && !this.#exited) await this.#orders.changed();
    if (this.#over || this.#exited) return false;
    this.order(order);
    return true;
  }

  /** Asks for something that comes once, or whose last word counts. */
  order(order: Order): void {
    if (this.#over) return;
    this.#orders.add(order);
    this.#flush();
  }

  endStdin(): void {
    if (this.#over) return;
    this.#orders.endStdin();
    this.#flush();
  }

  /** Sends stdin as there is room for it. The result is whether that was possible to the end. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const wake = (): void => this.#wake();
    signal.addEventListener("abort", wake);
    try {
      for (let rest = bytes; rest.length > 0 || this.#held(); ) {
        if (this.#over || this.#exited || signal.aborted) return false;
        rest = rest.subarray(this.#writeSome(rest));
        if (rest.length > 0 || this.#held()) await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      return true;
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Stdin waits for the socket. */
  #held(): boolean {
    return this.#attached && this.#outbox.unsent > 0;
  }

  /** Takes as much as there is room for and returns how much that is. */
  #writeSome(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length && !this.#held()) {
      const n = Math.min(bytes.length - taken, MAX_TAKEN, this.#outbox.room);
      if (n === 0) break;
      this.#outbox.push(bytes.subarray(taken, taken + n));
      taken += n;
      this.#flush();
    }
    if (taken > 0 && this.#attached && this.#start.command.tty) this.#link?.typed();
    return taken;
  }

  /** Sends what may be sent. */
  #flush(): void {
    const link = this.#link;
    if (!this.#attached || !link) return;
    const send = (order: Order): void => link.send(order);
    const mayType = this.#orders.flushSizes(send);
    while (mayType && this.#outbox.unsent > 0 && !link.full) link.sendStdin(this.#outbox.next(MAX_STDIN));
    this.#orders.flush(send, this.#outbox.unsent === 0);
    if (this.#outbox.unsent > 0) this.#pollTimer ??= setTimeout(() => this.#poll(), BUFFERED_POLL_MS);
    else this.#wake();
  }

  #poll(): void {
    this.#pollTimer = undefined;
    this.#flush();
  }

  /** Ends the conversation. There is no event. */
  hangUp(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#pollTimer);
    this.#receipts?.stdout.stop();
    this.#receipts?.stderr.stop();
    this.#link?.close(CLOSE_NORMAL);
    this.#attached = false;
    this.#orders.wake();
    this.#wake();
  }

  #finish(failure?: Failure): void {
    if (this.#over) return;
    if (!failure) this.#part();
    this.hangUp();
    this.#events.over(failure);
  }

  /** Leaves the connection to another conversation, if it can carry one. */
  #part(): void {
    const next = this.#nextMark;
    if (!this.#idle || !next || Date.now() - next.at > FRESH_MARK_MS) return;
    const socket = this.#link?.release();
    if (socket) this.#idle.put({ socket, mark: next.mark });
  }

  // Connections.

  #connect(line: Socket | Rested, open: () => void, answerMs: number, first: (answer: Answer) => void): void {
    const { socket, mark } = "mark" in line ? line : { socket: line, mark: undefined };
    const events = {
      opened: () => {
        if (this.#graceTimer !== undefined) link.expectAnswer(answerMs);
        open();
      },
      answer: (answer: Answer) => (this.#attached ? this.#handleLater(answer) : first(answer)),
      lost: (error: DisconnectedError, close?: Close) => this.#linkLost(link, error, close),
    };
    const link: Link = new Link(socket, events, mark);
    link.expectAnswer(answerMs);
    this.#link = link;
  }

  #linkLost(link: Link, error: DisconnectedError, close: Close | undefined): void {
    const resuming = this.#graceTimer !== undefined;
    if (!this.#peer && !resuming && close && saysStartFailed(close)) {
      this.#finish(closedStart(close));
      return;
    }
    // An older server ignores resume. It gives no mark.
    const ignored = resuming && link.opened && link.mark === undefined && error.kind === "silent";
    const final = !worthRetrying(error) || ignored;
    if (final || this.#grace === 0 || (!resuming && !link.opened)) {
      this.#finish(resuming ? notResumed(error) : error);
      return;
    }
    if (!resuming) this.#mark = link.mark;
    this.abandon();
    this.#attached = false;
    this.#receipts?.stdout.stop();
    this.#receipts?.stderr.stop();
    this.#lostAgain(error, close);
  }

  /** Has another connection be made, until time is over. */
  #lostAgain(error: DisconnectedError, close?: Close): void {
    if (!worthRetrying(error)) {
      this.#finish(notResumed(error));
      return;
    }
    this.#graceTimer ??= setTimeout(() => this.#finish(notResumed(error)), this.#grace);
    const hurry = close?.code === CLOSE_GOING_AWAY || close?.code === CLOSE_RESTART;
    this.#events.lost(error, hurry);
    this.#wake();
  }

  /** Returns the first message on another connection. The server heeds the newest alone. */
  askToResume(): Request {
    const { key = "", extensions = {} } = this.#start;
    return {
      type: "resume",
      key,
      stdout: this.#receipts?.stdout.received ?? 0,
      stderr: this.#receipts?.stderr.received ?? 0,
      ...(!this.#peer && this.#mark !== undefined && { server: this.#mark }),
      attempt: ++this.#resumes,
      extensions,
    };
  }

  #handleResumed(answer: Answer): void {
    switch (answer.type) {
      case "resumed":
        this.#resumed(answer);
        return;
      case "start_error":
        this.#finish(startFailure(toKind(answer.kind), answer.message));
        return;
      case "resume_error":
        this.#refused(new DisconnectedError(answer.message), answer.never);
        return;
      case "ignored":
        if (!answer.known) return;
    }
    throw new ProtocolError("unexpected message before resumed");
  }

  #refused(error: DisconnectedError, never: boolean): void {
    if (!never || this.#peer) {
      this.#finish(notResumed(error));
      return;
    }
    this.hangUp();
    this.#events.unstarted(error);
  }

  #resumed(answer: Resumed): void {
    this.#marked(answer);
    if (this.#peer) {
      this.#outbox.rewind(answer.stdin);
      this.#orders.rewind(answer.seq);
      this.#attach(this.#peer);
      this.#events.resumed();
    } else {
      this.#begin(answer);
    }
    this.#receipts?.stdout.tell();
    this.#receipts?.stderr.tell();
    this.#flush();
  }

  /** The link carries the conversation from now on. */
  #attach(peer: Extensions): void {
    clearTimeout(this.#graceTimer);
    this.#graceTimer = undefined;
    this.#attached = true;
    if (!this.#link) return;
    this.#link.answered();
    this.#link.echoes = peer.echo;
  }

  // What the server says.

  /** Of the conversation before, these two may still have been on their way. */
  #handleFirst(answer: Answer, rested: boolean): void {
    if (rested && (answer.type === "ack" || answer.type === "echo")) return;
    switch (answer.type) {
      case "pid":
        this.#marked(answer);
        this.#begin(answer);
        return;
      case "start_error":
        this.#finish(startFailure(toKind(answer.kind), answer.message));
        return;
      case "ignored":
        if (!answer.known) return;
    }
    throw new ProtocolError("unexpected message before pid");
  }

  /** The connection may carry another conversation, if the server has given a mark for it. */
  #marked({ server }: Pid | Resumed): void {
    this.#nextMark = server === undefined ? undefined : { mark: server, at: Date.now() };
  }

  #begin({ pid, session, extensions }: Answer & { type: "pid" | "resumed" }): void {
    const peer = extensions ?? noExtensions;
    this.#peer = peer;
    const lasting = peer.resume > 0 && peer.window > 0 && peer.outcome && this.#grace > 0;
    this.#grace = lasting ? Math.min(this.#grace, peer.resume * 1000) : 0;
    this.#outbox = new Outbox(peer.window, lasting);
    this.#orders = new Orders(lasting);
    this.#attach(peer);
    if (peer.window > 0) this.#countOutputs(lasting);
    this.#events.started(pid, session);
  }

  #countOutputs(prompt: boolean): void {
    const window = this.#start.extensions?.window ?? 0;
    const stdout = new Receipts(window, prompt, (stdout) => this.#ack({ stdout }));
    const stderr = new Receipts(window, prompt, (stderr) => this.#ack({ stderr }));
    this.#receipts = { stdout, stderr };
    // What is read after the end starts no timer: Node would wait for that.
    this.#outputs.stdout.consumed = (n) => void (this.#over || stdout.consume(n));
    this.#outputs.stderr.consumed = (n) => void (this.#over || stderr.consume(n));
  }

  #ack(offsets: { readonly stdout: number } | { readonly stderr: number }): void {
    if (this.#attached) this.#link?.send({ type: "ack", ...offsets });
  }

  #handleLater(answer: Answer): void {
    switch (answer.type) {
      case "stdout":
      case "stderr":
        this.#output(answer.type, answer.body);
        return;
      case "ack":
        this.#outbox.ack(answer.stdin);
        this.#orders.taken(answer.seq);
        this.#flush();
        this.#wake();
        return;
      case "skipped":
        this.#events.skipped(answer.stdout, answer.stderr);
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
      this.#finish(new DisconnectedError(message.error, { kind: "remote" }));
      return;
    }
    const again = this.#exited;
    this.#exited = true;
    // Output ends first. A listener that hears of the exit may close the process, and that cuts output which has not ended.
    if (!message.pending) this.#finish();
    if (!again) this.#events.exited(outcome(message));
    this.#orders.wake();
    this.#wake();
  }
}

function notResumed(error: DisconnectedError): DisconnectedError {
  const { kind, status, code } = error;
  return new DisconnectedError(`connection lost, and not resumed: ${error.message}`, { kind, status, code, cause: error });
}

function startFailure(kind: Kind, message: string): Failure {
  return kind === "disconnected" ? new DisconnectedError(message, { kind: "remote" }) : new StartError(kind, message);
}

/** What a server that sends no start_error puts before the reason. A proxy closes connections for reasons of its own. */
const START_FAILED = /^start command(?: with pty)?: /;

function saysStartFailed({ code, reason }: Close): boolean {
  return code !== CLOSE_GOING_AWAY && START_FAILED.test(reason);
}

function closedStart({ code, reason }: Close): Failure {
  return startFailure(code === CLOSE_TRY_AGAIN_LATER ? "busy" : "other", reason.replace(START_FAILED, ""));
}

/** How a command has exited, as a message tells it. */
export function outcome(message: WireExit): Exit | OutcomeError {
  if (message.kind !== "") return new OutcomeError(toKind(message.kind), message.error);
  if (message.signal !== "") return { signal: message.signal };
  if (message.exit_code !== 0) return { code: message.exit_code };
  // A server of v0.2.4 that could not find out says so in the text alone.
  if (message.error !== "") return new OutcomeError("other", message.error);
  return { code: 0 };
}
