/**
 * Calls the action of the letter that is pressed with Ctrl and Shift. Letters are those of the keyboard's layout. Where
 * it has others than Latin ones, a key has the letter of its place on a US keyboard.
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
