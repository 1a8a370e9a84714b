import { DisconnectedError } from "./errors.js";

/** A token, or a function that gets one. Its signal is aborted when the answer is not needed any more. */
export type TokenSource = string | ((signal: AbortSignal) => string | Promise<string>);

/** How long a token is waited for. */
const TOKEN_TIMEOUT_MS = 30_000;

/** What to offer in a handshake: the caller's protocols, and the token if there is one. */
export async function protocols(offered: readonly string[], source: TokenSource, signal: AbortSignal): Promise<string[]> {
  return offer(offered, typeof source === "string" ? source : await ask(source, signal));
}

/** Adds a token to what is offered, if it is not empty. */
export function offer(offered: readonly string[], token: string): string[] {
  if (!token) return [...offered];
  // A WebSocket refuses what is offered twice.
  return [...new Set([...offered, "wsep", `wsep.token.${base64url(new TextEncoder().encode(token))}`])];
}

async function ask(source: Exclude<TokenSource, string>, signal: AbortSignal): Promise<string> {
  const asking = new AbortController();
  const stop = (): void => asking.abort(signal.reason);
  signal.addEventListener("abort", stop);
  const timer = setTimeout(() => asking.abort(new Error("the token function does not answer")), TOKEN_TIMEOUT_MS);
  try {
    return await Promise.race([source(asking.signal), aborted(asking.signal)]);
  } catch (cause) {
    if (cause instanceof DisconnectedError) throw cause;
    throw new DisconnectedError("there is no token to connect with", { kind: "no_token", cause });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

export function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
