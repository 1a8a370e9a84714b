import { SafePasteAddon } from "@wsep/client/xterm";
import { FitAddon } from "@xterm/addon-fit";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";

import { onThemeChange, theme } from "./theme.js";

/** Makes the terminal in an element. It fills that, whatever size it takes. */
export function createTerminal(parent: HTMLElement): Terminal {
  const terminal = new Terminal({
    allowProposedApi: true, // for Unicode graphemes
    cursorBlink: true,
    fontFamily: getComputedStyle(parent).getPropertyValue("--mono"),
    fontSize: matchMedia("(pointer: coarse)").matches ? 13 : 14,
    lineHeight: 1.15,
    linkHandler: { activate: (_, address) => openLink(address) },
    macOptionClickForcesSelection: true,
    minimumContrastRatio: 4.5,
    scrollback: 10_000,
    theme: theme(),
  });
  terminal.loadAddon(new UnicodeGraphemesAddon());
  terminal.loadAddon(new WebLinksAddon((_, address) => openLink(address)));
  terminal.open(parent);
  terminal.loadAddon(new SafePasteAddon());
  fill(parent, terminal);
  onThemeChange((changed) => (terminal.options.theme = changed));
  return terminal;
}

function fill(parent: HTMLElement, terminal: Terminal): void {
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(parent);
}

/** Opens an address that a program has named. It is one of the web: others xterm.js makes no links. */
function openLink(address: string): void {
  window.open(address, "_blank", "noopener,noreferrer");
}
