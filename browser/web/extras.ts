import { WebglAddon } from "@xterm/addon-webgl";
import type { Terminal } from "@xterm/xterm";

import { SearchBar } from "./search.js";

/** Adds the parts that may arrive after the terminal. */
export function addExtras(terminal: Terminal, search: HTMLFormElement): SearchBar {
  drawFast(terminal);
  return new SearchBar(terminal, search);
}

/** Draws with WebGL if there is a graphics card. */
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

/** Without a card, WebGL is much slower than no WebGL. Not every browser heeds failIfMajorPerformanceCaveat. */
function hasGraphicsCard(): boolean {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(gl.getParameter(info?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
}
