/** Where the browser keeps values: for this tab, or for all tabs of this page until they are removed. */
type Area = "sessionStorage" | "localStorage";

/** Returns a kept value, or null. A browser may forbid storage. Then even reading throws. */
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
    // Then the browser keeps nothing.
  }
}
