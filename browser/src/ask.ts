import { onAbort } from "./abort.js";
import { outcome } from "./conversation.js";
import { QuestionError, toKind } from "./errors.js";
import type { DisconnectedError, OutcomeError } from "./errors.js";
import { Link } from "./link.js";
import { MAX_SENT, encode } from "./message.js";
import type { Answer, Ask, Session } from "./message.js";
import type { Exit } from "./process.js";
import { CLOSE_NORMAL } from "./socket.js";
import type { Socket } from "./socket.js";

/** A session of the server. All texts come from programs and clients: show them as text. The server may cut long ones. */
export interface SessionInfo {
  readonly id: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Whether it runs in a terminal. */
  readonly tty: boolean;
  /** Where it was started. Empty for the server's own directory. */
  readonly cwd: string;
  /** When it was started, in milliseconds as in Date.now(). */
  readonly started: number;
  /** How many clients are attached. */
  readonly clients: number;
  /** "starting", "running", "exited" or "closing". A later version may have others. */
  readonly state: string;
  /** The last line of its screen, or of what it has written, that is not blank. Empty if the server does not know it. */
  readonly lastLine: string;
  /** How many bytes a command without a terminal has written. */
  readonly written: { readonly stdout: number; readonly stderr: number };
  /** How it has exited, if its state is "exited". */
  readonly exit: Exit | OutcomeError | undefined;
}

/** How to ask. The members are those of a client. */
export interface Asking {
  readonly protocols: (signal: AbortSignal) => Promise<string[]>;
  readonly dial: (protocols: string[]) => Socket;
  readonly signal: AbortSignal | undefined;
}

/** How long the server has to take a question, in milliseconds. A server that does not know questions never does. */
const TAKEN_TIMEOUT_MS = 10_000;
/** How long the answer may take after that. To end a command takes up to a minute. */
const ANSWER_TIMEOUT_MS = 90_000;

/** The code of a server that has waited for a start. */
const CLOSE_POLICY = 1008;

export async function listSessions(asking: Asking): Promise<SessionInfo[]> {
  const all: SessionInfo[] = [];
  await ask(asking, { type: "ask", question: "list" }, (answer) => {
    if (answer.type !== "sessions") return false;
    all.push(...answer.sessions.map(describe));
    return !answer.more;
  });
  return all;
}

export async function closeSession(asking: Asking, id: string, reason: string): Promise<void> {
  await ask(asking, { type: "ask", question: "close", id, reason }, (answer) => answer.type === "end");
}

/** Asks a question over a connection of its own. take gets the messages of the answer, until it returns true. */
async function ask(asking: Asking, question: Ask, take: (answer: Answer) => boolean): Promise<void> {
  if (encode(question).length > MAX_SENT) throw new QuestionError("not_exist", "there is no session with an ID so long");
  const { signal: ending } = asking;
  ending?.throwIfAborted();
  const stopping = new AbortController();
  const deafen = ending && onAbort(ending, () => stopping.abort(ending.reason));
  const { signal } = stopping;
  try {
    const protocols = await asking.protocols(signal);
    signal.throwIfAborted();
    await converse(asking.dial(protocols), question, signal, take);
  } finally {
    deafen?.();
  }
}

function converse(socket: Socket, question: Ask, signal: AbortSignal, take: (answer: Answer) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let taken = false;
    const link = new Link(socket, {
      opened: () => link.send(question),
      answer: (answer) => {
        if (answer.type === "ask_error") {
          end(new QuestionError(toKind(answer.kind), answer.message));
        } else if (answer.type === "asked") {
          taken = true;
          link.expectAnswer(ANSWER_TIMEOUT_MS);
        } else if (taken && take(answer)) {
          end();
        }
      },
      lost: (error) => end(!taken && isIgnored(link, error) ? new QuestionError("unsupported", "server takes no questions") : error),
    });
    const end = (error?: unknown): void => {
      link.close(CLOSE_NORMAL);
      if (error === undefined) resolve();
      else reject(error);
    };
    link.expectAnswer(TAKEN_TIMEOUT_MS);
    signal.addEventListener("abort", () => end(signal.reason));
  });
}

/** Whether the server has not understood the question: it has closed the connection for the lack of a start, or is silent. */
function isIgnored(link: Link, { kind, code }: DisconnectedError): boolean {
  return link.opened && (kind === "silent" || code === CLOSE_POLICY);
}

function describe(session: Session): SessionInfo {
  const { id, command, args, tty, working_dir, age, clients, state, last_line, stdout, stderr, exit } = session;
  return {
    id,
    command,
    args,
    tty,
    cwd: working_dir,
    started: Date.now() - age / 1000,
    clients,
    state,
    lastLine: last_line,
    written: { stdout, stderr },
    exit: exit === null ? undefined : outcome(exit),
  };
}
