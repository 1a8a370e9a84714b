/**
 * Calls the action of the letter that is pressed with Ctrl and Shift. The keyboard's layout decides which letter a key has. If
 * the layout's letters are not Latin, a key has the letter of a US keyboard.
 */
export function listenForShortcuts(actions: ReadonlyMap<string, () => void>): void {
  const press = (event: KeyboardEvent): void => {
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return;
    const action = actions.get(letter(event));
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  addEventListener("keydown", press, { capture: true });
}

function letter({ key, code }: KeyboardEvent): string {
  return /^[a-z]$/i.test(key) ? key.toUpperCase() : code.replace("Key", "");
}
