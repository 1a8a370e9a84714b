import type { Terminal } from "@xterm/xterm";

import { toast } from "./dom.js";

/** Pastes text that is dropped on the page, and refuses files. Without this, the browser would leave the page for them. */
export function takeDrops(terminal: Terminal): void {
  addEventListener("dragover", (event) => {
    if (!isField(event.target)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (isField(event.target)) return;
    event.preventDefault();
    const text = event.dataTransfer?.getData("text/plain");
    if (text) terminal.paste(text);
    else toast("This terminal takes no files.");
  });
}

/** Whether the target is an input field of the page. Text may be dropped there. */
function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement;
}
