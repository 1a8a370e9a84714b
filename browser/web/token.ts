import { find } from "./dom.js";

const dialog = find<HTMLDialogElement>("#token");
const input = find<HTMLInputElement>("input", dialog);
const wrong = find(".wrong", dialog);

/** Asks the user for the server's token until there is one. refused is whether the server did not take the last. */
export function askToken(refused: boolean): Promise<string> {
  input.value = "";
  dialog.showModal();
  // After the dialog is shown, or it is not read out.
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

/** Answers for the user, if they are being asked. */
export function answerToken(token: string): void {
  if (!dialog.open) return;
  input.value = token;
  dialog.close();
}
