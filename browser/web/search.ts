import { SearchAddon } from "@xterm/addon-search";
import type { ISearchOptions } from "@xterm/addon-search";
import type { Terminal } from "@xterm/xterm";

/** The form's fields, by name. */
interface Fields extends HTMLFormControlsCollection {
  readonly text: HTMLInputElement;
  readonly result: HTMLOutputElement;
  readonly matchCase: HTMLInputElement;
  readonly regex: HTMLInputElement;
  readonly previous: HTMLButtonElement;
  readonly close: HTMLButtonElement;
}

/** The addon takes colors in this form only. They fit both themes. */
const decorations = {
  matchBackground: "#b58900",
  matchOverviewRuler: "#b58900",
  activeMatchBackground: "#e2591f",
  activeMatchColorOverviewRuler: "#e2591f",
};

/** Searches the terminal and its scrollback. */
export class SearchBar {
  readonly #addon = new SearchAddon();
  readonly #terminal: Terminal;
  readonly #form: HTMLFormElement;
  readonly #fields: Fields;

  constructor(terminal: Terminal, form: HTMLFormElement) {
    this.#terminal = terminal;
    this.#form = form;
    this.#fields = form.elements as Fields;
    terminal.loadAddon(this.#addon);
    this.#addon.onDidChangeResults(({ resultIndex, resultCount }) => this.#tell(resultIndex, resultCount));
    this.#form.addEventListener("input", () => this.#find("next", true));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find("next");
    });
    this.#form.addEventListener("keydown", (event) => this.#press(event));
    this.#fields.previous.addEventListener("click", () => this.#find("previous"));
    this.#fields.close.addEventListener("click", () => this.close());
  }

  open(): void {
    this.#form.hidden = false;
    const selected = this.#terminal.getSelection();
    if (selected && !selected.includes("\n")) this.#fields.text.value = selected;
    this.#fields.text.select();
    this.#fields.text.focus();
    this.#find("next", true);
  }

  close(): void {
    this.#form.hidden = true;
    this.#addon.clearDecorations();
    this.#terminal.focus();
  }

  #press(event: KeyboardEvent): void {
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" && event.shiftKey && event.target === this.#fields.text) this.#find("previous");
    else return;
    event.preventDefault();
  }

  #find(direction: "next" | "previous", incremental = false): void {
    const options: ISearchOptions = {
      decorations,
      incremental,
      caseSensitive: this.#fields.matchCase.checked,
      regex: this.#fields.regex.checked,
    };
    if (options.regex && !isRegExp(this.#fields.text.value)) {
      this.#fields.result.value = "No pattern";
      return;
    }
    if (!this.#fields.text.value) this.#addon.clearDecorations();
    if (direction === "next") this.#addon.findNext(this.#fields.text.value, options);
    else this.#addon.findPrevious(this.#fields.text.value, options);
  }

  #tell(index: number, count: number): void {
    if (!this.#fields.text.value) this.#fields.result.value = "";
    else if (count === 0) this.#fields.result.value = "Nothing";
    else this.#fields.result.value = index < 0 ? `${count}` : `${index + 1} of ${count}`;
  }
}

function isRegExp(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}
