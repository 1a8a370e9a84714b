import type { IDisposable, ITerminalAddon, Terminal } from "@xterm/xterm";

/** Control characters (C0, DEL and C1) but for tab and line ends, which belong to text. */
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

/** Inserts that are no typing. */
const INSERTED = /^insertFrom(Paste|PasteAsQuotation|Drop|Yank)$/;

/**
 * Keeps pasted text from being commands:
 *
 *     terminal.open(element);
 *     terminal.loadAddon(new SafePasteAddon());
 *
 * A program that asks for bracketed paste takes what is pasted as text up to ESC [201~, and xterm.js 6.0.0 passes on
 * that sequence from within the text. So does Ctrl-C end the paste, since the terminal's line discipline acts on it
 * wherever it stands. Every control character but tab, carriage return and line feed is therefore replaced, by the
 * picture that Unicode has for it (U+2400 and on): it is as wide as one cell, and shows what was there. A control
 * character of C1, such as U+009B, means ESC and a letter, and is shown as ESC.
 *
 * It sees what the browser pastes, whatever key, menu or mouse button asks for it, what terminal.paste is given, and what
 * a phone's keyboard inserts from its clipboard. What is dropped is the page's. The terminal must be open before. After
 * dispose it is as it was.
 */
export class SafePasteAddon implements ITerminalAddon {
  #disposables: IDisposable[] = [];

  activate(terminal: Terminal): void {
    const { element } = terminal;
    if (!element) throw new Error("SafePasteAddon needs a terminal that is open");
    this.#replace(terminal);
    // The terminal's own listeners come later: they are below, or wait for the way back up.
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

/** Whether what is inserted was not typed: it says so, or it has a control character, which a press of a key has not. */
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
