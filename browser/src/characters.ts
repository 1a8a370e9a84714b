/** How many bytes a character in UTF-8 has at the most. */
const MAX_LENGTH = 4;

/** Cuts a stream of bytes between characters, never within one. Bytes that are no character in UTF-8 stay as they are. */
export class Characters {
  #held = new Uint8Array(0);

  /** Returns the next bytes of the stream. It holds back a character that is not complete yet. */
  next(chunk: Uint8Array): Uint8Array {
    const bytes = this.#held.length > 0 ? concat(this.#held, chunk) : chunk;
    const end = characterEnd(bytes, bytes.length);
    this.#held = bytes.slice(end);
    return bytes.subarray(0, end);
  }

  /** Drops the character that is held back. Another stream follows. */
  reset(): void {
    this.#held = new Uint8Array(0);
  }
}

/** Returns the largest index up to end that is not within a character. */
export function characterEnd(bytes: Uint8Array, end: number): number {
  for (let back = 1; back < MAX_LENGTH && back <= end; back++) {
    const length = lengthOf(bytes[end - back]!);
    if (length > 0) return length > back ? end - back : end;
  }
  return end;
}

/** Returns the length of the character that begins with a byte, and 0 for a byte within a character. */
function lengthOf(first: number): number {
  if (first < 0x80 || first >= 0xf8) return 1;
  if (first < 0xc0) return 0;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
