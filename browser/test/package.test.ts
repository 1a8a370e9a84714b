import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as client from "@wsep/client";
import * as xterm from "@wsep/client/xterm";

test("the package as it is built", () => {
  assert.deepEqual(Object.keys(client), ["DisconnectedError", "EndedError", "OutcomeError", "StartError", "connect"]);
  assert.deepEqual(Object.keys(xterm), ["ProcessAddon", "SafePasteAddon"]);
  const typed: client.Client = client.connect("ws://host.test", { WebSocket: client.connect as never });
  assert.equal(typeof typed.spawn, "function");
});

test("nothing else is needed to run it", () => {
  assert.equal(JSON.parse(readFileSync("package.json", "utf8")).dependencies, undefined);
  for (const file of ["dist/index.js", "dist/xterm.js"]) {
    const imports = readFileSync(file, "utf8").match(/^(import|export) .*from .*/gm) ?? [];
    assert.deepEqual(imports, []);
  }
});
