/** One request for consecutive pages, whose bytes go to the store and to every read that waits for them. */

import { aborted, throwIfAborted } from '../wire/errors.js';
import type { Sink } from '../io/http.js';

interface Listener {
  position: number;
  readonly end: number;
  readonly sink: Sink;
  resolve(): void;
  reject(error: unknown): void;
}

export class PageStream {
  readonly abort = new AbortController();
  /** Why it ended before its end, unless it was given up. */
  error: unknown;
  #listeners = new Set<Listener>();

  constructor(
    /** The page that it brings now. */
    public page: number,
    /** Offset in the file of the next byte. */
    public position: number,
    public end: number,
    /** Which beginning of the folder its bytes go to, once that is known. */
    public generation: string | undefined,
    /** The read that it was started for. */
    readonly startedFor: AbortSignal,
  ) {}

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Whether it will bring the byte at `offset`, or is not done with its page, which ends at `pageEnd`. */
  covers(offset: number, pageEnd: number): boolean {
    return !this.abort.signal.aborted && offset < this.end && (offset >= this.position || this.position <= Math.min(pageEnd, this.end));
  }

  /**
   * Hands the bytes from `position`, which are still to come, to `sink`. Resolves at `end`, or where the
   * stream ends: then only when the response turned out to be sound.
   */
  listen(position: number, end: number, sink: Sink, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#listeners.delete(listener);
        if (!this.hasListeners) this.abort.abort(aborted(signal));
        reject(aborted(signal));
      };
      const settle = (): void => signal.removeEventListener('abort', stop);
      const listener: Listener = {
        position, end, sink,
        resolve: () => { settle(); resolve(); },
        reject: (error) => { settle(); reject(error); },
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#listeners.add(listener);
    });
  }

  /** Passes on bytes that begin at `offset`, and moves the stream's position behind them. */
  async pass(offset: number, chunk: Uint8Array): Promise<void> {
    this.position = offset + chunk.length;
    for (const listener of [...this.#listeners]) {
      const from = Math.max(listener.position, offset);
      const to = Math.min(listener.end, this.position);
      if (from >= to) continue;
      try {
        await listener.sink(chunk.subarray(from - offset, to - offset));
        listener.position = to;
      } catch (thrown) {
        this.#listeners.delete(listener);
        listener.reject(thrown);
        continue;
      }
      const isDone = listener.position === listener.end && listener.end < this.end;
      if (isDone && this.#listeners.delete(listener)) listener.resolve();
    }
  }

  /** Settles all who listen: the stream is over, or failed with `error`. */
  close(error?: unknown): void {
    if (!this.abort.signal.aborted) this.error = error;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) {
      if (error === undefined) listener.resolve();
      else listener.reject(error);
    }
  }
}
