import { DisconnectedError, worthRetrying } from "./errors.js";
import { Link } from "./link.js";
import type { Request } from "./message.js";
import { resumeDelay } from "./retry.js";
import { CLOSE_NORMAL } from "./socket.js";
import type { Socket } from "./socket.js";

/** How a client reaches the server that waits for it. */
export interface Line {
  readonly protocols: (signal: AbortSignal) => Promise<string[]>;
  readonly dial: (protocols: string[]) => Socket;
  /** Returns the first message on a connection, another one each time. */
  readonly resume: () => Request;
}

/** How long a client tries to take leave. */
const LEAVE_TIMEOUT_MS = 5_000;

/**
 * Tells the server of a command that was given up without a connection that nobody wants the command any more, over a new
 * connection. If that can't be made soon, the server ends the command when the time is over that it has granted.
 */
export async function takeLeave(line: Line): Promise<void> {
  const leaving = new AbortController();
  const timer = setTimeout(() => leaving.abort(), LEAVE_TIMEOUT_MS);
  for (let attempt = 1; !(await tryToLeave(line, leaving.signal)); attempt++) {
    await new Promise((resolve) => setTimeout(resolve, resumeDelay(attempt)));
    if (leaving.signal.aborted) return;
  }
  clearTimeout(timer);
}

/** Makes one connection. The result is whether another one is of no use. */
async function tryToLeave({ protocols, dial, resume }: Line, late: AbortSignal): Promise<boolean> {
  try {
    const offered = await protocols(late);
    // The handlers are set in the same turn as the socket is made.
    return await sayGoodbye(dial(offered), late, resume);
  } catch (error) {
    return error instanceof DisconnectedError && !worthRetrying(error);
  }
}

/** Asks for the conversation, and closes the connection for good once there is an answer. The result is as above. */
function sayGoodbye(socket: Socket, late: AbortSignal, resume: () => Request): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (useless: boolean, code?: typeof CLOSE_NORMAL): void => {
      link.close(code);
      resolve(useless);
    };
    const link = new Link(socket, {
      opened: () => link.send(resume()),
      answer: (answer) => {
        if (answer.type !== "ignored" || answer.known) end(true, CLOSE_NORMAL);
      },
      lost: (error) => end(!worthRetrying(error)),
    });
    if (late.aborted) end(true);
    else late.addEventListener("abort", () => end(true), { once: true });
  });
}
