const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;

/** How long to wait before an attempt: longer each time, and by chance, so that not all clients come back at once. */
export function delay(attempt: number): number {
  const longest = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1));
  return longest * (0.1 + 0.9 * Math.random());
}

const FIRST_RESUME_MS = 50;
const MAX_RESUME_MS = 5_000;

/** How long to wait before an attempt to take up a conversation, whose server may not wait for long. */
export function resumeDelay(attempt: number): number {
  const longest = Math.min(MAX_RESUME_MS, FIRST_RESUME_MS * 2 ** (attempt - 1));
  return longest * (0.5 + 0.5 * Math.random());
}
