/**
 * How long a new worker may take to say hello. A machine under load can need long to start one, so the time follows
 * its speed, and counts anew from the moment the script has come.
 */

import { Patience } from '../wire/speed.js';

/** How often the clock is looked at. */
const TICK_MS = 500;
/** Ticks after which another worker is tried beside a silent one: some browsers now and then never start one. */
const SILENT_TICKS_MAX = 5;
/** Ticks after which it is given up. */
const LATE_TICKS_MAX = 16;

/** What a handshake asks and tells. */
export interface HandshakeEvents {
  /** Whether the script has come, as far as that can be known. */
  hasScript(): boolean;
  /** It is silent for long. Called once. */
  isSilent(): void;
  /** It was silent for too long. */
  isLate(): void;
}

export class Handshake {
  #hasScript = false;
  #isSilent = false;
  readonly #silence = new Patience(SILENT_TICKS_MAX);
  readonly #lateness = new Patience(LATE_TICKS_MAX);
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(private readonly events: HandshakeEvents) {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** The worker said hello, or nobody waits for it any more. */
  done(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (!this.#hasScript && this.events.hasScript()) {
      this.#hasScript = true;
      this.#lateness.renew();
    }
    if (!this.#isSilent && this.#silence.isOver()) {
      this.#isSilent = true;
      this.events.isSilent();
    }
    if (!this.#lateness.isOver()) return;
    this.done();
    this.events.isLate();
  }
}
