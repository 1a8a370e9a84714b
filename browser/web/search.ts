import { SearchAddon } from "@xterm/addon-search";
import type { ISearchOptions } from "@xterm/addon-search";
import type { Terminal } from "@xterm/xterm";

import { find } from "./dom.js";

/** The addon takes colours in this form alone. They do on both themes. */
const decorations = {
  matchBackground: "#b58900",
  matchOverviewRuler: "#b58900",
  activeMatchBackground: "#e2591f",
  activeMatchColorOverviewRuler: "#e2591f",
};

/** Searches the terminal, with what scrolled off it. */
export class SearchBar {
  readonly #addon = new SearchAddon();
  readonly #terminal: Terminal;
  readonly #form = find<HTMLFormElement>("#search");
  readonly #text = find<HTMLInputElement>("[name=text]", this.#form);
  readonly #result = find<HTMLOutputElement>("output", this.#form);

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.loadAddon(this.#addon);
    this.#addon.onDidChangeResults(({ resultIndex, resultCount }) => this.#tell(resultIndex, resultCount));
    this.#form.addEventListener("input", () => this.#find("next", true));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find("next");
    });
    this.#form.addEventListener("keydown", (event) => this.#press(event));
    find("[name=previous]", this.#form).addEventListener("click", () => this.#find("previous"));
    find("[name=close]", this.#form).addEventListener("click", () => this.close());
  }

  open(): void {
    this.#form.hidden = false;
    const selected = this.#terminal.getSelection();
    if (selected && !selected.includes("\n")) this.#text.value = selected;
    this.#text.select();
    this.#text.focus();
    this.#find("next", true);
  }

  close(): void {
    this.#form.hidden = true;
    this.#addon.clearDecorations();
    this.#terminal.focus();
  }

  #press(event: KeyboardEvent): void {
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" && event.shiftKey && event.target === this.#text) this.#find("previous");
    else return;
    event.preventDefault();
  }

  #find(direction: "next" | "previous", incremental = false): void {
    const options: ISearchOptions = {
      decorations,
      incremental,
      caseSensitive: find<HTMLInputElement>("[name=matchCase]", this.#form).checked,
      regex: find<HTMLInputElement>("[name=regex]", this.#form).checked,
    };
    if (options.regex && !isRegExp(this.#text.value)) {
      this.#result.value = "No pattern";
      return;
    }
    if (!this.#text.value) this.#addon.clearDecorations();
    if (direction === "next") this.#addon.findNext(this.#text.value, options);
    else this.#addon.findPrevious(this.#text.value, options);
  }

  #tell(index: number, count: number): void {
    if (!this.#text.value) this.#result.value = "";
    else if (count === 0) this.#result.value = "Nothing";
    else this.#result.value = index < 0 ? `${count}` : `${index + 1} of ${count}`;
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
