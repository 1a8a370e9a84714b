/** How long a request may take. One that the network has swallowed would else be waited for without end. */
const REQUEST_TIMEOUT_MS = 10_000;

/** Asks the server that the page came from. */
export function ask(method: string, path: string, token: string): Promise<Response> {
  const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(path, { method, headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
}
