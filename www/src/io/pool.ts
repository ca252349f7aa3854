/**
 * The buffers in which bytes travel from the network to the engine. Their number bounds what is held
 * on the way: when all are out, reading stops until the engine gives one back.
 */

import { aborted } from '../wire/errors.js';

/** Bytes of one piece. */
export const PIECE_BYTES = 512 * 1024;
/** Pieces on the way at any time. */
export const POOL_PIECES = 8;

interface Waiter {
  resolve: (buffer: ArrayBuffer) => void;
  signal: AbortSignal;
}

export class BufferPool {
  readonly #free: ArrayBuffer[] = [];
  readonly #waiting: Waiter[] = [];
  #out = 0;

  /** A buffer of `PIECE_BYTES`, once there is one. */
  acquire(signal: AbortSignal): Promise<ArrayBuffer> {
    if (signal.aborted) return Promise.reject(aborted(signal));
    if (this.#out < POOL_PIECES) {
      this.#out += 1;
      return Promise.resolve(this.#free.pop() ?? new ArrayBuffer(PIECE_BYTES));
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { signal, resolve: (buffer) => {
        signal.removeEventListener('abort', stop);
        resolve(buffer);
      } };
      const stop = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(aborted(signal));
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** Takes a buffer back, one of an earlier worker's pool included. */
  recycle(buffer: ArrayBuffer): void {
    if (buffer.byteLength !== PIECE_BYTES) return;
    const waiter = this.#waiting.shift();
    if (waiter) {
      waiter.resolve(buffer);
      return;
    }
    this.#out = Math.max(0, this.#out - 1);
    if (this.#free.length < POOL_PIECES) this.#free.push(buffer);
  }
}

/** Cuts a stream of chunks into pieces. */
export class Cutter {
  #buffer: ArrayBuffer | undefined;
  #filled = 0;

  constructor(
    private readonly pool: BufferPool,
    private offset: number,
    private readonly emit: (offset: number, length: number, buffer: ArrayBuffer) => void,
    private readonly signal: AbortSignal,
  ) {}

  async write(chunk: Uint8Array): Promise<void> {
    for (let taken = 0; taken < chunk.length;) {
      this.#buffer ??= await this.pool.acquire(this.signal);
      const length = Math.min(chunk.length - taken, PIECE_BYTES - this.#filled);
      new Uint8Array(this.#buffer).set(chunk.subarray(taken, taken + length), this.#filled);
      taken += length;
      this.#filled += length;
      if (this.#filled === PIECE_BYTES) this.flush();
    }
  }

  /** Sends what is there, or gives the empty buffer back. */
  flush(): void {
    const buffer = this.#buffer;
    if (!buffer) return;
    this.#buffer = undefined;
    if (this.#filled === 0) {
      this.pool.recycle(buffer);
      return;
    }
    this.emit(this.offset, this.#filled, buffer);
    this.offset += this.#filled;
    this.#filled = 0;
  }
}
