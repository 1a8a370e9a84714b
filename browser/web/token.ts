import { find } from "./dom.js";

const dialog = find<HTMLDialogElement>("#token");
const input = find<HTMLInputElement>("input", dialog);
const wrong = find(".wrong", dialog);

/** Asks the user for the server's token until they enter one. refused tells whether the server refused the last one. */
export function askToken(refused: boolean): Promise<string> {
  input.value = "";
  dialog.showModal();
  // A screen reader reads this out only if it changes while the dialog is shown.
  wrong.textContent = refused ? "That token is wrong: the server does not take it." : "";
  wrong.hidden = !refused;
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      if (input.value) resolve(input.value);
      else dialog.showModal();
    };
  });
}

/** Answers for the user, if the dialog is open. */
export function answerToken(token: string): void {
  if (!dialog.open) return;
  input.value = token;
  dialog.close();
}
