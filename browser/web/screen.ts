import type { Process } from "@wsep/client";
import { ProcessAddon, SafePasteAddon } from "@wsep/client/xterm";
import { FitAddon } from "@xterm/addon-fit";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";

import { SCROLLBACK, fontOf } from "./cells.js";
import { onThemeChange, theme } from "./theme.js";

/** Clears the terminal for another session. The first byte ends a sequence that was cut short. */
const RESET = "\x18\x1bc";

/** Makes a terminal that fills an element, and follows its size. */
export function createTerminal(parent: HTMLElement): Terminal {
  const terminal = new Terminal({
    allowProposedApi: true, // for Unicode 11
    cursorBlink: true,
    ...fontOf(parent),
    linkHandler: { activate: (_, address) => openLink(address) },
    macOptionClickForcesSelection: true,
    minimumContrastRatio: 4.5,
    scrollback: SCROLLBACK,
    theme: theme(),
  });
  terminal.loadAddon(new Unicode11Addon());
  terminal.unicode.activeVersion = "11"; // Sessions and most programs count columns so.
  terminal.loadAddon(new WebLinksAddon((_, address) => openLink(address)));
  terminal.open(parent);
  terminal.loadAddon(new SafePasteAddon());
  fill(parent, terminal);
  onThemeChange((changed) => (terminal.options.theme = changed));
  return terminal;
}

/** Shows a process in a terminal until the signal is aborted. */
export function display(process: Process, terminal: Terminal, left: AbortSignal): void {
  terminal.write(RESET);
  const addon = new ProcessAddon(process);
  terminal.loadAddon(addon);
  left.addEventListener("abort", () => addon.dispose());
}

function fill(parent: HTMLElement, terminal: Terminal): void {
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(parent);
}

/** Opens the address of a link. xterm.js makes links of web addresses only. */
function openLink(address: string): void {
  window.open(address, "_blank", "noopener,noreferrer");
}
