import { DisconnectedError, StartError } from "@wsep/client";
import type { Exit, State } from "@wsep/client";

import { RefusedError } from "./server.js";

/** A state in words. */
export interface Words {
  /** What kind of state it is, for its colour. */
  readonly tone: "good" | "busy" | "bad" | "over";
  /** It in two words or so. */
  readonly brief: string;
  /** What there is to say about it. It does not change while the state lasts. Empty if all is well. */
  readonly sentence: string;
  /** What the user can do about it. */
  readonly action?: "retry" | "new";
  /** The shell goes on, and takes what is typed when the connection is back. Nothing changes its screen meanwhile. */
  readonly resuming?: true;
  /** When the page will do something itself, in the milliseconds of Date.now(). */
  readonly at?: number;
}

/** A loss that is over after so many attempts is not worth a sentence. */
const BRIEF_ATTEMPTS = 2;

/** Says where a process is with its connection. known is whether it has been connected before. */
export function describe(state: State, known: boolean): Words {
  if ("resuming" in state && state.resuming && known) return resuming(state);
  switch (state.status) {
    case "connecting":
      return { tone: "busy", brief: known ? "Reconnecting" : "Connecting", sentence: known ? "Reconnecting." : "" };
    case "connected":
      return { tone: "good", brief: "Connected", sentence: "" };
    case "waiting":
      return trouble(state.error, known, state.retryAt);
    case "ended":
      return { tone: "over", brief: "Ended", sentence: ending(state.exit, state.error), action: "new" };
  }
}

/** Says that the connection is lost and will be back, with nothing lost. */
function resuming(state: State & { readonly attempt: number }): Words {
  const words = { tone: "busy", brief: "Reconnecting", resuming: true } as const;
  if (state.attempt <= BRIEF_ATTEMPTS) return { ...words, sentence: "" };
  const sentence = "The connection is lost. The shell goes on, and what you type waits.";
  return { ...words, sentence, action: "retry", ...(state.status === "waiting" && { at: state.retryAt }) };
}

/** Says what is the matter with a connection that is made again at a time. */
export function trouble(error: unknown, known: boolean, at: number): Words {
  return { tone: "bad", brief: "Disconnected", sentence: problem(error, known), action: "retry", at };
}

/** Says that the server refuses the page, whose user can't change that. */
export function refusal(error: RefusedError): Words {
  const sentence = `The server refuses this page, with status ${error.status}. Whoever runs it has to allow the page's address.`;
  return { tone: "bad", brief: "Refused", sentence, action: "retry" };
}

function problem(error: unknown, known: boolean): string {
  if (error instanceof StartError) return sentence(`The server can't take this session now: ${error.message}`);
  const cause = error instanceof DisconnectedError ? error.cause : error;
  if (cause instanceof RefusedError) return sentence(cause.message);
  if (error instanceof DisconnectedError && error.kind === "silent") return "The server does not answer.";
  return known ? "The connection is lost." : "The server can't be reached.";
}

function ending(exit: Exit | undefined, error: unknown): string {
  if (!exit) return sentence(`The session is over: ${error instanceof Error ? error.message : String(error)}`);
  if (exit.signal !== undefined) return `The shell was ended by signal ${exit.signal}.`;
  return exit.code === 0 ? "The shell has ended." : `The shell has ended with code ${exit.code}.`;
}

export function sentence(text: string): string {
  return text.endsWith(".") ? text : `${text}.`;
}

/** How long it is until a time, as a page should say it. */
export function until(at: number): string {
  return `${Math.max(1, Math.ceil((at - Date.now()) / 1000))} s`;
}

/** How long ago a time was. */
export function ago(at: number): string {
  const minutes = Math.round((Date.now() - at) / 60_000);
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (minutes < 1) return "just now";
  if (minutes < 60) return format.format(-minutes, "minute");
  if (minutes < 48 * 60) return format.format(-Math.round(minutes / 60), "hour");
  return format.format(-Math.round(minutes / 60 / 24), "day");
}
