/** Deadlines of tests, in the machine's own time: a slow or loaded one gets more. */

import { availableParallelism, loadavg } from 'node:os';

/** Steps of the measuring loop that an ordinary laptop takes in a millisecond, with nothing else to do. */
const USUAL_STEPS_PER_MS = 250_000;
const STEPS = 100_000;
const SAMPLES = 20;
let state = 1;

/** `ms` on an ordinary, idle laptop, as it has to be here and now. What waits for several programs takes its time from each. */
export async function deadline(ms) {
  let elapsedMs = 0;
  for (let sample = -1; sample < SAMPLES; sample += 1) {
    await new Promise((done) => setTimeout(done, 10));
    const startMs = performance.now();
    for (let step = 0; step < STEPS; step += 1) state = (Math.imul(state ^ (state >>> 13), 0x5bd1e995) + 1) | 0;
    // The first time the loop is not compiled yet.
    if (sample >= 0) elapsedMs += performance.now() - startMs;
  }
  const measured = (elapsedMs * USUAL_STEPS_PER_MS) / (STEPS * SAMPLES);
  // A measurement can fall between two spells of work: how many programs wanted each core is an average.
  const slowness = Math.max(measured, loadavg()[0] / availableParallelism(), 1);
  return ms * (2 * slowness - 1);
}
