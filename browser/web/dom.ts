/** Returns the first element that matches a selector. */
export function find<E extends HTMLElement>(selector: string, within: ParentNode = document): E {
  const element = within.querySelector<E>(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}

/** Makes an element with attributes and content. */
export function make(name: string, attributes: Record<string, string>, ...content: (Node | string)[]): HTMLElement {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

/** Shows a text for a moment. */
export function toast(text: string): void {
  const element = find("#toast");
  element.textContent = text;
  element.classList.add("shown");
  setTimeout(() => {
    if (element.textContent === text) element.classList.remove("shown");
  }, 2500);
}
