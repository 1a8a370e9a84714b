import { find } from "./dom.js";

const dialog = find<HTMLDialogElement>("#token");
const input = find<HTMLInputElement>("input", dialog);

/** Asks the user for the server's token until there is one. */
export function askToken(): Promise<string> {
  input.value = "";
  dialog.showModal();
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
