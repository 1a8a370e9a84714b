/**
 * What the address says: which session is shown, in the fragment, which no server is sent. An address that the server
 * printed has a token there instead.
 */

const TOKEN = "#token=";

/** Returns the token in the address, if there is one, and removes it from there and from the history. */
export function takeToken(): string | undefined {
  if (!location.hash.startsWith(TOKEN)) return undefined;
  const token = decode(location.hash.slice(TOKEN.length));
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Returns the ID of the session to show. An address without one gets that of a new session. */
export function sessionID(): string {
  const id = decode(location.hash.slice(1));
  if (id) return id;
  const fresh = newID();
  history.replaceState(null, "", linkTo(fresh));
  return fresh;
}

/** Goes to a session, which hashchange tells. */
export function goTo(id: string): void {
  location.hash = linkTo(id);
}

export function linkTo(id: string): string {
  return `#${encodeURIComponent(id)}`;
}

/** Takes what was typed by hand, too. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Returns a random ID, in letters that are easy to read aloud. */
export function newID(): string {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => letters[n % letters.length]).join("");
}
