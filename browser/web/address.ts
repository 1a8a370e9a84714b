/**
 * Reads and writes the fragment of the page's address. It names the session that is shown. In an address that the server
 * printed it holds a token instead. Browsers send no fragment to a server.
 */

const TOKEN = "#token=";

/** Returns the token in the address, if there is one, and removes it from there and from the history. */
export function takeToken(): string | undefined {
  if (!location.hash.startsWith(TOKEN)) return undefined;
  const token = decode(location.hash.slice(TOKEN.length));
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Returns the ID of the session to show. If the address has none, it gets a new one. */
export function sessionID(): string {
  const id = decode(location.hash.slice(1));
  if (id) return id;
  const fresh = newID();
  history.replaceState(null, "", linkTo(fresh));
  return fresh;
}

/** Goes to a session. The event hashchange follows. */
export function goTo(id: string): void {
  location.hash = linkTo(id);
}

export function linkTo(id: string): string {
  return `#${encodeURIComponent(id)}`;
}

/** Decodes a fragment. One that was typed by hand may not be encoded. It is returned as it is. */
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
