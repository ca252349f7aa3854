// The few lines of DOM handling that every part of the page shares.

/** The element with this id; the page's own HTML promises that it is there and of this kind. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element as T;
}

/** A new element with a class, holding text and elements. Strings become text nodes, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A button that does one thing. */
export function button(label: string, onClick: () => void, className = ''): HTMLButtonElement {
  const element = make('button', className, label);
  element.type = 'button';
  element.addEventListener('click', onClick);
  return element;
}

/** Says a short sentence to screen readers. */
export function announce(text: string): void {
  byId('status').textContent = text;
}
