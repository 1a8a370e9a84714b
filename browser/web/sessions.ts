import { linkTo, newID } from "./address.js";
import { find, make } from "./dom.js";
import { RefusedError } from "./server.js";
import type { Server, SessionInfo } from "./server.js";
import { ago, sentence } from "./status.js";
import { keepOnly, titleOf } from "./titles.js";

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
      this.#fill(await this.#server.sessions());
    } catch (error) {
      this.#list.replaceChildren();
      this.#say(why(error));
    }
    const first = this.#list.querySelector<HTMLElement>("[aria-current]") ?? find("[name=new]", this.#dialog);
    first.focus();
  }

  #fill(sessions: readonly SessionInfo[]): void {
    keepOnly(sessions.map(({ id }) => id));
    this.#list.replaceChildren(...sessions.map((session) => this.#item(session)));
    this.#say(sessions.length ? "" : "There are no sessions.");
  }

  #say(text: string): void {
    this.#empty.textContent = text;
    this.#empty.hidden = !text;
  }

  #item(session: SessionInfo): HTMLElement {
    const name = titleOf(session.id) ?? programName(session.command);
    const link = make("a", { href: linkTo(session.id) }, make("strong", {}, name), make("small", {}, detail(session)));
    if (session.id === this.#current()) link.setAttribute("aria-current", "true");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a window of its own
      event.preventDefault();
      this.#show(session.id);
    });
    return make("li", {}, link, this.#closeButton(session.id, name));
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
  return error instanceof RefusedError ? sentence(error.message) : "The server can't be reached.";
}

function programName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function detail({ command, started, clients }: SessionInfo): string {
  const windows = clients === 0 ? "open nowhere" : clients === 1 ? "open in 1 window" : `open in ${clients} windows`;
  return `${programName(command)}, started ${ago(started)}, ${windows}`;
}
