import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ProtocolError, decode, encode, encodeStdin } from "../src/message.js";
import type { Request } from "../src/message.js";

/** An entry of vectors.json. The specification beside it describes the fields. */
interface Vector {
  name: string;
  direction: "client" | "server" | "any";
  message?: string;
  message_base64?: string;
  body?: string;
  body_base64?: string;
  decoded?: Record<string, unknown> & { type: string };
  error?: "malformed" | "unknown_type";
  canonical?: boolean;
  optional?: boolean;
}

const vectors = JSON.parse(readFileSync("../internal/proto/testdata/vectors.json", "utf8")) as Vector[];

function bytes(text: string | undefined, base64: string | undefined): Uint8Array<ArrayBuffer> {
  return new Uint8Array(base64 === undefined ? Buffer.from(text ?? "") : Buffer.from(base64, "base64"));
}

const message = (v: Vector): Uint8Array<ArrayBuffer> => bytes(v.message, v.message_base64);
const body = (v: Vector): Uint8Array<ArrayBuffer> => bytes(v.body, v.body_base64);

const clientTypes = new Set(["start", "resume", "ask", "stdin", "close_stdin", "resize", "signal", "close", "done"]);

const readable = vectors.filter((v) => v.direction !== "client" || (v.decoded && !v.optional));
const sent = vectors.filter((v) => v.direction !== "server" && v.canonical);

test("there are vectors", () => {
  assert.ok(readable.length > 100, `${readable.length}`);
  assert.ok(sent.length > 15, `${sent.length}`);
  assert.deepEqual(new Set(sent.map((v) => v.decoded?.type)), new Set([...clientTypes, "ack", "echo"]));
});

for (const v of readable) {
  test(`decode: ${v.name}`, () => {
    if (v.error === "malformed") {
      assert.throws(() => decode(message(v)), ProtocolError);
      return;
    }
    assert.deepEqual(decode(message(v)), expected(v));
  });
}

function expected(v: Vector): unknown {
  if (!v.decoded) return { type: "ignored", known: false };
  const { type } = v.decoded;
  if (clientTypes.has(type)) return { type: "ignored", known: true };
  if (type === "stdout" || type === "stderr") return { type, body: body(v) };
  return v.decoded;
}

for (const v of sent) {
  test(`encode: ${v.name}`, () => {
    const encoded = v.decoded?.type === "stdin" ? encodeStdin(body(v)) : encode(request(v));
    assert.equal(Buffer.from(encoded).toString("latin1"), Buffer.from(message(v)).toString("latin1"));
  });
}

/** Returns a vector's decoded form without the fields that are left out if they have their defaults. */
function request(v: Vector): Request {
  const fields: Record<string, unknown> = { ...v.decoded };
  if (fields["type"] === "ack" || fields["type"] === "ask") return withoutDefaults(fields) as unknown as Request;
  for (const name of ["scrollback", "key", "seq", "server", "attempt", "extensions"]) if (!fields[name]) delete fields[name];
  if (fields["extensions"]) fields["extensions"] = withoutDefaults(fields["extensions"] as object);
  return fields as unknown as Request;
}

test("any message is decoded or refused, and nothing else happens", () => {
  let state = 1;
  const random = (n: number): number => (state = (state * 48_271) % 2_147_483_647) % n; // The same in every run.
  for (let i = 0; i < 30_000; i++) {
    const mutated = message(vectors[random(vectors.length)]!);
    for (let j = random(4); j >= 0; j--) mutated[random(mutated.length)] = random(256);
    try {
      decode(mutated.subarray(0, mutated.length - (random(3) === 0 ? random(mutated.length) : 0)));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `${Buffer.from(mutated)}: ${error}`);
    }
  }
});

function withoutDefaults(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== 0 && value !== false && value !== ""));
}
