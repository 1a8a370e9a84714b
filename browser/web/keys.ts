import type { Terminal } from "@xterm/xterm";

import { copyScreen, paste } from "./clipboard.js";
import { find } from "./dom.js";

type Modifier = "ctrl" | "alt";

/** The last letters of the cursor keys' sequences. */
const cursorKeys: Readonly<Record<string, string>> = {
  ArrowUp: "A",
  ArrowDown: "B",
  ArrowRight: "C",
  ArrowLeft: "D",
};

const others: Readonly<Record<string, string>> = {
  Escape: "\x1b",
  Tab: "\t",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
};

/** The row of keys that a phone's keyboard lacks. Ctrl and Alt hold for the next key, in this row or on the keyboard. */
export class KeyRow {
  readonly #terminal: Terminal;
  readonly #row = find("#keys");
  readonly #held = new Set<Modifier>();

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    changeTyped(terminal, (text) => this.#modify(text));
    // The terminal keeps the focus. Otherwise the phone would hide its keyboard.
    this.#row.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#row.addEventListener("mousedown", (event) => event.preventDefault());
    this.#row.addEventListener("click", (event) => {
      const button = (event.target as HTMLElement).closest("button");
      if (button) this.#press(button.dataset);
    });
  }

  #press({ key, modifier, action }: DOMStringMap): void {
    if (modifier) this.#toggle(modifier as Modifier);
    if (key) this.#terminal.input(this.#sequence(key));
    if (action === "copy") void copyScreen(this.#terminal);
    if (action === "paste") void paste(this.#terminal);
  }

  #toggle(modifier: Modifier): void {
    if (!this.#held.delete(modifier)) this.#held.add(modifier);
    this.#showHeld();
  }

  #showHeld(): void {
    for (const modifier of ["ctrl", "alt"] as const) {
      find(`[data-modifier=${modifier}]`, this.#row).setAttribute("aria-pressed", String(this.#held.has(modifier)));
    }
  }

  #sequence(key: string): string {
    const letter = cursorKeys[key];
    if (!letter) return others[key] ?? key;
    const modifiers = 1 + (this.#held.has("alt") ? 2 : 0) + (this.#held.has("ctrl") ? 4 : 0);
    if (modifiers > 1) {
      this.#letGo();
      return `\x1b[1;${modifiers}${letter}`;
    }
    return this.#terminal.modes.applicationCursorKeysMode ? `\x1bO${letter}` : `\x1b[${letter}`;
  }

  #modify(text: string): string {
    if (this.#held.size === 0 || isReport(text)) return text;
    const ctrl = this.#held.has("ctrl");
    const alt = this.#held.has("alt");
    this.#letGo();
    return (alt ? "\x1b" : "") + (ctrl ? control(text) : text);
  }

  #letGo(): void {
    this.#held.clear();
    this.#showHeld();
  }
}

/** Changes typed text before it reaches listeners that are added later. xterm.js has no hook for this. */
function changeTyped(terminal: Terminal, change: (text: string) => string): void {
  const { onData } = terminal;
  const changed: Terminal["onData"] = (listener) => onData((text, rest) => listener(change(text), rest));
  Object.defineProperty(terminal, "onData", { value: changed });
}

/** Whether the text is a report of the terminal, about the mouse or itself, and not typed. */
function isReport(text: string): boolean {
  return text.length > 1 && text.startsWith("\x1b");
}

/** Returns the control character for a character: A is 1, B is 2, and so on. */
function control(text: string): string {
  const code = text.toUpperCase().charCodeAt(0);
  if (text.length !== 1) return text;
  if (code === 0x20) return "\0";
  if (code === 0x3f) return "\x7f";
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code - 0x40) : text;
}
