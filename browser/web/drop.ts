import type { Terminal } from "@xterm/xterm";

import { toast } from "./dom.js";

/** Takes what is dropped on the page, to which the browser would go otherwise. Text is pasted. */
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

/** Whether it is a field of the page's own, where text may be dropped and edited. Files it would not take. */
function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement;
}
