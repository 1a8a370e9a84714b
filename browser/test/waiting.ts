import assert from "node:assert/strict";

import type { Process, State } from "../src/index.js";

/** Waits until a process's state is this. */
export async function stateIs(process: Process, status: State["status"]): Promise<void> {
  if (process.state.status === status) return;
  await new Promise<void>((resolve) => {
    const stop = process.onStateChange((state) => {
      if (state.status !== status) return;
      stop();
      resolve();
    });
  });
}

/** Reads until the text matches, and returns the text. */
export async function readUntil(reader: ReadableStreamDefaultReader<Uint8Array>, wanted: RegExp): Promise<string> {
  const decoder = new TextDecoder();
  for (let all = ""; ; ) {
    const { done, value } = await reader.read();
    assert.ok(!done, `the end, after ${JSON.stringify(all)}`);
    all += decoder.decode(value, { stream: true });
    if (wanted.test(all)) return all;
  }
}
