/** How late answers begin, and how fast bytes come from then on, however many requests share the way. */
export class TransferMeter {
  #latencyMs = Infinity;
  #bytes = 0;
  #transferMs = 0;
  /** Until when a transfer was counted. */
  #countedMs = 0;

  /** The first bytes of a request came, so long after it was asked. */
  began(latencyMs: number): void {
    this.#latencyMs = Math.min(this.#latencyMs, latencyMs);
  }

  /** A request brought so many bytes. The way was in use from when they could have begun to come. */
  ended(askedMs: number, nowMs: number, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    this.#transferMs += Math.max(0, nowMs - Math.max(this.#countedMs, askedMs + this.#latencyMs));
    this.#countedMs = nowMs;
  }

  /** The figures since the last call. The least latency of all time counts: others waited for one another. */
  take(): { latencyMs: number; bytes: number; transferMs: number } {
    const taken = { latencyMs: this.#latencyMs, bytes: this.#bytes, transferMs: this.#transferMs };
    this.#bytes = 0;
    this.#transferMs = 0;
    return taken;
  }
}
