// How many tabs show this page: each holds a lock of one name for as long as it lives, and the browser counts them.

const NAME = 'wasm-chord demo tab';

/** Counts this tab among those that are open. */
export function enterTab(): void {
  void navigator.locks?.request(NAME, { mode: 'shared' }, () => new Promise(() => undefined));
}

/** How many tabs are open, this one included. */
export async function countTabs(): Promise<number> {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return Math.max(1, held.filter(({ name }) => name === NAME).length);
}
