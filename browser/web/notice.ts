import { find } from "./dom.js";
import { until } from "./status.js";
import type { Words } from "./status.js";

const labels = { retry: "Retry now", new: "New session" } as const;

/** What the page says about the state of the session, and the button that changes it. */
export class Notice {
  readonly #element = find("#notice");
  readonly #text = find("p", this.#element);
  readonly #button = find<HTMLButtonElement>("button", this.#element);
  readonly #status = find("#status");
  readonly #announcement = find("#announcement");
  #timer: ReturnType<typeof setInterval> | undefined;

  /** act is called when the user presses the button that the words offer. */
  constructor(act: (action: "retry" | "new") => void) {
    this.#button.addEventListener("click", () => act(this.#button.value as "retry" | "new"));
  }

  show(words: Words): void {
    clearInterval(this.#timer);
    document.documentElement.dataset["tone"] = words.tone;
    // The terminal keeps its size, for a program would draw its screen anew.
    this.#element.classList.toggle("over", words.resuming === true);
    find("span", this.#status).textContent = words.brief;
    // A count that is read out every second would drown everything else.
    this.#announcement.textContent = words.sentence || words.brief;
    this.#element.hidden = !words.sentence;
    this.#button.hidden = !words.action;
    this.#text.textContent = words.sentence;
    if (words.action) this.#offer(words.action);
    if (words.at !== undefined) this.#count(words.sentence, words.at);
  }

  /** Focuses the button. */
  focus(): void {
    this.#button.focus();
  }

  #offer(action: "retry" | "new"): void {
    this.#button.value = action;
    this.#button.textContent = labels[action];
  }

  #count(sentence: string, at: number): void {
    const say = (): void => void (this.#text.textContent = `${sentence} Reconnecting in ${until(at)}.`);
    say();
    this.#timer = setInterval(say, 250);
  }
}
