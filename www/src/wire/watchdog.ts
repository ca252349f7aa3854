/**
 * Notices a worker that has fallen silent for too long: it is asked for a sign of life at each tick, and counts as
 * stuck after so many without any. That a worker has ended is noticed elsewhere, and at once: see life.ts.
 */

import { Patience } from './speed.js';

/** Time between two ticks. */
export const TICK_MS = 1_000;

/** The worker that is watched. */
export interface Peer {
  /** Whether something is expected of it, so that silence would mean that it is stuck. */
  isAwaited(): boolean;
  ping(): void;
  /** It fell silent. Called once for each silence. */
  fellSilent(): void;
}

export class Watchdog {
  #patience: Patience;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(private readonly peer: Peer, ticksMax: number) {
    this.#patience = new Patience(ticksMax);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** A message came from the peer. */
  heard(): void {
    this.#patience.renew();
  }

  /** From now on this many ticks count as too long. */
  allow(ticksMax: number): void {
    this.#patience = new Patience(ticksMax);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.peer.isAwaited() && this.#patience.isOver()) {
      this.#patience.renew();
      this.peer.fellSilent();
    } else if (this.peer.isAwaited()) {
      this.peer.ping();
    } else {
      this.#patience.renew();
    }
  }
}
