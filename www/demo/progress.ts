// How far a download is, how fast it goes and how long it will take.

import { bytes, duration } from './format.js';

const WINDOW_MS = 4000;

/** The rate over the last few seconds, so that a stall shows and a burst does not promise too much. */
export class RateMeter {
  readonly #samples: { time: number; loaded: number }[] = [];

  /** Notes that `loaded` bytes were there at `time` (milliseconds of any one clock). */
  add(time: number, loaded: number): void {
    this.#samples.push({ time, loaded });
    while (this.#samples.length > 2 && time - (this.#samples[0]?.time ?? time) > WINDOW_MS) this.#samples.shift();
  }

  /** Bytes per second, or undefined until there is enough to tell. */
  rate(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.time - first.time < 300) return undefined;
    return ((last.loaded - first.loaded) * 1000) / (last.time - first.time);
  }
}

/** "120 of 770 MB, 40 MB/s, 16 s left"; parts that are not known are left out. */
export function progressText(loaded: number, total: number, rate: number | undefined): string {
  if (total <= 0) return loaded > 0 ? bytes(loaded) : 'Reading the header';
  const parts = [amount(loaded, total)];
  if (rate !== undefined && rate > 0 && loaded < total) {
    parts.push(`${bytes(rate)}/s`, `${duration((total - loaded) / rate)} left`);
  }
  return parts.join(', ');
}

function amount(loaded: number, total: number): string {
  const [whole, unit] = bytes(total).split(' ');
  const [part, partUnit] = bytes(loaded).split(' ');
  return partUnit === unit ? `${part} of ${whole} ${unit}` : `${part} ${partUnit} of ${whole} ${unit}`;
}
