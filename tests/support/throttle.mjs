/** A ceiling on bytes per second that all connections share. */
export class Throttle {
  /** When the bytes granted so far will have passed, in the clock of performance.now(). */
  #clearAt = 0;

  constructor(bytesPerSecond) {
    this.bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when `bytes` more may be sent. Grants are in the order of asking. */
  async take(bytes) {
    if (this.bytesPerSecond === Infinity) return;
    const now = performance.now();
    this.#clearAt = Math.max(this.#clearAt, now) + (bytes / this.bytesPerSecond) * 1000;
    const wait = this.#clearAt - now;
    // Timers fire late by a millisecond or so; the grant stays on the schedule nevertheless.
    if (wait > 1) await new Promise((done) => setTimeout(done, wait));
  }
}
