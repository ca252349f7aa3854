/**
 * Notices a worker that has fallen silent: it is asked for a sign of life at each tick, and counts as dead
 * after so many without any. Ticks are counted rather than time: where this thread does not run, in a frozen
 * tab or with throttled timers, one goes by at most before what has come meanwhile is heard.
 */

/** Time between two ticks. */
export const TICK_MS = 1_000;
/** Ticks by which a peer that is slow, yet alive, may be waited for. */
const PATIENCE_TICKS_MAX = 60;

/** The worker that is watched. */
export interface Peer {
  /** Whether something is expected of it, so that silence would mean that it is dead. */
  isAwaited(): boolean;
  ping(): void;
  /** It fell silent. Called once. */
  died(): void;
}

export class Watchdog {
  #silentTicks = 0;
  #ticksMax: number;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(private readonly peer: Peer, ticksMax: number) {
    this.#ticksMax = ticksMax;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** A message came from the peer. */
  heard(): void {
    this.#silentTicks = 0;
  }

  /** The peer may have to be silent for `ms` from now on. */
  allow(ms: number): void {
    this.#ticksMax = Math.max(this.#ticksMax, Math.min(Math.ceil(ms / TICK_MS), PATIENCE_TICKS_MAX));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (!this.peer.isAwaited()) {
      this.#silentTicks = 0;
      return;
    }
    this.#silentTicks += 1;
    if (this.#silentTicks <= this.#ticksMax) {
      this.peer.ping();
      return;
    }
    this.#silentTicks = 0;
    this.peer.died();
  }
}
