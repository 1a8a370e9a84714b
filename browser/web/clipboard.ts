import type { Terminal } from "@xterm/xterm";

import { toast } from "./dom.js";

/** Copies the selection. */
export async function copySelection(terminal: Terminal): Promise<void> {
  if (!terminal.hasSelection()) return;
  // On a page that came over plain HTTP from another machine, only the second way works.
  const done = (await write(terminal.getSelection())) || document.execCommand("copy");
  toast(done ? "Copied" : "The browser does not let this page copy.");
}

/** Copies the selection. Without a selection it copies the whole screen, because touch can't select. */
export async function copyScreen(terminal: Terminal): Promise<void> {
  if (terminal.hasSelection()) await copySelection(terminal);
  else if (await write(shown(terminal))) toast("Copied what the screen shows");
  else toast("The browser does not let this page copy.");
}

/** Pastes the clipboard. A browser may ask its user first. */
export async function paste(terminal: Terminal): Promise<void> {
  try {
    terminal.paste(await navigator.clipboard.readText());
  } catch {
    toast("The browser does not let this page paste: use its own menu.");
  }
}

async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function shown(terminal: Terminal): string {
  const { active } = terminal.buffer;
  let text = "";
  for (let y = active.viewportY; y < active.viewportY + terminal.rows; y++) {
    const goesOn = active.getLine(y + 1)?.isWrapped;
    text += (active.getLine(y)?.translateToString(!goesOn) ?? "") + (goesOn ? "" : "\n");
  }
  return text.trimEnd();
}
