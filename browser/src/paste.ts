import type { IDisposable, ITerminalAddon, Terminal } from "@xterm/xterm";

/** Control characters (C0, DEL and C1) except tab and line ends. Those belong to text. */
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

/** Input types that are not typing. */
const INSERTED = /^insertFrom(Paste|PasteAsQuotation|Drop|Yank)$/;

/**
 * Keeps pasted text from running commands:
 *
 *     terminal.open(element);
 *     terminal.loadAddon(new SafePasteAddon());
 *
 * A program that asks for bracketed paste takes everything up to ESC [201~ as text. xterm.js 6.0.0 lets pasted text contain
 * that sequence. Ctrl-C in the text ends the paste too: the terminal's line discipline acts on it. So each control character
 * except tab, carriage return and line feed is replaced by its picture in Unicode (U+2400 and on). A picture takes one cell,
 * and shows what was there. A control character of C1, such as U+009B, means ESC and a letter, and is shown as ESC.
 *
 * The addon handles every paste of the browser, by key, menu or mouse, calls of terminal.paste, and what a phone's keyboard
 * inserts from its clipboard. Drops are left to the page. The terminal must be open before. Disposing of the addon restores
 * the terminal.
 */
export class SafePasteAddon implements ITerminalAddon {
  #disposables: IDisposable[] = [];

  activate(terminal: Terminal): void {
    const { element } = terminal;
    if (!element) throw new Error("SafePasteAddon needs a terminal that is open");
    this.#replace(terminal);
    // This comes before the terminal's own listeners: those are on elements below, or listen to the bubbling phase.
    this.#listen(element, "paste", (event) => take(terminal, event, event.clipboardData?.getData("text/plain")));
    this.#listen(element, "beforeinput", (event) => {
      if (isPaste(event)) take(terminal, event, textOf(event));
    });
  }

  dispose(): void {
    for (const d of this.#disposables.splice(0)) d.dispose();
  }

  #replace(terminal: Terminal): void {
    const { paste } = terminal;
    terminal.paste = (text) => paste.call(terminal, printable(text));
    this.#disposables.push({ dispose: () => void (terminal.paste = paste) });
  }

  #listen<K extends "paste" | "beforeinput">(element: HTMLElement, type: K, listener: (event: HTMLElementEventMap[K]) => void): void {
    element.addEventListener(type, listener, { capture: true });
    this.#disposables.push({ dispose: () => element.removeEventListener(type, listener, { capture: true }) });
  }
}

/** Pastes an event's text in place of the browser and of xterm.js. */
function take(terminal: Terminal, event: Event, text: string | undefined): void {
  event.preventDefault();
  event.stopImmediatePropagation();
  if (text) terminal.paste(text);
}

/** Whether inserted text was not typed. Its type says so, or it has a control character: a key press has none. */
function isPaste(event: InputEvent): boolean {
  return INSERTED.test(event.inputType) || /[\x00-\x1f\x7f-\x9f]/.test(textOf(event));
}

function textOf({ data, dataTransfer }: InputEvent): string {
  return data ?? dataTransfer?.getData("text/plain") ?? "";
}

function printable(text: string): string {
  return text.replace(CONTROL, (c) => {
    const code = c.charCodeAt(0);
    if (code === 0x7f) return "\u2421";
    return code > 0x7f ? "\u241b" : String.fromCharCode(0x2400 + code);
  });
}
