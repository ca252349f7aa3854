/**
 * How the threads of an engine on the CPU hand their slices of what they compute to one another: through shared memory
 * where the page is cross-origin isolated, and by messages where it is not. All threads come to the same exchanges in
 * the same order.
 */

import { PENDING, READY } from '../wire/generated.js';

/** One thread's end. Slices are views of the core's memory, valid only during the call. */
export interface Exchange {
  /** Hands this thread's slice of the next exchange to the others, or to the first only. `PENDING`: again, later. */
  send(slice: Float32Array, isToFirst: boolean): number;
  /** Takes another thread's slice of that exchange, if it is there. */
  receive(from: number, slice: Float32Array): number;
}

/** Looks at a counter before this thread sleeps until it changes: a few microseconds. */
const SPINS = 2_000;
/** How long a thread sleeps at most before it lets its event loop turn. */
const SLEEP_MS = 20;
/** Counters lie so far apart, in Int32: no two in one line of a processor's cache. */
const COUNTER_STRIDE = 32;

/** Bytes of shared memory for so many threads, and slices of up to `values` values. */
export function mailboxBytes(threads: number, values: number): number {
  return threads * COUNTER_STRIDE * Int32Array.BYTES_PER_ELEMENT + threads * 2 * values * Float32Array.BYTES_PER_ELEMENT;
}

/**
 * Shared memory: for each thread a counter of the exchanges that it has handed its slice over for, and room for two
 * slices, used in turn. Room is written again only when all threads have come to the exchange after it, and so have
 * read it.
 */
export class Mailbox implements Exchange {
  readonly #counters: Int32Array;
  readonly #slices: Float32Array;
  #sent = 0;

  constructor(memory: SharedArrayBuffer, private readonly self: number, private readonly threads: number, private readonly values: number) {
    this.#counters = new Int32Array(memory, 0, threads * COUNTER_STRIDE);
    this.#slices = new Float32Array(memory, this.#counters.byteLength);
  }

  send(slice: Float32Array): number {
    for (let thread = 0; thread < this.threads; thread += 1) {
      if (thread !== this.self && !this.#reaches(thread, this.#sent)) return PENDING;
    }
    this.#slices.set(slice, this.#start(this.self, this.#sent));
    this.#sent = (this.#sent + 1) | 0;
    const at = this.self * COUNTER_STRIDE;
    Atomics.store(this.#counters, at, this.#sent);
    Atomics.notify(this.#counters, at);
    return READY;
  }

  receive(from: number, slice: Float32Array): number {
    if (!this.#reaches(from, this.#sent)) return PENDING;
    const start = this.#start(from, this.#sent - 1);
    slice.set(this.#slices.subarray(start, start + slice.length));
    return READY;
  }

  /** Where the slice of a thread lies, in values. */
  #start(thread: number, exchange: number): number {
    return (thread * 2 + (exchange & 1)) * this.values;
  }

  /** Waits until a thread has handed over so many slices, but not for long. */
  #reaches(thread: number, count: number): boolean {
    const at = thread * COUNTER_STRIDE;
    for (let spin = 0; spin < SPINS; spin += 1) {
      // Counters go round.
      if (((Atomics.load(this.#counters, at) - count) | 0) >= 0) return true;
    }
    const untilMs = performance.now() + SLEEP_MS;
    for (;;) {
      const held = Atomics.load(this.#counters, at);
      if (((held - count) | 0) >= 0) return true;
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) return false;
      Atomics.wait(this.#counters, at, held, leftMs);
    }
  }
}

/** Messages: `ports` lead to the other threads, by their numbers. */
export class Messages implements Exchange {
  readonly #slices: Float32Array[][];

  /** `arrived` is called with each slice that comes. */
  constructor(private readonly ports: readonly (MessagePort | undefined)[], arrived: () => void) {
    this.#slices = ports.map(() => []);
    for (const [from, port] of ports.entries()) {
      if (!port) continue;
      port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
        this.#slices[from]?.push(new Float32Array(data));
        arrived();
      };
    }
  }

  send(slice: Float32Array, isToFirst: boolean): number {
    // Nobody waits for an empty slice.
    if (slice.length === 0) return READY;
    for (const port of isToFirst ? this.ports.slice(0, 1) : this.ports) {
      if (!port) continue;
      const { buffer } = slice.slice();
      port.postMessage(buffer, [buffer]);
    }
    return READY;
  }

  receive(from: number, slice: Float32Array): number {
    const values = this.#slices[from]?.shift();
    if (!values) return PENDING;
    slice.set(values);
    return READY;
  }

  close(): void {
    for (const port of this.ports) port?.close();
  }
}

/** A channel between each two of so many threads: for each thread its ports to the others, by their numbers. */
export function channels(threads: number): (MessagePort | undefined)[][] {
  const ports = Array.from({ length: threads }, () => Array.from<MessagePort | undefined>({ length: threads }));
  for (const [first, own] of ports.entries()) {
    for (const [second, other] of ports.entries()) {
      if (second <= first) continue;
      const { port1, port2 } = new MessageChannel();
      own[second] = port1;
      other[first] = port2;
    }
  }
  return ports;
}
