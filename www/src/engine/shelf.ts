/**
 * Sequences that were computed before the one that the core holds. Their states are blobs, which a browser may move out of
 * memory: conversations that take turns in one engine are computed once each.
 */

import type { Engine } from './core.js';
import { saved, takeUp, type Parked } from './sequence.js';

/** What is kept takes no more than this. */
const BYTES_MAX = 256 * 2 ** 20;

export class Shelf {
  /** States by their number, the oldest first. */
  readonly #kept = new Map<number, Blob>();

  /** `sequencesMax` counts the sequence that the core holds, too. */
  constructor(private readonly engine: Engine, private readonly parked: Parked, private readonly sequencesMax: number) {}

  /** Sequences that are kept, and the bytes of their states. */
  get figures(): { sequences: number; bytes: number } {
    const bytes = [...this.#kept.values()].reduce((sum, { size }) => sum + size, 0);
    return { sequences: this.#kept.size, bytes };
  }

  /**
   * Does what the core wants before a request starts. A failure only costs time, since the request computes what is not
   * there; a core that trapped is none.
   */
  async exchange([, keeps, copies, takes]: Uint32Array): Promise<void> {
    if (this.sequencesMax === 1) return;
    const taken = takes === undefined ? undefined : this.#kept.get(takes);
    if (takes !== undefined && copies !== 1) this.#forget(takes);
    try {
      if (keeps === 1) await this.#keep();
      if (taken) await takeUp(this.engine, this.parked, streamed(taken));
    } catch (thrown) {
      if (thrown instanceof WebAssembly.RuntimeError) throw thrown;
    }
  }

  async #keep(): Promise<void> {
    const blobs: Blob[] = [];
    let bytes = 0;
    for await (const piece of saved(this.engine, this.parked).pieces) {
      bytes += piece.length;
      if (bytes > BYTES_MAX) return;
      blobs.push(new Blob([piece]));
    }
    const [number = 0, ...needless] = this.engine.shelve();
    for (const other of needless) this.#kept.delete(other);
    this.#kept.set(number, new Blob(blobs));
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < this.sequencesMax && this.figures.bytes <= BYTES_MAX) return;
      this.#forget(oldest);
    }
  }

  #forget(number: number): void {
    this.#kept.delete(number);
    this.engine.unshelve(number);
  }
}

async function* streamed(blob: Blob): AsyncGenerator<Uint8Array> {
  const reader = blob.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
