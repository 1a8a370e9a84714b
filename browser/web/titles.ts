import { load, save } from "./storage.js";

/**
 * The last titles of sessions. The server does not know them. The list shows them, because an ID means nothing to people. It
 * shows the program of a session without a title.
 */
const KEPT = "wsep.titles";

/** How long a kept title may be, in UTF-16 code units. A program may set a title of megabytes. */
const MAX_TITLE = 200;

function read(): Map<string, string> {
  try {
    const kept: unknown = JSON.parse(load("localStorage", KEPT) ?? "[]");
    return new Map((Array.isArray(kept) ? kept : []).filter(isEntry));
  } catch {
    return new Map();
  }
}

function isEntry(kept: unknown): kept is [string, string] {
  return Array.isArray(kept) && kept.length === 2 && kept.every((part) => typeof part === "string");
}

function write(titles: Map<string, string>): void {
  save("localStorage", KEPT, JSON.stringify([...titles]));
}

/** Cuts a title that is too long. It does not cut within a character. */
export function shortTitle(title: string): string {
  if (title.length <= MAX_TITLE) return title;
  return title.slice(0, MAX_TITLE - 1).replace(/[\uD800-\uDBFF]$/, "") + "…";
}

export function titleOf(id: string): string | undefined {
  return read().get(id);
}

export function keepTitle(id: string, title: string): void {
  write(read().set(id, title));
}

/** Forgets the titles of all sessions but these. */
export function keepOnly(ids: readonly string[]): void {
  const kept = new Set(ids);
  write(new Map([...read()].filter(([id]) => kept.has(id))));
}
