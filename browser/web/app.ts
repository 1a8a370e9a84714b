import type { Terminal } from "@xterm/xterm";

import { goTo, newID, sessionID, takeToken } from "./address.js";
import { copySelection } from "./clipboard.js";
import { find, toast } from "./dom.js";
import { takeDrops } from "./drop.js";
import { KeyRow } from "./keys.js";
import { firstSession, server } from "./main.js";
import { Notice } from "./notice.js";
import { followReaderChoice } from "./reader.js";
import { createTerminal, display } from "./screen.js";
import type { SearchBar } from "./search.js";
import { Session } from "./session.js";
import { SessionList } from "./sessions.js";
import { listenForShortcuts } from "./shortcuts.js";
import type { Action, Words } from "./status.js";
import { shortTitle } from "./titles.js";
import { TouchScroll } from "./touch.js";
import { followViewport } from "./viewport.js";

declare global {
  /** For the console, and for tests. */
  var terminal: Terminal;
}

/** The page. It shows the session that main.ts has started. */
export class App {
  readonly #terminal = createTerminal(find("#terminal"));
  readonly #notice = new Notice((action) => this.#act(action));
  readonly #sessions = new SessionList(server, () => this.#session.id, goTo);
  /** The parts that load after the first prompt; undefined before. */
  #extras: Promise<SearchBar> | undefined;
  #host = "Terminal";
  #session = firstSession;
  #words: Words | undefined;

  constructor() {
    globalThis.terminal = this.#terminal;
    new KeyRow(this.#terminal);
    new TouchScroll(this.#terminal, find("#terminal"));
    followReaderChoice(this.#terminal, (text) => this.#sessions.tell(text));
    takeDrops(this.#terminal);
    followViewport();
    this.#listen();
    this.#show(firstSession);
    this.#arrive(); // The address may have changed since main.ts read it.
  }

  #listen(): void {
    addEventListener("hashchange", () => this.#arrive());
    find("#open-sessions").addEventListener("click", () => this.#sessions.toggle());
    find("#open-search").addEventListener("click", () => void this.#search());
    find("#sessions").addEventListener("close", () => this.#terminal.focus());
    this.#terminal.onTitleChange((title) => this.#takeTitle(shortTitle(title)));
    this.#terminal.attachCustomKeyEventHandler((event) => this.#leaveToTerminal(event));
    listenForShortcuts(
      new Map([
        ["L", () => this.#sessions.toggle()],
        ["F", () => void this.#search()],
        ["C", () => void copySelection(this.#terminal)],
      ]),
    );
  }

  /** Shows the session that the address names. */
  #arrive(): void {
    const token = takeToken();
    if (token !== undefined) server.token = token;
    const id = sessionID();
    if (id !== this.#session.id || token !== undefined) this.#open(id);
  }

  #open(id: string): void {
    this.#session.leave();
    this.#show(new Session(server, id, this.#terminal));
  }

  #show(session: Session): void {
    this.#session = session;
    session.show({
      process: (process, left) => display(process, this.#terminal, left),
      state: (words) => this.#tell(words),
      host: (name) => this.#showTitle((this.#host = name)),
      refused: () => this.#open(session.id),
    });
    this.#terminal.focus();
  }

  async #search(): Promise<void> {
    try {
      (await this.#loadExtras()).open();
    } catch {
      toast("A part of this page did not arrive: try again, or reload it.");
    }
  }

  #loadExtras(): Promise<SearchBar> {
    this.#extras ??= import("./extras.js").then(({ addExtras }) => addExtras(this.#terminal, find("#search")));
    this.#extras.catch(() => (this.#extras = undefined));
    return this.#extras;
  }

  #tell(words: Words): void {
    this.#words = words;
    this.#notice.show(words);
    if (words.tone === "good") {
      void this.#loadExtras().catch(() => {}); // The search loads them again, and reports a failure.
      if (!find("#search").contains(document.activeElement)) this.#terminal.focus();
    }
    if (words.tone !== "done") return;
    this.#showTitle(this.#host);
    this.#notice.focus();
  }

  #act(action: Action): void {
    if (action === "new") goTo(newID());
    else if (action === "retry") this.#session.retry();
    else this.#session.hideNews();
    this.#terminal.focus();
  }

  #showTitle(title: string): void {
    find("#title").textContent = document.title = title;
  }

  #takeTitle(title: string): void {
    if (!title || this.#words?.tone === "done") return;
    this.#showTitle(title);
  }

  /**
   * Takes Enter and Tab for the page if the shell can't get them: there is no connection, and none is being replaced. Returns
   * whether the terminal gets the key.
   */
  #leaveToTerminal(event: KeyboardEvent): boolean {
    const action = this.#words?.action;
    if (!action || action === "hide" || this.#words?.resuming || event.type !== "keydown") return true;
    if (event.key === "Enter") {
      event.preventDefault();
      this.#act(action);
    }
    return event.key !== "Enter" && event.key !== "Tab";
  }
}
