// Encodes what a client sends and decodes what a server sends. internal/proto/README.md is the specification.

/** The largest message that every server takes, in bytes, header and newline included. */
export const MAX_SENT = 64_000;

/** The largest message that this client takes. */
export const MAX_RECEIVED = 262_144;

/** The largest message that may come between two conversations: an ack with four numbers. */
export const MAX_RESTING = 128;

export const MIN_WINDOW = 4096;

export interface Extensions {
  readonly window: number;
  readonly max_message: number;
  readonly signal: boolean;
  readonly outcome: boolean;
  readonly echo: boolean;
  /** How many seconds the server waits for a client whose connection is lost. */
  readonly resume: number;
  /** Whether pid tells where a session comes from. */
  readonly session: boolean;
  /** For how many seconds after its exit the server remembers a command without a terminal. */
  readonly keep?: number;
  /** Whether the connection may carry another conversation after this one. */
  readonly reuse?: boolean;
  /** Whether large stdin messages may be masked with zero. This client can't choose masks, so it never offers that. */
  readonly zero_mask?: boolean;
}

/** Where a session comes from: empty without a session, or if the server does not tell. */
export type SessionOrigin = "" | "created" | "found";

/** The command in a start message, with its fields in their canonical order. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly rows: number;
  readonly cols: number;
  readonly uid: number;
  readonly gid: number;
  readonly env: readonly string[];
  readonly working_dir: string;
}

export interface Start {
  readonly type: "start";
  readonly id: string;
  readonly command: Command;
  readonly scrollback?: number;
  readonly key?: string;
  readonly extensions?: Partial<Extensions>;
}

/** Takes up a conversation over another connection. */
export interface Resume {
  readonly type: "resume";
  readonly key: string;
  readonly stdout: number;
  readonly stderr: number;
  /** The server's mark on the connection for start, as long as pid has not come. */
  readonly server?: string;
  readonly attempt?: number;
  readonly extensions?: Partial<Extensions>;
}

/** What is asked of the command. The server may have its requests numbered. */
export type Order =
  | { readonly type: "close_stdin"; readonly seq?: number }
  | { readonly type: "close"; readonly seq?: number }
  | { readonly type: "resize"; readonly rows: number; readonly cols: number; readonly seq?: number }
  | { readonly type: "signal"; readonly signal: string; readonly seq?: number };

/** A question about sessions. It is the first message on its connection. */
export interface Ask {
  readonly type: "ask";
  readonly question: string;
  readonly id?: string;
  readonly reason?: string;
  readonly signal?: string;
}

/** A message of a client, save stdin, in the canonical order of its fields. */
export type Request =
  | Start
  | Resume
  | Ask
  | Order
  | { readonly type: "done" }
  | { readonly type: "ack"; readonly stdout?: number; readonly stderr?: number }
  | { readonly type: "echo"; readonly n: number };

export interface ExitMessage {
  readonly type: "exit_code";
  readonly exit_code: number;
  readonly error: string;
  readonly signal: string;
  readonly kind: string;
  readonly pending: boolean;
}

/** The answer to start. */
export interface Pid {
  readonly type: "pid";
  readonly pid: number;
  readonly session: SessionOrigin;
  /** The server's mark for the next start, if the connection may carry another conversation. */
  readonly server?: string;
  readonly extensions: Extensions | null;
}

/** The answer to resume. */
export interface Resumed {
  readonly type: "resumed";
  readonly pid: number;
  readonly session: SessionOrigin;
  readonly stdin: number;
  readonly seq: number;
  readonly server?: string;
  readonly extensions: Extensions | null;
}

/** A session in the answer to a question. `age` is how many microseconds ago it was started. */
export interface Session {
  readonly id: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly tty: boolean;
  readonly working_dir: string;
  readonly age: number;
  readonly clients: number;
  readonly state: string;
  readonly last_line: string;
  readonly stdout: number;
  readonly stderr: number;
  readonly exit: Exit | null;
}

/** How the command of a session has exited, as in {@link ExitMessage}. */
export type Exit = Pick<ExitMessage, "exit_code" | "error" | "signal" | "kind">;

/** A message of a server. A body that its type has no use for is gone. */
export type Answer =
  | Pid
  | { readonly type: "stdout" | "stderr"; readonly body: Uint8Array<ArrayBuffer> }
  | Resumed
  | { readonly type: "resume_error"; readonly kind: string; readonly message: string; readonly never: boolean }
  | { readonly type: "ack"; readonly stdin: number; readonly stdout: number; readonly stderr: number; readonly seq: number }
  | { readonly type: "echo"; readonly n: number }
  | { readonly type: "skipped"; readonly stdout: number; readonly stderr: number }
  | ExitMessage
  | { readonly type: "end" }
  | { readonly type: "start_error"; readonly kind: string; readonly message: string }
  | { readonly type: "asked" }
  | { readonly type: "sessions"; readonly sessions: readonly Session[]; readonly more: boolean }
  | { readonly type: "ask_error"; readonly kind: string; readonly message: string }
  | Ignored;

/** What a server has no reason to send: known if a client would send it. */
export interface Ignored {
  readonly type: "ignored";
  readonly known: boolean;
}

/** The peer does not speak the protocol. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const NEWLINE = 0x0a;

const stdinHeader = encoder.encode('{"type":"stdin"}\n');
const outputHeaders = {
  stdout: encoder.encode('{"type":"stdout"}\n'),
  stderr: encoder.encode('{"type":"stderr"}\n'),
} as const;

/** How much of stdin a message has room for. */
export const MAX_STDIN: number = MAX_SENT - stdinHeader.length;

export function encode(request: Request): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(request));
}

export function encodeStdin(body: Uint8Array): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(stdinHeader.length + body.length);
  message.set(stdinHeader);
  message.set(body, stdinHeader.length);
  return message;
}

/** Decodes a message, or throws a ProtocolError. */
export function decode(message: Uint8Array<ArrayBuffer>): Answer {
  for (const type of ["stdout", "stderr"] as const) {
    const header = outputHeaders[type];
    if (startsWith(message, header)) return { type, body: message.subarray(header.length) };
  }
  const newline = message.indexOf(NEWLINE);
  const header = newline < 0 ? message : message.subarray(0, newline);
  const body = newline < 0 ? message.subarray(message.length) : message.subarray(newline + 1);
  return interpret(parse(header), body);
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && prefix.every((b, i) => bytes[i] === b);
}

type Fields = Readonly<Record<string, unknown>>;

function parse(header: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(header));
  } catch {
    throw new ProtocolError("header is no JSON");
  }
  return object(value, "header");
}

function interpret(fields: Fields, body: Uint8Array<ArrayBuffer>): Answer {
  const type = string(fields, "type");
  switch (type) {
    case "":
      throw new ProtocolError("header has no type");
    case "stdout":
    case "stderr":
      return { type, body };
    case "pid":
      return {
        type,
        pid: integer(fields, "pid"),
        session: sessionOrigin(fields),
        ...mark(fields),
        extensions: extensions(fields["extensions"]),
      };
    case "resumed":
      return {
        type,
        pid: integer(fields, "pid"),
        session: sessionOrigin(fields),
        stdin: integer(fields, "stdin", 0),
        seq: integer(fields, "seq", 0),
        ...mark(fields),
        extensions: extensions(fields["extensions"]),
      };
    case "resume_error":
      return { type, kind: string(fields, "kind"), message: string(fields, "message"), never: boolean(fields, "never") };
    case "ack":
      return {
        type,
        stdin: integer(fields, "stdin", 0),
        stdout: integer(fields, "stdout", 0),
        stderr: integer(fields, "stderr", 0),
        seq: integer(fields, "seq", 0),
      };
    case "echo":
      return { type, n: integer(fields, "n") };
    case "skipped":
      return { type, stdout: integer(fields, "stdout", 0), stderr: integer(fields, "stderr", 0) };
    case "exit_code":
      return {
        type,
        exit_code: integer(fields, "exit_code"),
        error: string(fields, "error"),
        signal: string(fields, "signal"),
        kind: string(fields, "kind"),
        pending: boolean(fields, "pending"),
      };
    case "end":
      return { type };
    case "start_error":
    case "ask_error":
      return { type, kind: string(fields, "kind"), message: string(fields, "message") };
    case "asked":
      return { type };
    case "sessions":
      return { type, sessions: array(fields, "sessions").map(session), more: boolean(fields, "more") };
    default:
      return { type: "ignored", known: clientTypes.has(type) };
  }
}

const clientTypes: ReadonlySet<string> = new Set([
  "start",
  "resume",
  "ask",
  "stdin",
  "close_stdin",
  "resize",
  "signal",
  "close",
  "done",
]);

function session(value: unknown): Session {
  const fields = object(value, "session");
  return {
    id: string(fields, "id"),
    command: string(fields, "command"),
    args: array(fields, "args").map((arg) => string({ arg }, "arg")),
    tty: boolean(fields, "tty"),
    working_dir: string(fields, "working_dir"),
    age: integer(fields, "age", 0),
    clients: integer(fields, "clients", 0),
    state: string(fields, "state"),
    last_line: string(fields, "last_line"),
    stdout: integer(fields, "stdout", 0),
    stderr: integer(fields, "stderr", 0),
    exit: exit(fields["exit"]),
  };
}

function exit(value: unknown): Exit | null {
  if (value === undefined || value === null) return null;
  const fields = object(value, "exit");
  return {
    exit_code: integer(fields, "exit_code"),
    error: string(fields, "error"),
    signal: string(fields, "signal"),
    kind: string(fields, "kind"),
  };
}

function extensions(value: unknown): Extensions | null {
  if (value === undefined || value === null) return null;
  const fields = object(value, "extensions");
  const keep = integer(fields, "keep", 0);
  return {
    window: atLeast(MIN_WINDOW, fields, "window"),
    max_message: atLeast(MAX_SENT, fields, "max_message"),
    signal: boolean(fields, "signal"),
    outcome: boolean(fields, "outcome"),
    echo: boolean(fields, "echo"),
    resume: integer(fields, "resume", 0),
    session: boolean(fields, "session"),
    ...(keep > 0 && { keep }),
    ...(boolean(fields, "reuse") && { reuse: true }),
    ...(boolean(fields, "zero_mask") && { zero_mask: true }),
  };
}

function mark(fields: Fields): { readonly server?: string } {
  const server = string(fields, "server");
  return server === "" ? {} : { server };
}

function sessionOrigin(fields: Fields): SessionOrigin {
  const value = string(fields, "session");
  return value === "created" || value === "found" ? value : "";
}

/** An extension's number, which is 0 if the extension is not named. */
function atLeast(min: number, fields: Fields, name: string): number {
  const n = integer(fields, name, 0);
  if (n !== 0 && n < min) throw new ProtocolError(`${name} of ${n} bytes, must be at least ${min}`);
  return n;
}

function object(value: unknown, name: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError(`${name} is no object`);
  }
  return value as Fields;
}

function integer(fields: Fields, name: string, min = Number.MIN_SAFE_INTEGER): number {
  const value = fields[name] ?? 0;
  if (!Number.isSafeInteger(value) || (value as number) < min) throw malformed(name);
  return value as number;
}

function string(fields: Fields, name: string): string {
  const value = fields[name] ?? "";
  if (typeof value !== "string") throw malformed(name);
  return value;
}

function boolean(fields: Fields, name: string): boolean {
  const value = fields[name] ?? false;
  if (typeof value !== "boolean") throw malformed(name);
  return value;
}

function array(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name] ?? [];
  if (!Array.isArray(value)) throw malformed(name);
  return value;
}

function malformed(name: string): ProtocolError {
  return new ProtocolError(`malformed ${name}`);
}
