import { OutcomeError, QuestionError } from "@wsep/client";
import type { SessionInfo } from "@wsep/client";

import { linkTo, newID } from "./address.js";
import { find, make } from "./dom.js";
import { RefusedError } from "./server.js";
import type { Server } from "./server.js";
import { ago, sentence } from "./status.js";

/** The list of the server's sessions, to return to or to close. */
export class SessionList {
  readonly #server: Server;
  readonly #current: () => string;
  readonly #go: (id: string) => void;
  readonly #dialog = find<HTMLDialogElement>("#sessions");
  readonly #list = find<HTMLUListElement>("ul", this.#dialog);
  readonly #empty = find(".empty", this.#dialog);
  readonly #word = find(".word", this.#dialog);

  /** current tells which session is shown, and go shows another. */
  constructor(server: Server, current: () => string, go: (id: string) => void) {
    this.#server = server;
    this.#current = current;
    this.#go = go;
    find("[name=close]", this.#dialog).addEventListener("click", () => this.#dialog.close());
    find("[name=new]", this.#dialog).addEventListener("click", () => this.#show(newID()));
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#dialog.close(); // beside the list
    });
  }

  /** Shows the list, or hides it. */
  toggle(): void {
    if (this.#dialog.open) {
      this.#dialog.close();
      return;
    }
    this.#list.replaceChildren(); // They are from the last time that the list was open.
    this.#say("");
    this.tell("");
    this.#dialog.showModal();
    void this.#refresh();
  }

  /** Shows a message below the list, until the list is opened again. */
  tell(text: string): void {
    this.#word.textContent = text;
    this.#word.hidden = !text;
  }

  async #refresh(): Promise<void> {
    try {
      const [sessions, { host }] = [await this.#server.sessions(), await this.#server.about()];
      this.#fill(sessions, host);
    } catch (error) {
      this.#list.replaceChildren();
      this.#say(why(error));
    }
    const first = this.#list.querySelector<HTMLElement>("[aria-current]") ?? find("[name=new]", this.#dialog);
    first.focus();
  }

  #fill(sessions: readonly SessionInfo[], host: string): void {
    this.#list.replaceChildren(...sessions.map((session) => this.#item(session, host)));
    this.#say(sessions.length ? "" : "There are no sessions.");
  }

  #say(text: string): void {
    this.#empty.textContent = text;
    this.#empty.hidden = !text;
  }

  /** Shows what runs, where, since when, and its last line. All of it comes from the server, so that all browsers show the same. */
  #item(session: SessionInfo, host: string): HTMLElement {
    const name = programLine(session);
    const link = make("a", {}, make("strong", {}, name), make("small", {}, detail(session, host)));
    if (session.lastLine) link.append(make("code", {}, session.lastLine));
    if (session.tty) this.#lead(link, session.id);
    return make("li", {}, link, this.#closeButton(session.id, name));
  }

  /** Makes a link show a session. Those without a terminal can't be shown. */
  #lead(link: HTMLElement, id: string): void {
    link.setAttribute("href", linkTo(id));
    if (id === this.#current()) link.setAttribute("aria-current", "true");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a window of its own
      event.preventDefault();
      this.#show(id);
    });
  }

  /** Closing ends programs, so the button has to be pressed twice. */
  #closeButton(id: string, name: string): HTMLElement {
    const button = make("button", { class: "close", "aria-label": `Close session ${name}` }, "Close");
    button.addEventListener("click", () => {
      if (button.classList.contains("sure")) {
        void this.#close(id, button);
        return;
      }
      button.classList.add("sure");
      button.textContent = "End it?";
      button.setAttribute("aria-label", `End everything that runs in session ${name}?`);
    });
    button.addEventListener("blur", () => {
      button.classList.remove("sure");
      button.textContent = "Close";
      button.setAttribute("aria-label", `Close session ${name}`);
    });
    return button;
  }

  async #close(id: string, button: HTMLElement): Promise<void> {
    button.closest("li")?.setAttribute("aria-busy", "true");
    this.tell("");
    await this.#server.closeSession(id).catch((error: unknown) => this.tell(`The session could not be closed. ${why(error)}`));
    await this.#refresh();
  }

  #show(id: string): void {
    this.#dialog.close();
    this.#go(id);
  }
}

function why(error: unknown): string {
  if (error instanceof RefusedError) return sentence(error.message);
  if (error instanceof QuestionError) return sentence(`The server says: ${error.message}`);
  return "The server can't be reached.";
}

function programLine({ command, args }: SessionInfo): string {
  return [command.slice(command.lastIndexOf("/") + 1), ...args].join(" ");
}

function detail({ cwd, started, tty, clients, exit }: SessionInfo, host: string): string {
  const place = cwd ? `in ${cwd} on ${host}` : `on ${host}`;
  return [place, `started ${ago(started)}`, exit ? ending(exit) : tty ? windows(clients) : "without a terminal"].join(", ");
}

function windows(clients: number): string {
  if (clients === 0) return "open nowhere";
  return clients === 1 ? "open in 1 window" : `open in ${clients} windows`;
}

function ending(exit: NonNullable<SessionInfo["exit"]>): string {
  if (exit instanceof OutcomeError) return exit.message;
  return exit.signal === undefined ? `exited with code ${exit.code}` : `ended by signal ${exit.signal}`;
}
