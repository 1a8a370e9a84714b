import { connect } from "@wsep/client";
import type { Process } from "@wsep/client";
import { ProcessAddon } from "@wsep/client/xterm";
import type { Terminal } from "@xterm/xterm";

import { describe } from "./status.js";
import type { Words } from "./status.js";
import type { About, Server } from "./server.js";

/** Empties a terminal of one session for the next. The first byte ends a sequence that was cut short. */
const RESET = "\x18\x1bc";

/** A session, shown in the terminal until it is left. The session itself goes on. */
export class Session {
  readonly #process: Process;
  readonly #leaving = new AbortController();

  constructor(terminal: Terminal, server: Server, about: About, id: string, changed: (words: Words) => void) {
    const client = connect(".", { token: () => server.admittedToken(), signal: this.#leaving.signal });
    this.#process = client.spawn(about.shell, {
      tty: true,
      id,
      rows: terminal.rows,
      cols: terminal.cols,
      cwd: about.home,
      env: environment(about),
    });
    this.#follow(changed);
    terminal.write(RESET);
    const addon = new ProcessAddon(this.#process);
    terminal.loadAddon(addon);
    this.#leaving.signal.addEventListener("abort", () => addon.dispose());
  }

  retry(): void {
    this.#process.retry();
  }

  leave(): void {
    this.#leaving.abort();
  }

  #follow(changed: (words: Words) => void): void {
    let known = false;
    const tell = (): void => {
      if (this.#leaving.signal.aborted) return;
      const { state } = this.#process;
      changed(describe(state, known));
      known ||= state.status === "connected";
    };
    tell();
    this.#process.onStateChange(tell);
  }
}

/** Bash tells where it is as the title, unless its user has it do something else. Other shells are left alone. */
function environment(about: About): Record<string, string> {
  if (!/\bbash$/.test(about.shell)) return {};
  return { PROMPT_COMMAND: `printf '\\033]0;%s: %s\\007' "\${HOSTNAME%%.*}" "\${PWD/#"$HOME"/\\~}"` };
}
