/** The callbacks of each signal. It has one listener of ours, however many commands share it: runtimes warn of many. */
const callbacks = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls back when the signal is aborted, until the function that is returned is called. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const called = callbacks.get(signal) ?? listen(signal);
  called.add(callback);
  return () => void called.delete(callback);
}

function listen(signal: AbortSignal): Set<() => void> {
  const called = new Set<() => void>();
  callbacks.set(signal, called);
  signal.addEventListener("abort", () => called.forEach((call) => call()), { once: true });
  return called;
}
