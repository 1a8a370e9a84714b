import type { Terminal } from "@xterm/xterm";

import { goTo, newID, sessionID, takeToken } from "./address.js";
import { copySelection } from "./clipboard.js";
import { find } from "./dom.js";
import { takeDrops } from "./drop.js";
import { KeyRow } from "./keys.js";
import { Notice } from "./notice.js";
import { createTerminal } from "./screen.js";
import { SearchBar } from "./search.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { SessionList } from "./sessions.js";
import type { Words } from "./status.js";
import { keepTitle } from "./titles.js";
import { answerToken, askToken } from "./token.js";
import { TouchScroll } from "./touch.js";
import { followViewport } from "./viewport.js";

declare global {
  /** For the console, and for tests. */
  var terminal: Terminal;
}

/** The page. */
class App {
  readonly #server = new Server(askToken);
  readonly #terminal = createTerminal(find("#terminal"));
  readonly #notice = new Notice((action) => this.#act(action));
  readonly #search = new SearchBar(this.#terminal);
  readonly #sessions = new SessionList(this.#server, () => this.#id, goTo);
  #id = "";
  #host = "Terminal";
  #session: Session | undefined;
  #words: Words | undefined;

  constructor() {
    globalThis.terminal = this.#terminal;
    new KeyRow(this.#terminal);
    new TouchScroll(this.#terminal, find("#terminal"));
    takeDrops(this.#terminal);
    followViewport();
    this.#listen();
    this.#arrive();
  }

  #listen(): void {
    addEventListener("hashchange", () => this.#arrive());
    find("#open-sessions").addEventListener("click", () => this.#sessions.toggle());
    find("#open-search").addEventListener("click", () => this.#search.open());
    find("#sessions").addEventListener("close", () => this.#terminal.focus());
    find<HTMLInputElement>("[name=reader]").addEventListener("change", ({ target }) => {
      this.#terminal.options.screenReaderMode = (target as HTMLInputElement).checked;
    });
    this.#terminal.onTitleChange((title) => this.#takeTitle(title));
    this.#terminal.attachCustomKeyEventHandler((event) => this.#leaveToTerminal(event));
    addEventListener("keydown", (event) => this.#shortcut(event), { capture: true });
  }

  /** Shows the session that the address names. */
  #arrive(): void {
    const token = takeToken();
    if (token !== undefined) {
      this.#server.token = token;
      answerToken(token);
    }
    const id = sessionID();
    if (id !== this.#id || token !== undefined) void this.#open(id);
  }

  async #open(id: string): Promise<void> {
    this.#session?.leave();
    this.#session = undefined;
    this.#id = id;
    this.#show({ tone: "busy", brief: "Connecting", sentence: "" });
    try {
      const about = await this.#server.about();
      if (this.#id !== id || this.#session) return;
      this.#host = about.host;
      this.#showTitle(about.host);
      this.#session = new Session(this.#terminal, this.#server, about, id, (words) => this.#show(words));
      this.#terminal.focus();
    } catch {
      if (this.#id !== id || this.#session) return;
      this.#show({ tone: "bad", brief: "Disconnected", sentence: "The server can't be reached.", action: "retry" });
    }
  }

  #show(words: Words): void {
    this.#words = words;
    this.#notice.show(words);
    if (words.tone === "good" && !this.#search.focused) this.#terminal.focus();
    if (words.tone !== "over") return;
    this.#showTitle(this.#host);
    this.#notice.focus();
  }

  #act(action: "retry" | "new"): void {
    if (action === "new") goTo(newID());
    else if (this.#session) this.#session.retry();
    else void this.#open(this.#id);
    this.#terminal.focus();
  }

  #showTitle(title: string): void {
    find("#title").textContent = document.title = title;
  }

  #takeTitle(title: string): void {
    if (!title || this.#words?.tone === "over") return;
    this.#showTitle(title);
    keepTitle(this.#id, title);
  }

  /** Without a connection there is nobody to type to, so the keys are the page's. */
  #leaveToTerminal(event: KeyboardEvent): boolean {
    const action = this.#words?.action;
    if (!action || event.type !== "keydown") return true;
    if (event.key === "Enter") {
      event.preventDefault();
      this.#act(action);
    }
    return event.key !== "Enter" && event.key !== "Tab";
  }

  #shortcut(event: KeyboardEvent): void {
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return;
    const actions: Record<string, () => void> = {
      KeyL: () => this.#sessions.toggle(),
      KeyF: () => this.#search.open(),
      KeyC: () => void copySelection(this.#terminal),
    };
    const action = actions[event.code];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }
}

new App();
