/** The titles that sessions had last. The server does not know them, and an ID tells nobody anything. */
const KEPT = "wsep.titles";

type Titles = Record<string, string>;

function read(): Titles {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  } catch {
    return {};
  }
}

export function titleOf(id: string): string | undefined {
  return read()[id];
}

export function keepTitle(id: string, title: string): void {
  localStorage.setItem(KEPT, JSON.stringify({ ...read(), [id]: title }));
}

/** Forgets the titles of all sessions but these. */
export function keepOnly(ids: readonly string[]): void {
  const titles = Object.entries(read()).filter(([id]) => ids.includes(id));
  localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(titles)));
}
