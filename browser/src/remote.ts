import { onAbort } from "./abort.js";
import { checkSize } from "./command.js";
import { Conversation } from "./conversation.js";
import type { Events, Failure } from "./conversation.js";
import { DisconnectedError, EndedError, OutcomeError, StartError, worthRetrying } from "./errors.js";
import { takeLeave } from "./leave.js";
import type { Idle, Rested } from "./idle.js";
import { MAX_SENT, encode } from "./message.js";
import type { Start } from "./message.js";
import { Output, readAll } from "./output.js";
import type { Chunk, Exit, Finished, Process, State } from "./process.js";
import { delay, resumeDelay } from "./retry.js";
import type { Socket } from "./socket.js";
import { base64url } from "./token.js";
import { onLeave, onWake } from "./wake.js";

/** How long a connection must have held for the next loss to count as the first. */
const HELD_MS = 10_000;

/** How old an attempt to connect must be to be given up for another when the network may have changed. */
const STALE_MS = 2_000;

/** How many starts in a row may be lost on their way, when the server says that they will never arrive. */
const MAX_UNSTARTED = 5;

/** How long the server has for ending a command that was closed, its own grace included. */
const CLOSE_TIMEOUT_MS = 10_000;

export interface Plan {
  readonly start: Start;
  /** Returns the subprotocols to offer in the handshake. The signal's abort says that they are no longer wanted. */
  readonly protocols: (signal: AbortSignal) => Promise<string[]>;
  /** Makes a connection. */
  readonly dial: (protocols: string[]) => Socket;
  /** Connections that earlier commands have left. */
  readonly idle: Idle;
  /** How long a lost connection may be replaced, in milliseconds, so that nothing is lost with it. 0 is not at all. */
  readonly resume: number;
  /** Whether to start again when the connection is lost for good: the start leads back to a session. */
  readonly reconnect: boolean;
  /** What ends it when one of them is aborted. */
  readonly signals: readonly AbortSignal[];
  /** How long it may take, in milliseconds. */
  readonly timeout: number | undefined;
  /** What the command is told when stdin is aborted. */
  readonly stdinAbort: "close" | "eof";
}

/** The state of the connection. While the command runs the process's state tells the same. */
type Phase = "connecting" | "connected" | "waiting" | "over";

/** A process over one conversation, or over one after the other. */
export class RemoteProcess implements Process {
  readonly stdin: WritableStream<Chunk>;
  readonly started: Promise<void>;
  readonly exited: Promise<Exit>;

  readonly #plan: Plan;
  readonly #outputs = { stdout: new Output(), stderr: new Output() } as const;
  readonly #listeners = new Set<(state: State) => void>();
  #stdinController!: WritableStreamDefaultController;
  #settleStarted!: Settle<void>;
  #settleExited!: Settle<Exit>;

  #state: State = { status: "connecting", attempt: 1 };
  #phase: Phase = "connecting";
  #pid: number | undefined;
  #session: "created" | "found" | undefined;
  #skipped = { stdout: 0, stderr: 0 };
  #rows: number;
  #cols: number;
  #attempt = 0;
  /** The conversation has lost its connection. */
  #lostConversation = false;
  /** How many starts in a row never arrived. */
  #unstartedTimes = 0;
  #attemptedAt = 0;
  #connectedAt = 0;
  #closing = false;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;
  #timeoutTimer: ReturnType<typeof setTimeout> | undefined;
  /** What listens to signals, to be called when they have no more to say. */
  #deafen: (() => void)[] = [];
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  /** Aborted when another attempt to connect has taken the place of the one under way, or none is wanted any more. */
  #attempting = new AbortController();
  /** What is being held, from the first socket to its end. It outlives its connections if it can be resumed. */
  #conversation: Conversation | undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#rows = plan.start.command.rows;
    this.#cols = plan.start.command.cols;
    this.started = promise<void>((settle) => (this.#settleStarted = settle));
    this.exited = promise<Exit>((settle) => (this.#settleExited = settle));
    this.stdin = new WritableStream({
      start: (controller) => void (this.#stdinController = controller),
      write: (chunk, controller) => this.#writeStdin(chunk, controller.signal),
      close: () => this.#closeStdin(),
      abort: () => this.#abortStdin(),
    });
    this.#begin();
  }

  get pid(): number | undefined {
    return this.#pid;
  }

  get session(): "created" | "found" | undefined {
    return this.#session;
  }

  get skipped(): { readonly stdout: number; readonly stderr: number } {
    return this.#skipped;
  }

  get scrollback(): number {
    return this.#plan.start.scrollback ?? 0;
  }

  get stdout(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#outputs.stdout.stream;
  }

  get stderr(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#outputs.stderr.stream;
  }

  get state(): State {
    return this.#state;
  }

  onStateChange(listener: (state: State) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  retry(): void {
    if (this.#phase === "waiting") void this.#connect(this.#attempt);
    else if (this.#phase === "connecting" && (this.#plan.reconnect || this.#resuming)) this.#connectAnew();
  }

  resize(rows: number, cols: number): void {
    if (rows === this.#rows && cols === this.#cols) return;
    checkSize(rows, cols);
    this.#rows = rows;
    this.#cols = cols;
    this.#sendSize();
  }

  async signal(name: string): Promise<void> {
    if (typeof name !== "string") throw new TypeError("signal has no name");
    await this.started;
    if (this.#hasEnded()) throw this.#whyEnded();
    if (!this.#conversation?.started) throw new DisconnectedError("there is no connection");
    if (!this.#conversation.takesSignals) throw new DOMException("server takes no signals", "NotSupportedError");
    if (await this.#conversation.ask({ type: "signal", signal: name.replace(/^SIG/, "") })) return;
    if (this.#hasEnded()) throw this.#whyEnded();
    throw new DisconnectedError("there is no connection");
  }

  async output(): Promise<Finished> {
    const all = [readAll(this.stdout), readAll(this.stderr), this.exited] as const;
    const [stdout, stderr, exit] = await Promise.all(all);
    return { exit, stdout, stderr };
  }

  async text(): Promise<string> {
    const dropped = this.stderr.locked ? undefined : this.stderr.cancel();
    const [stdout] = await Promise.all([readAll(this.stdout), this.exited, dropped]);
    return new TextDecoder().decode(stdout);
  }

  close(): Promise<Exit> {
    this.#askToEnd();
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  #askToEnd(): void {
    const ask = this.#state.status !== "ended" && this.#conversation?.takesSignals;
    if (!ask) {
      this.#disconnect(new DisconnectedError("process was closed", { kind: "closed" }));
      return;
    }
    if (this.#closing) return;
    this.#closing = true;
    this.#conversation?.order({ type: "close" });
    const late = new DisconnectedError("process was closed, and did not end in time", { kind: "closed" });
    this.#closeTimer = setTimeout(() => this.#disconnect(late), CLOSE_TIMEOUT_MS);
  }

  // Connections.

  #begin(): void {
    const { signals, start } = this.#plan;
    const problem = startProblem(start);
    const aborted = signals.find((signal) => signal.aborted);
    if (aborted) this.#disconnect(aborted.reason);
    else if (problem) this.#disconnect(problem);
    else this.#heed();
    if (this.#state.status === "connecting") void this.#connect(1);
  }

  /** Heeds what may end the process from outside. */
  #heed(): void {
    const { signals, timeout } = this.#plan;
    this.#deafen = signals.map((signal) => onAbort(signal, () => this.#disconnect(signal.reason)));
    this.#deafen.push(onWake(() => this.#woken()));
    // A server that waits for this client would wait in vain.
    const left = (): void => this.#disconnect(new DisconnectedError("the page was left", { kind: "closed" }));
    this.#deafen.push(onLeave(left));
    if (timeout === undefined) return;
    const late = (): void => this.#disconnect(new DOMException(`not done within ${timeout} ms`, "TimeoutError"));
    this.#timeoutTimer = setTimeout(late, timeout);
  }

  /** The network may have changed without a word. */
  #woken(): void {
    if (this.#phase === "connected") this.#conversation?.probe();
    else if (this.#phase === "waiting" || Math.abs(Date.now() - this.#attemptedAt) > STALE_MS) this.retry();
  }

  /** The command runs, or may run, and what there is of its conversation waits for another connection. */
  get #resuming(): boolean {
    return this.#conversation !== undefined && this.#lostConversation;
  }

  async #connect(attempt: number): Promise<void> {
    clearTimeout(this.#retryTimer);
    this.#phase = "connecting";
    this.#attempt = attempt;
    this.#attemptedAt = Date.now();
    const { signal } = (this.#attempting = new AbortController());
    this.#setState({ status: "connecting", attempt, ...this.#marks() });
    if (signal.aborted) return; // A listener has had enough.
    const rested = this.#conversation ? undefined : this.#plan.idle.take();
    if (rested) {
      this.#converse(rested);
      return;
    }
    try {
      const protocols = await this.#plan.protocols(signal);
      // The handlers are set in the same turn as the socket is made. An event before that would be lost.
      if (!signal.aborted) this.#converse(this.#plan.dial(protocols));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof DisconnectedError)) this.#disconnect(error);
      else if (this.#conversation) this.#conversation.notMade(error);
      else this.#lost(error);
    }
  }

  /** What a state says beside its status while the command goes on without a connection. */
  #marks(): { readonly resuming?: true } {
    return this.#resuming ? { resuming: true } : {};
  }

  /** Makes the next attempt to connect in the place of the one under way. */
  #connectAnew(): void {
    this.#attempting.abort();
    if (this.#resuming) {
      this.#conversation?.abandon();
    } else {
      this.#conversation?.hangUp();
      this.#conversation = undefined;
    }
    void this.#connect(this.#attempt + 1);
  }

  /** Takes the conversation up over a socket, or begins one. */
  #converse(line: Socket | Rested): void {
    if (this.#conversation) {
      this.#conversation.resume(line as Socket); // Only a new one is taken for that.
      return;
    }
    const { start, resume } = this.#plan;
    const [rows, cols] = [this.#rows, this.#cols];
    const events: Events = {
      started: (pid, session) => {
        this.#session = session || undefined;
        this.#startedAs(pid);
        if (rows !== this.#rows || cols !== this.#cols) this.#sendSize();
      },
      skipped: (stdout, stderr) => (this.#skipped = { stdout, stderr }),
      exited: (outcome) => this.#exitedWith(outcome),
      lost: (error, hurry) => this.#resumeLater(error, hurry),
      resumed: () => this.#resumed(),
      unstarted: (error) => this.#unstarted(error),
      over: (failure) => this.#conversationOver(failure),
    };
    const command = { ...start.command, rows, cols };
    this.#lostConversation = false;
    this.#conversation = new Conversation(line, keyed({ ...start, command }, resume), resume, this.#outputs, events, this.#plan.idle);
  }

  #startedAs(pid: number): void {
    this.#pid = pid;
    this.#unstartedTimes = 0;
    this.#phase = "connected";
    this.#lostConversation = false;
    this.#connectedAt = Date.now();
    // A session shows its screen anew. Of a first connection nothing is there yet.
    this.#outputs.stdout.clear();
    this.#outputs.stderr.clear();
    this.#settleStarted.resolve();
    this.#setState({ status: "connected" });
  }

  #exitedWith(outcome: Exit | OutcomeError): void {
    this.#end(outcome instanceof OutcomeError ? { error: outcome } : { exit: outcome });
    // After close() output that the command left behind is not wanted.
    if (this.#closing) this.#disconnect(new DisconnectedError("process was closed", { kind: "closed" }));
  }

  #resumed(): void {
    this.#phase = "connected";
    this.#lostConversation = false;
    this.#setState({ status: "connected", resumed: true });
  }

  /** Has another connection made for the conversation. */
  #resumeLater(error: DisconnectedError, hurry: boolean): void {
    const attempt = this.#lostConversation ? this.#attempt + 1 : 1;
    this.#lostConversation = true;
    this.#wait(attempt, hurry && attempt === 1 ? 0 : resumeDelay(attempt), error);
  }

  /** The start never arrived, and never will. */
  #unstarted(error: DisconnectedError): void {
    this.#conversation = undefined;
    if (this.#closing) this.#fail(error);
    else if (++this.#unstartedTimes > MAX_UNSTARTED) this.#lost(error);
    else void this.#connect(1);
  }

  #conversationOver(failure: Failure | undefined): void {
    if (this.#lostConversation) this.#attempt = 0; // The attempts were others.
    this.#attempting.abort();
    clearTimeout(this.#retryTimer);
    this.#conversation = undefined;
    if (failure && this.#state.status !== "ended") {
      this.#lost(failure);
      return;
    }
    this.#phase = "over";
    this.#closeOutputs(failure ? { error: failure } : {});
  }

  #lost(failure: Failure): void {
    if (!worthRetrying(failure) || !this.#plan.reconnect || this.#closing) {
      this.#fail(failure);
      return;
    }
    const held = this.#phase === "connected" && Date.now() - this.#connectedAt >= HELD_MS;
    const attempt = held ? 1 : this.#attempt + 1;
    this.#wait(attempt, delay(attempt), failure);
  }

  #wait(attempt: number, ms: number, error: Failure): void {
    this.#phase = "waiting";
    this.#attempt = attempt;
    this.#retryTimer = setTimeout(() => void this.#connect(attempt), ms);
    this.#setState({ status: "waiting", attempt, retryAt: Date.now() + ms, error, ...this.#marks() });
  }

  /** Ends all that is under way. */
  #disconnect(error: unknown): void {
    clearTimeout(this.#retryTimer);
    this.#attempting.abort();
    if (this.#resuming) this.#takeLeave();
    this.#conversation?.hangUp();
    this.#conversation = undefined;
    this.#fail(error);
  }

  /** Tells the server, which waits for another connection, that there is no use. */
  #takeLeave(): void {
    const { dial, protocols } = this.#plan;
    const conversation = this.#conversation;
    if (conversation) void takeLeave({ protocols, dial, resume: () => conversation.askToResume() });
  }

  #fail(error: unknown): void {
    this.#phase = "over";
    this.#end({ error });
    this.#closeOutputs({ error });
  }

  /** Settles how the process ended. The first word counts. */
  #end(outcome: { readonly exit: Exit } | { readonly error: unknown }): void {
    if (this.#hasEnded()) return;
    clearTimeout(this.#closeTimer);
    clearTimeout(this.#timeoutTimer);
    if ("exit" in outcome) {
      this.#settleExited.resolve(outcome.exit);
      this.#setState({ status: "ended", exit: outcome.exit });
    } else {
      this.#settleStarted.reject(outcome.error);
      this.#settleExited.reject(outcome.error);
      this.#setState({ status: "ended", error: outcome.error });
    }
    this.#stdinController.error(this.#whyEnded());
  }

  /** Ends the streams, and what waits for the connection's end. */
  #closeOutputs(end: { readonly error?: unknown }): void {
    for (const stop of this.#deafen) stop();
    this.#outputs.stdout.close(end);
    this.#outputs.stderr.close(end);
  }

  // What is sent.

  #sendSize(): void {
    if (!this.#conversation?.started || !this.#plan.start.command.tty) return;
    this.#conversation.order({ type: "resize", rows: this.#rows, cols: this.#cols });
  }

  async #writeStdin(chunk: Chunk, signal: AbortSignal): Promise<void> {
    if (!this.#plan.start.command.stdin) throw new TypeError("stdin is not enabled for this command");
    const bytes = bytesOf(chunk);
    if (!bytes) {
      void this.#closeStdin().catch(() => {}); // The stream has failed, and does not close its sink itself.
      throw new TypeError("stdin takes bytes and strings");
    }
    await this.started;
    if (this.#state.status !== "ended") {
      if (!this.#conversation?.started) return;
      if (await this.#conversation.write(bytes, signal)) return;
    }
    if (this.#hasEnded()) throw this.#whyEnded();
    if (signal.aborted) throw signal.reason; // Some of it may have been sent.
  }

  /** As a function, because the compiler takes it that nothing changes during an await. */
  #hasEnded(): boolean {
    return this.#state.status === "ended";
  }

  /** Why nothing reaches the command any more: it has ended, or that can't be known. */
  #whyEnded(): unknown {
    const error = this.#state.status === "ended" ? this.#state.error : undefined;
    return error === undefined || error instanceof OutcomeError ? new EndedError() : error;
  }

  async #closeStdin(): Promise<void> {
    if (!this.#plan.start.command.stdin) return;
    await this.started;
    if (this.#conversation?.started) this.#conversation.endStdin();
  }

  async #abortStdin(): Promise<void> {
    if (!this.#plan.start.command.stdin) return;
    if (this.#plan.stdinAbort === "eof") await this.#closeStdin();
    else void this.close();
  }

  /** Tells the listeners of a state. The end is the last one: unread output after it is no state. */
  #setState(state: State): void {
    if (this.#hasEnded()) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) {
      if (this.#state !== state) return; // A listener has caused the next state, and all were told of that.
      call(listener, state);
    }
  }
}

/** Calls a listener whose errors are none of the caller's business. */
function call(listener: (state: State) => void, state: State): void {
  try {
    listener(state);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

interface Settle<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** Returns a promise whose rejection may be ignored. */
function promise<T>(use: (settle: Settle<T>) => void): Promise<T> {
  const p = new Promise<T>((resolve, reject) => use({ resolve, reject }));
  p.catch(() => {});
  return p;
}

function bytesOf(chunk: Chunk): Uint8Array | undefined {
  if (typeof chunk === "string") return new TextEncoder().encode(chunk);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return undefined;
}

/** Why a command can't be sent, if it can't. */
function startProblem(start: Start): StartError | undefined {
  const { args, command, env, working_dir } = start.command;
  if ([start.id, command, working_dir, ...args, ...env].some((s) => /\p{Surrogate}/u.test(s))) {
    return new StartError("invalid", "command has half a character of UTF-16, which can't be sent");
  }
  const size = encode(keyed(start, 1)).length;
  if (size <= MAX_SENT) return undefined;
  return new StartError("invalid", `arguments and environment make a message of ${size} bytes, peers take ${MAX_SENT}`);
}

/** Gives a start a random key if it may be resumed. The key is the right to the conversation. */
function keyed(start: Start, resume: number): Start {
  if (resume === 0) return start;
  const { extensions, ...rest } = start;
  return { ...rest, key: base64url(crypto.getRandomValues(new Uint8Array(32))), ...(extensions && { extensions }) };
}
