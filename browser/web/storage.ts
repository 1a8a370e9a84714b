/** What the browser keeps: for this tab, or for all tabs of this page until it is told otherwise. */
type Area = "sessionStorage" | "localStorage";

/** Returns what is kept, or null. Where the browser lets the page keep nothing, asking is an error in itself. */
export function load(area: Area, key: string): string | null {
  try {
    return globalThis[area].getItem(key);
  } catch {
    return null;
  }
}

/** Keeps a value, and returns whether that was possible: the browser may forbid it, or have no room. */
export function save(area: Area, key: string, value: string): boolean {
  try {
    globalThis[area].setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

export function forget(area: Area, key: string): void {
  try {
    globalThis[area].removeItem(key);
  } catch {
    // What could not be kept need not be forgotten.
  }
}
