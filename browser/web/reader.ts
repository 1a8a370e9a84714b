import type { Terminal } from "@xterm/xterm";

import { find } from "./dom.js";
import { load, save } from "./storage.js";

const KEPT = "wsep.reader";

/**
 * Has the terminal serve a screen reader, if the user chooses that. The choice holds for all tabs. told gets a sentence if the
 * browser can't keep the choice, and "" otherwise.
 */
export function followReaderChoice(terminal: Terminal, told: (text: string) => void): void {
  const box = find<HTMLInputElement>("[name=reader]");
  terminal.options.screenReaderMode = box.checked = load("localStorage", KEPT) === "yes";
  box.addEventListener("change", () => {
    terminal.options.screenReaderMode = box.checked;
    const kept = save("localStorage", KEPT, box.checked ? "yes" : "no");
    told(kept ? "" : "The browser keeps nothing for this page. When it is reloaded, choose again.");
  });
}
