/** What the page hears of the start of an engine: where it has come to, neither too often nor ever backwards. */

import type { Progress } from '../wire/types.js';

/** Least time between two reports of moving bytes. */
const INTERVAL_MS = 40;

export class ProgressMeter {
  #toldMs = -Infinity;
  #last: Progress = { phase: 'compile', fraction: 0, loadedBytes: 0, totalBytes: 0 };

  constructor(private readonly tell: (progress: Progress) => void) {}

  /** A phase begins. */
  enter(phase: Progress['phase']): void {
    this.#last = { ...this.#last, phase };
    if (phase === 'ready') this.#last = { ...this.#last, fraction: 1, loadedBytes: this.#last.totalBytes };
    this.#report();
  }

  /** So many bytes have come of so many, which is 0 while nobody knows. */
  moved(loaded: number, totalBytes: number, layers: Pick<Progress, 'layer' | 'layers'> = {}): void {
    const loadedBytes = Math.max(this.#last.loadedBytes, totalBytes > 0 ? Math.min(loaded, totalBytes) : loaded);
    const fraction = Math.max(this.#last.fraction, totalBytes > 0 ? loadedBytes / totalBytes : 0);
    const hasMoved = loadedBytes !== this.#last.loadedBytes || layers.layer !== this.#last.layer;
    this.#last = { phase: this.#last.phase, fraction: Math.min(fraction, 1), loadedBytes, totalBytes, ...layers };
    if (hasMoved && performance.now() - this.#toldMs >= INTERVAL_MS) this.#report();
  }

  #report(): void {
    this.#toldMs = performance.now();
    this.tell({ ...this.#last });
  }
}
