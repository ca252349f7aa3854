/**
 * How long a new worker may take to say hello. A machine under load can need long to start one, so the
 * time counts anew from the moment its script has come, and only while this thread runs: a frozen tab
 * does not make its workers late.
 */

import { HANDSHAKE_MS_MAX } from './protocol.js';

/** How often the clock is looked at. */
const TICK_MS = 500;

export class Handshake {
  #ticks = 0;
  #hasScript = false;
  readonly #scriptsBefore: number;
  readonly #timer: ReturnType<typeof setInterval>;

  /** Calls `onLate` if `done` is not called in time. */
  constructor(private readonly script: URL, private readonly onLate: () => void) {
    this.#scriptsBefore = this.#scripts();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  done(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    this.#ticks += 1;
    if (!this.#hasScript && this.#scripts() > this.#scriptsBefore) {
      this.#hasScript = true;
      this.#ticks = 0;
    }
    if (this.#ticks * TICK_MS < HANDSHAKE_MS_MAX) return;
    this.done();
    this.onLate();
  }

  /** How often the script has come, as far as the browser notes it. */
  #scripts(): number {
    return performance.getEntriesByName(this.script.href, 'resource').length;
  }
}
