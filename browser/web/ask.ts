/** How long a request may take. Without a limit, the page would wait for ever for a request that the network has lost. */
const REQUEST_TIMEOUT_MS = 10_000;

/** Asks the server that the page came from. */
export function ask(method: string, path: string, token: string): Promise<Response> {
  const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(path, { method, headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
}
