const kinds = [
  "disconnected",
  "not_found",
  "not_exist",
  "permission",
  "invalid",
  "busy",
  "unsupported",
  "canceled",
  "deadline",
  "other",
] as const;

/** What kept a command from starting, or from being followed to its end. */
export type Kind = (typeof kinds)[number];

/** The kind of that name. One from a later version is "other". */
export function toKind(name: string): Kind {
  return kinds.find((kind) => kind === name) ?? "other";
}

/** The command did not start. */
export class StartError extends Error {
  override readonly name = "StartError";
  /** Why, for programs; the message says it to people. A server of v0.2.4 can't tell: it is "other" then. */
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Why there is no connection. */
export type Loss =
  /** None could be made. A browser tells no more, whatever the reason. */
  | "unreachable"
  /** The server refused the handshake: `status` says how. */
  | "refused"
  /** The server does not take the token or the cookie: 401 or 403. */
  | "unauthorized"
  /** The token function failed, or did not answer in time: `cause` says why. */
  | "no_token"
  /** The server does not answer. */
  | "silent"
  /** The connection was made, and was closed or broke. */
  | "lost"
  /** One end does not take what the other sends. */
  | "protocol"
  /** Another client has taken over, which has the process's key. */
  | "taken"
  /** A connection further down a chain of servers is lost. */
  | "remote"
  /** close() was called. */
  | "closed";

export interface DisconnectedOptions {
  readonly kind?: Loss | undefined;
  readonly status?: number | undefined;
  readonly code?: number | undefined;
  readonly cause?: unknown;
}

/** The connection is lost, so that it is not known how the command ended, or whether it has started. */
export class DisconnectedError extends Error {
  override readonly name = "DisconnectedError";
  /** Why, for programs; the message says it to people. */
  readonly kind: Loss;
  /** With which HTTP status the server refused the handshake, where that is told: WebSockets of browsers never do. */
  readonly status: number | undefined;
  /** How the WebSocket was closed: 1006 without a word, undefined if this end did it. */
  readonly code: number | undefined;

  constructor(message: string, options: DisconnectedOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = options.kind ?? (options.status === undefined ? "lost" : refusal(options.status));
    this.status = options.status;
    this.code = options.code;
  }
}

function refusal(status: number): Loss {
  return status === 401 || status === 403 ? "unauthorized" : "refused";
}

/** What another attempt does not change. */
const lasting: ReadonlySet<Loss> = new Set<Loss>(["unauthorized", "protocol", "taken", "closed"]);

/** Why a start fails that may go well another time. */
const passing: ReadonlySet<Kind> = new Set<Kind>(["busy", "canceled", "deadline"]);

/** Whether another attempt may go better. */
export function worthRetrying(error: StartError | DisconnectedError): boolean {
  return error instanceof StartError ? passing.has(error.kind) : !lasting.has(error.kind);
}

/** The command has ended, and the server does not know how. */
export class OutcomeError extends Error {
  override readonly name = "OutcomeError";
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** The server has not answered a question about sessions, or not done what was asked. */
export class QuestionError extends Error {
  override readonly name = "QuestionError";
  /** "not_exist" if there is no such session, "unsupported" if the server is of a version that takes no questions. */
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Something was asked of a process that has ended. */
export class EndedError extends Error {
  override readonly name = "EndedError";

  constructor() {
    super("process has ended");
  }
}

/** A command of run has started, and how it exited is not known, or its streams failed: `cause` says why. */
export class RunError extends Error {
  override readonly name = "RunError";
  /** What had come of the outputs, as in a Result. */
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;

  constructor(cause: unknown, written: { stdout: string; stderr: string; truncated: boolean }) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.stdout = written.stdout;
    this.stderr = written.stderr;
    this.truncated = written.truncated;
  }
}
