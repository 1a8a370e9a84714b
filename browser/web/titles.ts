import { load, save } from "./storage.js";

/**
 * The titles that sessions had last. The server does not know them, and an ID means nothing to people. Where they can't be
 * kept, a session is called by its program.
 */
const KEPT = "wsep.titles";

/** How much of a title there is room for, in UTF-16. A program may set one of megabytes. */
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

/** Cuts a title that is too long, and not within a character. */
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
