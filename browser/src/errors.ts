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

/** The connection is lost, so that it is not known how the command ended, or whether it has started. */
export class DisconnectedError extends Error {
  override readonly name = "DisconnectedError";
  /** How the WebSocket was closed: 1006 without a word, undefined if this end did it. */
  readonly code: number | undefined;

  constructor(message: string, options: { readonly code?: number; readonly cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = options.code;
  }
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

/** Something was asked of a process that has ended. */
export class EndedError extends Error {
  override readonly name = "EndedError";

  constructor() {
    super("process has ended");
  }
}
