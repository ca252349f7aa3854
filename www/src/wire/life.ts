/**
 * How the death of a worker is noticed at once, and its work is not taken for death.
 *
 * A worker that computes, compiles or waits for a disk cannot answer meanwhile, for seconds on a phone, and no
 * limit tells that from death. So the sign of life comes from the browser: a worker holds a Web Lock as long as it
 * lives, and whoever started it waits for the same lock. The browser hands it over when the worker has ended,
 * however it did, and only then. Holding it needs no turn of the worker's event loop.
 *
 * What is left is a worker that lives but is stuck for ever. It is given up by a watchdog (watchdog.ts) after so
 * long that no work is mistaken for it. Where there are no Web Locks (pages by plain HTTP have none), the watchdog
 * alone notices death, and is less patient.
 */

const locks = (): LockManager | undefined => (globalThis.navigator as Navigator | undefined)?.locks;

/** A name that no other worker has. */
export function newLife(): string {
  return `wasm-chord.life.${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
}

/** In a worker: holds `life` until it ends. Resolves once that is so; false where it cannot be. */
export function live(life: string): Promise<boolean> {
  return new Promise((resolve) => {
    const held = locks()?.request(life, () => {
      resolve(true);
      return new Promise(() => undefined);
    });
    if (held) held.catch(() => resolve(false));
    else resolve(false);
  });
}

/** Calls `ended` when the worker that holds `life` has ended, unless `signal` aborts before. False if that cannot be noticed. */
export async function watch(life: string, signal: AbortSignal, ended: () => void): Promise<boolean> {
  try {
    // A worker's locks are not this page's where the person has cleared the site's data between their first requests.
    const isSeen = await locks()?.request(life, { ifAvailable: true }, (lock) => lock === null);
    // Refused only when it is aborted, or the page goes away.
    if (isSeen) locks()?.request(life, { signal }, ended).catch(() => undefined);
    return isSeen === true;
  } catch {
    return false;
  }
}
