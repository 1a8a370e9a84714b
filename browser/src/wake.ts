/** How often to look at the clock, and by how much it must be off for the machine to have slept. */
const TICK_MS = 5_000;
const JUMP_MS = 10_000;

/** What is called when the network may have changed without a word. While there is any, the moments are watched for. */
const listeners = new Set<() => void>();
/** What is called when the page goes for good. */
const leavers = new Set<() => void>();
let ticking: ReturnType<typeof setInterval> | undefined;
let tickedAt = 0;

/**
 * Calls back when the network comes back, when the page comes into view or back from the browser's cache, and when the clock
 * has jumped, until the function that is returned is called.
 */
export function onWake(listener: () => void): () => void {
  return listen(listeners, listener);
}

/**
 * Calls back when the page goes for good, until the function that is returned is called. A page that the browser keeps may
 * come back.
 */
export function onLeave(listener: () => void): () => void {
  return listen(leavers, listener);
}

function listen(set: Set<() => void>, listener: () => void): () => void {
  if (listeners.size + leavers.size === 0) watch();
  set.add(listener);
  return () => {
    if (set.delete(listener) && listeners.size + leavers.size === 0) unwatch();
  };
}

function leave(event: Event): void {
  if ((event as PageTransitionEvent).persisted) return;
  for (const listener of [...leavers]) listener();
}

function wake(): void {
  for (const listener of [...listeners]) listener();
}

/** A page is also shown when it has been loaded. Then nothing has changed. */
function shown(event: Event): void {
  if ((event as PageTransitionEvent).persisted) wake();
}

function looked(): void {
  if (globalThis.document.visibilityState === "visible") wake();
}

function tick(): void {
  const now = Date.now();
  const off = Math.abs(now - tickedAt - TICK_MS);
  tickedAt = now;
  if (off > JUMP_MS) wake();
}

function watch(): void {
  tickedAt = Date.now();
  ticking = setInterval(tick, TICK_MS);
  // Node would wait for it.
  (ticking as { unref?(): void }).unref?.();
  // Node has no such events, a worker no document.
  globalThis.addEventListener?.("online", wake);
  globalThis.addEventListener?.("pageshow", shown);
  globalThis.addEventListener?.("pagehide", leave);
  globalThis.document?.addEventListener("visibilitychange", looked);
}

function unwatch(): void {
  clearInterval(ticking);
  globalThis.removeEventListener?.("online", wake);
  globalThis.removeEventListener?.("pageshow", shown);
  globalThis.removeEventListener?.("pagehide", leave);
  globalThis.document?.removeEventListener("visibilitychange", looked);
}
