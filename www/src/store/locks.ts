/** Who writes a stored file: the holder of a Web Lock, among all tabs. */

const lockName = (folder: string): string => `wasm-chord.store.${folder}`;

/** Takes the lock if nobody has it; undefined if somebody has. Call the result to give it back. */
export async function tryLock(folder: string): Promise<(() => void) | undefined> {
  return requestLock(folder, { ifAvailable: true });
}

/** Waits for the lock, however long. */
export async function waitForLock(folder: string, signal: AbortSignal): Promise<() => void> {
  const release = await requestLock(folder, { signal });
  return release ?? (() => undefined);
}

/** Whether somebody waits for the lock: another tab reads what its holder has written. */
export async function isAwaited(folder: string): Promise<boolean> {
  const { pending = [] } = await navigator.locks.query();
  return pending.some(({ name }) => name === lockName(folder));
}

function requestLock(folder: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(lockName(folder), options, (lock) => {
      if (!lock) {
        resolve(undefined);
        return undefined;
      }
      return new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}

/** A condition that several wait for. */
export class Bell {
  #waiting = new Set<() => void>();

  /** Wakes everyone that waits. */
  ring(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Resolves at the next ring, when `signal` aborts, or after `ms`. */
  wait(signal: AbortSignal, ms = Infinity): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = Number.isFinite(ms) ? setTimeout(wake, ms) : undefined;
      signal.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
      if (signal.aborted) wake();
    });
  }
}
