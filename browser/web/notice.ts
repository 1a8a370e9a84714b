import { find } from "./dom.js";
import { until } from "./status.js";
import type { Action, Words } from "./status.js";

const labels: Readonly<Record<Action, string>> = { retry: "Retry now", new: "New session", hide: "OK" };

/** The bar with a sentence about the session's state, and a button to change it. */
export class Notice {
  readonly #element = find("#notice");
  readonly #text = find("p", this.#element);
  readonly #button = find<HTMLButtonElement>("button", this.#element);
  readonly #status = find("#status");
  readonly #announcement = find("#announcement");
  #timer: ReturnType<typeof setInterval> | undefined;

  /** act is called with the button's action when the user presses it. */
  constructor(act: (action: Action) => void) {
    this.#button.addEventListener("click", () => act(this.#button.value as Action));
  }

  show(words: Words): void {
    clearInterval(this.#timer);
    document.documentElement.dataset["tone"] = words.tone;
    // Until there is a connection, the bar covers a part of the terminal. If the terminal's size changed when the connection is
    // back, a drawing of the session's screen would come for the wrong size.
    this.#element.classList.toggle("over", words.tone === "busy" || words.tone === "bad");
    find("span", this.#status).textContent = words.brief;
    // Without the countdown: a screen reader that reads it out every second can't be used.
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

  #offer(action: Action): void {
    this.#button.value = action;
    this.#button.textContent = labels[action];
  }

  #count(sentence: string, at: number): void {
    const say = (): void => void (this.#text.textContent = `${sentence} Reconnecting in ${until(at)}.`);
    say();
    this.#timer = setInterval(say, 250);
  }
}
