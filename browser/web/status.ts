import { DisconnectedError, StartError } from "@wsep/client";
import type { Exit, State } from "@wsep/client";

import { RefusedError } from "./server.js";

/** What a button can do: try again, start a new session, or hide the sentence. */
export type Action = "retry" | "new" | "hide";

/** A state of a session, in words. */
export interface Words {
  /** The kind of state. It decides the color. */
  readonly tone: "good" | "busy" | "bad" | "done";
  /** The state in one word or two. */
  readonly brief: string;
  /** The state, or news, in a sentence. It does not change while the state lasts. Empty if all is well. */
  readonly sentence: string;
  /** What the user can do about it. */
  readonly action?: Action;
  /** The shell goes on. It gets typed text when the connection is back, and its screen stays until then. */
  readonly resuming?: true;
  /** When the page tries again by itself, in milliseconds as in Date.now(). */
  readonly at?: number;
}

/** The page shows a sentence about a lost connection after this many attempts. */
const BRIEF_ATTEMPTS = 2;

/** Describes a process's state. known tells whether it has been connected before, and news is a sentence for its user, or "". */
export function describe(state: State, known: boolean, news: string): Words {
  if ("resuming" in state && state.resuming && known) return resuming(state);
  switch (state.status) {
    case "connecting":
      return { tone: "busy", brief: known ? "Reconnecting" : "Connecting", sentence: known ? "Reconnecting." : "" };
    case "connected":
      return { tone: "good", brief: "Connected", sentence: news, ...(news && { action: "hide" as const }) };
    case "waiting":
      return trouble(state.error, known, state.retryAt);
    case "ended":
      return { tone: "done", brief: "Ended", sentence: ending(state.exit, state.error), action: "new" };
  }
}

/** Says that a session has a new shell in the place of the one that its user knows. restarted tells whether the server was. */
export function newShell(restarted: boolean): string {
  const why = restarted ? "The server has restarted." : "The session has ended meanwhile.";
  return `${why} This is a new shell.`;
}

/** Describes a lost connection that the client replaces. Nothing is lost with it. */
function resuming(state: State & { readonly attempt: number }): Words {
  const words = { tone: "busy", brief: "Reconnecting", resuming: true } as const;
  if (state.attempt <= BRIEF_ATTEMPTS) return { ...words, sentence: "" };
  const sentence = "The connection is lost. The shell goes on, and what you type waits.";
  return { ...words, sentence, action: "retry", ...(state.status === "waiting" && { at: state.retryAt }) };
}

/** Describes a failure after which the page tries again at a time. */
export function trouble(error: unknown, known: boolean, at: number): Words {
  return { tone: "bad", brief: "Disconnected", sentence: problem(error, known), action: "retry", at };
}

/** Describes a refusal by the server. The user can't change it. */
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
  if (!exit) return sentence(`The session has ended: ${error instanceof Error ? error.message : String(error)}`);
  if (exit.signal !== undefined) return `The shell was ended by signal ${exit.signal}.`;
  return exit.code === 0 ? "The shell has exited." : `The shell has exited with code ${exit.code}.`;
}

export function sentence(text: string): string {
  return text.endsWith(".") ? text : `${text}.`;
}

/** How long it is until a time, in words for the page. */
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
