import { SafePasteAddon } from "@wsep/client/xterm";
import { FitAddon } from "@xterm/addon-fit";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
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
  drawFast(terminal);
  fill(parent, terminal);
  onThemeChange((changed) => (terminal.options.theme = changed));
  return terminal;
}

/** Draws with WebGL, where a graphics card does that. */
function drawFast(terminal: Terminal): void {
  if (!hasGraphicsCard()) return;
  const webgl = new WebglAddon();
  webgl.onContextLoss(() => webgl.dispose());
  try {
    terminal.loadAddon(webgl);
  } catch {
    webgl.dispose();
  }
}

/** WebGL in software is much slower than none. Browsers don't all tell when they are asked to. */
function hasGraphicsCard(): boolean {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(gl.getParameter(info?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
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
