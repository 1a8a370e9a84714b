import { forget, load, save } from "./storage.js";

/** The keys of the sessions that this tab was attached to, in sessionStorage. A session's value is its server's About.since. */
const KEPT = "wsep.attached.";

/** Returns since when the server had run that kept the session, or undefined if this tab was not attached to the session. */
export function attached(id: string): number | undefined {
  const since = load("sessionStorage", KEPT + id);
  return since === null ? undefined : Number(since);
}

export function keepAttached(id: string, since: number): void {
  save("sessionStorage", KEPT + id, String(since));
}

/** Forgets a session that is done. Its ID may name another one later. */
export function forgetAttached(id: string): void {
  forget("sessionStorage", KEPT + id);
}
