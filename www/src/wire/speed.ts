/** How fast this machine is at the moment, so that patience with a worker can follow it. */

/** Steps of the measuring loop that an ordinary laptop takes in a millisecond, with nothing else to do. */
const USUAL_STEPS_PER_MS = 250_000;
/** Steps between two looks at the clock. */
const STEPS = 20_000;
/** Clocks of browsers that guard against fingerprinting do not tell less. */
const MEASURED_MS = 2;
/** What a measurement counts for at most: it may have been held up itself. */
const SLOWNESS_MAX = 6;

/** Keeps the loop from being left out as useless. */
let state = 1;
/** A loop is slow until it has been compiled, which says nothing of the machine. */
let isWarm = false;

/** How many times as long as on an ordinary, idle laptop work takes here and now: 1 at least. Takes a few milliseconds. */
export function slowness(): number {
  const measured = measure();
  if (isWarm) return measured;
  isWarm = true;
  return measure();
}

function measure(): number {
  const startMs = performance.now();
  let steps = 0;
  let elapsedMs = 0;
  while (elapsedMs < MEASURED_MS) {
    for (let step = 0; step < STEPS; step += 1) state = (Math.imul(state ^ (state >>> 13), 0x5bd1e995) + 1) | 0;
    steps += STEPS;
    elapsedMs = performance.now() - startMs;
  }
  return Math.min(Math.max((elapsedMs * USUAL_STEPS_PER_MS) / steps, 1), SLOWNESS_MAX);
}

/**
 * How long something may take: counted in ticks of this thread's timer, and in the machine's own time. A slow or
 * loaded machine gets more of them; where this thread does not run, in a frozen tab or with throttled timers, one
 * goes by at most before what has come meanwhile is heard.
 */
export class Patience {
  #ticks = 0;
  #slowness = 0;

  /** On an ordinary, idle laptop it ends after `ticksMax`. */
  constructor(private readonly ticksMax: number) {}

  /** A tick went by. True if it was the last one. */
  isOver(): boolean {
    this.#ticks += 1;
    this.#slowness += this.#ticks > 1 ? slowness() : 1;
    return this.#ticks > this.ticksMax * (this.#slowness / this.#ticks);
  }

  /** Begins anew. */
  renew(): void {
    this.#ticks = 0;
    this.#slowness = 0;
  }
}
