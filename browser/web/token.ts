import { find } from "./dom.js";

/** Asks the user for the server's token until there is one. */
export function askToken(): Promise<string> {
  const dialog = find<HTMLDialogElement>("#token");
  const input = find<HTMLInputElement>("input", dialog);
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
