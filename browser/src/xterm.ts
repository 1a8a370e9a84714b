import type { IDisposable, ITerminalAddon, Terminal } from "@xterm/xterm";

import { Characters, characterEnd } from "./characters.js";
import type { Process, State } from "./process.js";

export { SafePasteAddon } from "./paste.js";

/** At how many bytes that it has not parsed the terminal gets no more, and at how many it gets more again. */
const HIGH_WATERMARK = 256 << 10;
const LOW_WATERMARK = 64 << 10;

/** How many bytes are written at a time. Only between two writes does the terminal let the page do other things. */
const WRITE_SIZE = 32 << 10;

/**
 * Prepares the terminal for a new screen, in whatever state the last one left it. It ends a sequence that was cut short,
 * leaves the alternate screen, resets modes such as mouse reports and bracketed paste, and clears the screen. The scrollback
 * stays.
 */
const CLEAR = "\x18\x1b[?1049l\x1b[!p\x1b[?1;9;45;66;1000;1002;1003;1004;1006;1016;2004l\x1b[?7h\x1b[0m\x1b[H\x1b[2J";

/** Makes the terminal blank, with its scrollback, in whatever state it is. The title stays. */
const BLANK = "\x18\x1b[20l\x1b[?25h\x1bc";

/**
 * Shows a process in a terminal of xterm.js, and sends it what is typed there:
 *
 *     terminal.loadAddon(new ProcessAddon(client.spawn("bash", { tty: true })));
 *
 * It follows the terminal's size. While a connection is being resumed, input waits, and after that nothing is drawn anew.
 * While there is nothing to resume, it refuses input. When it attaches to a session again, it clears the terminal first, with the
 * scrollback if the session shows that again. It locks stdout and stdin. Disposing of it leaves the process alone.
 */
export class ProcessAddon implements ITerminalAddon {
  readonly #process: Process;
  readonly #disposables: IDisposable[] = [];
  /** xterm.js 6 loses characters whose bytes come in two writes. */
  readonly #characters = new Characters();

  constructor(process: Process) {
    this.#process = process;
  }

  activate(terminal: Terminal): void {
    this.#show(terminal);
    this.#type(terminal);
    this.#followState(terminal);
    this.#process.resize(terminal.rows, terminal.cols);
    this.#disposables.push(terminal.onResize(({ rows, cols }) => this.#process.resize(rows, cols)));
  }

  dispose(): void {
    for (const d of this.#disposables.splice(0)) d.dispose();
  }

  #show(terminal: Terminal): void {
    const reader = this.#process.stdout.getReader();
    this.#disposables.push({ dispose: () => reader.releaseLock() });
    // The process's state tells how it exited.
    show(reader, this.#characters, terminal).catch(() => {});
  }

  #type(terminal: Terminal): void {
    const writer = this.#process.stdin.getWriter();
    const write = (data: string | Uint8Array): void => void writer.write(data).catch(() => {});
    this.#disposables.push(
      terminal.onData(write),
      terminal.onBinary((binary) => write(Uint8Array.from(binary, (c) => c.charCodeAt(0)))),
      { dispose: () => writer.releaseLock() },
    );
  }

  #followState(terminal: Terminal): void {
    const wanted = terminal.options.disableStdin ?? false;
    let shown = this.#process.state.status === "connected";
    const follow = (state: State): void => {
      const connected = state.status === "connected";
      terminal.options.disableStdin = wanted || !takesInput(state);
      if (connected && shown && !state.resumed) this.#clear(terminal);
      shown ||= connected;
    };
    terminal.options.disableStdin = wanted || !takesInput(this.#process.state);
    const stop = this.#process.onStateChange(follow);
    this.#disposables.push({
      dispose: () => {
        stop();
        terminal.options.disableStdin = wanted;
      },
    });
  }

  #clear(terminal: Terminal): void {
    this.#characters.reset();
    terminal.write(this.#process.scrollback > 0 ? BLANK : CLEAR);
  }
}

/** Whether input is sent, or waits. */
function takesInput(state: State): boolean {
  return state.status === "connected" || ("resuming" in state && state.resuming === true);
}

/** Writes the reader's bytes to the terminal, as fast as the terminal parses them. Ends with the stream. */
async function show(reader: ReadableStreamDefaultReader<Uint8Array>, characters: Characters, terminal: Terminal): Promise<void> {
  let unparsed = 0;
  let parsed = (): void => {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const bytes = characters.next(value);
    unparsed += bytes.length;
    write(terminal, bytes, () => {
      unparsed -= bytes.length;
      if (unparsed <= LOW_WATERMARK) parsed();
    });
    if (unparsed >= HIGH_WATERMARK) await new Promise<void>((resolve) => (parsed = resolve));
  }
}

function write(terminal: Terminal, bytes: Uint8Array, parsed: () => void): void {
  let rest = bytes;
  while (rest.length > WRITE_SIZE) {
    const end = characterEnd(rest, WRITE_SIZE);
    terminal.write(rest.subarray(0, end));
    rest = rest.subarray(end);
  }
  terminal.write(rest, parsed);
}
