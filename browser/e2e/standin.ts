import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";

/**
 * The size of ttyd's page on the line, in bytes. The page is one gzipped file with all scripts in it. The number is
 * index_html_len in src/html.h of ttyd, commit 0179851.
 */
const PAGE_BYTES = 168_967;

/** Acts like ttyd's page, in the same order: it asks for a token, makes a terminal, connects, and sends its size. */
const SCRIPT = `
  import { FitAddon } from "@xterm/addon-fit";
  import { Terminal } from "@xterm/xterm";
  const begin = async () => {
    const { token } = await (await fetch("token")).json();
    globalThis.terminal = new Terminal();
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(document.body);
    fit.fit();
    const socket = new WebSocket(location.href.replace("http", "ws") + "ws", ["tty"]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ AuthToken: token, columns: terminal.cols, rows: terminal.rows }));
    socket.onmessage = ({ data }) => terminal.write(new Uint8Array(data));
  };
  void begin();
`;

/**
 * Runs a stand-in for ttyd, until the tests have ended, and returns its page's address. ttyd itself is in no package. The
 * stand-in has the bytes of ttyd's page and its round trips, xterm.js in the page, and a shell in a terminal. ttyd does more.
 */
export async function standIn(): Promise<string> {
  const page = await compressedPage();
  const server = createServer((request, response) => {
    if (request.url === "/token") response.setHeader("Content-Type", "application/json").end('{"token": ""}');
    else response.setHeader("Content-Type", "text/html").setHeader("Content-Encoding", "gzip").end(page);
  });
  const sockets = new WebSocketServer({ server, handleProtocols: () => "tty" });
  sockets.on("connection", (socket) => socket.once("message", () => runShell(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** Runs a shell in a terminal until the socket is closed. */
function runShell(socket: WebSocket): void {
  const env = { PATH: process.env["PATH"], PS1: "$ ", LANG: "C.UTF-8" };
  const shell = spawn("script", ["-qfc", "bash --norc", "/dev/null"], { env, stdio: ["pipe", "pipe", "ignore"] });
  shell.stdout.on("data", (data) => socket.send(data));
  socket.on("close", () => shell.stdin.end());
}

/** Returns the page, compressed, and padded to the size of ttyd's page. */
async function compressedPage(): Promise<Buffer> {
  const stdin = { contents: SCRIPT, resolveDir: "." };
  const { outputFiles } = await build({ stdin, bundle: true, minify: true, format: "iife", write: false });
  const style = readFileSync("node_modules/@xterm/xterm/css/xterm.css", "utf8");
  const noise = randomBytes(PAGE_BYTES).toString("base64");
  const page = (filling: number) =>
    gzipSync(
      `<!doctype html><link rel="icon" href="data:,"><style>${style}</style><!--${noise.slice(0, filling)}-->` +
        `<body><script>${outputFiles[0]!.text}</script>`,
    );
  let filling = 0;
  for (let tries = 0; tries < 5; tries++) filling += Math.round((PAGE_BYTES - page(filling).length) / 0.76);
  return page(filling);
}
