/**
 * The engine worker's side of the other threads that compute on the CPU. Each is a worker of the same script with a
 * core and a memory of its own: it gets its rows of the weights, and runs what the core of this worker orders.
 */

import { Colleague } from '../wire/colleague.js';
import { fromWire } from '../wire/errors.js';
import { FOLLOWER_SILENT_TICKS_MAX, FOLLOWER_STARTING_TICKS_MAX, type FromFollower, type Ping, type Pong, type ToFollower } from '../wire/protocol.js';
import { Watchdog } from '../wire/watchdog.js';
import type { Core, Engine, Peers } from './core.js';
import { Mailbox, Messages, channels, mailboxBytes, type Exchange } from './exchange.js';
import { LOST, PENDING, READY, type CoreOptions } from '../wire/generated.js';

/** Most threads that compute unless the caller asks for more. */
const THREADS_DEFAULT_MAX = 8;
/** Logical processors up to which each gets a thread: beyond, two of them often are one core. */
const CORES_ALL_MAX = 4;
/** Bytes of weights for each thread at least, unless the caller says how many threads: less takes longer to hand over than to compute. */
const THREAD_BYTES_SHARED = 48 << 20;
const THREAD_BYTES_MESSAGES = 192 << 20;
/** Bytes of weights on their way to another thread from which on no more are asked for. */
const BACKLOG_BYTES_MAX = 64 << 20;

/** The header of a part, as it was read. */
export interface HeaderBytes {
  size: number;
  pieces: Uint8Array[];
}

/** Options of the core: how many threads may compute. */
export function threadOptions(asked: number | undefined): Required<Pick<CoreOptions, 'threads' | 'threadBytes'>> {
  if (asked !== undefined) return { threads: asked, threadBytes: 0 };
  // Not in every browser.
  const { hardwareConcurrency: cores = 1 } = globalThis.navigator as Partial<Navigator>;
  const threads = Math.min(cores <= CORES_ALL_MAX ? cores : Math.ceil(cores / 2), THREADS_DEFAULT_MAX);
  return { threads: Math.max(1, threads), threadBytes: isShared() ? THREAD_BYTES_SHARED : THREAD_BYTES_MESSAGES };
}

/** Whether memory can be shared here. */
function isShared(): boolean {
  return globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== 'undefined';
}

/** What the owner of a team hears. */
export interface TeamEvents {
  /** The computation can go on. */
  wake(): void;
  /** There is room for more weights. */
  drained(): void;
  /** A thread is gone, or stuck: no more can be computed together. */
  lost(why: string): void;
}

interface Follower {
  worker: Colleague<ToFollower | Ping, FromFollower | Pong>;
  isOpen: boolean;
  backlogBytes: number;
  wasmBytes: number;
}

export class Team implements Peers {
  readonly #followers: Follower[];
  readonly #exchange: Exchange;
  readonly #watchdog: Watchdog;
  /** Turns of the event loop while shared memory is waited for. */
  readonly #turn: MessageChannel | undefined;
  #isTurning = false;
  #isLost = false;
  /** The core waits for the slice of another thread. */
  #isWaiting = false;

  constructor(private readonly engine: Engine, core: Core, headers: HeaderBytes[], options: string, private readonly events: TeamEvents) {
    const threads = engine.threads();
    const values = engine.sliceValues();
    const mailbox = isShared() ? new SharedArrayBuffer(mailboxBytes(threads, values)) : undefined;
    const ports = mailbox ? [] : channels(threads);
    this.#followers = Array.from({ length: threads - 1 }, (_, index): Follower => {
      const shard = index + 1;
      const follower: Follower = {
        worker: new Colleague('engine-worker', {
          message: (message) => this.#receive(follower, message),
          gone: (why) => this.#lose(why),
        }),
        isOpen: false,
        backlogBytes: 0,
        wasmBytes: 0,
      };
      const own = ports[shard] ?? [];
      const { build, compiled, simd } = core;
      const message: ToFollower = { type: 'follow', compiled, build, simd, headers, options, shard, threads, values, ports: own, ...mailbox ? { mailbox } : {} };
      follower.worker.send(message, own.filter((port) => port !== undefined));
      return follower;
    });
    if (mailbox) {
      this.#exchange = new Mailbox(mailbox, 0, threads, values);
      this.#turn = new MessageChannel();
      this.#turn.port1.onmessage = () => {
        this.#isTurning = false;
        this.#arrived();
      };
    } else {
      this.#exchange = new Messages(ports[0] ?? [], () => this.#arrived());
    }
    this.#watchdog = new Watchdog({
      isAwaited: () => this.#isWaiting,
      ping: () => undefined,
      fellSilent: () => this.#lose('a thread does not answer'),
    }, FOLLOWER_STARTING_TICKS_MAX);
    engine.setPeers(this);
  }

  /** Bytes of the memories of the others. */
  get wasmBytes(): number {
    return this.#followers.reduce((sum, { wasmBytes }) => sum + wasmBytes, 0);
  }

  /** Whether so many weights are on their way to another thread that no more should be asked for. */
  get isFull(): boolean {
    return this.#followers.some(({ backlogBytes }) => backlogBytes >= BACKLOG_BYTES_MAX);
  }

  /** Hands to each of the others what it needs of a piece of the source. */
  supply(part: number, offset: number, bytes: Uint8Array): void {
    if (this.#isLost) return;
    for (const [index, follower] of this.#followers.entries()) {
      const needed = this.engine.deliveries(index + 1, part, offset, bytes.length);
      let length = 0;
      for (let at = 0; at < needed.length; at += 2) length += (needed[at + 1] ?? 0) - (needed[at] ?? 0);
      if (length === 0) continue;
      const joined = new Uint8Array(length);
      const ranges: number[] = [];
      let joinedBytes = 0;
      for (let at = 0; at < needed.length; at += 2) {
        const [start = 0, end = 0] = needed.subarray(at, at + 2);
        joined.set(bytes.subarray(start, end), joinedBytes);
        ranges.push(offset + start, end - start);
        joinedBytes += end - start;
      }
      follower.backlogBytes += length;
      follower.worker.send({ type: 'supply', part, ranges, bytes: joined }, [joined.buffer]);
    }
  }

  /** Called by the core: tells the others what to do. */
  order(numbers: Float64Array): void {
    const order = Array.from(numbers);
    for (const { worker } of this.#followers) worker.send({ type: 'order', order });
  }

  /** Called by the core; see {@link Exchange.send}. */
  send(slice: Float32Array, isToFirst: boolean): number {
    return this.#waits(this.#isLost ? LOST : this.#exchange.send(slice, isToFirst));
  }

  /** Called by the core; see {@link Exchange.receive}. */
  receive(from: number, slice: Float32Array): number {
    return this.#waits(this.#isLost ? LOST : this.#exchange.receive(from, slice));
  }

  /** Ends the others. */
  end(): void {
    this.#isLost = true;
    this.#watchdog.stop();
    this.#turn?.port1.close();
    if (this.#exchange instanceof Messages) this.#exchange.close();
    for (const { worker } of this.#followers) worker.end();
  }

  #waits(poll: number): number {
    this.#isWaiting = poll === PENDING;
    if (poll === READY) this.#watchdog.heard();
    if (this.#isWaiting && this.#turn && !this.#isTurning) {
      this.#isTurning = true;
      this.#turn.port2.postMessage(undefined);
    }
    return poll;
  }

  /** A slice may have come. */
  #arrived(): void {
    try {
      if (this.#isWaiting && this.engine.goOn()) this.events.wake();
    } catch {
      // A trap: the next step meets it too.
      this.events.wake();
    }
  }

  #receive(follower: Follower, message: FromFollower | Pong): void {
    if (this.#isLost) return;
    this.#watchdog.heard();
    switch (message.type) {
      case 'pong':
        break;
      case 'opened':
        follower.isOpen = true;
        follower.wasmBytes = message.wasmBytes;
        if (this.#followers.every(({ isOpen }) => isOpen)) this.#watchdog.allow(FOLLOWER_SILENT_TICKS_MAX);
        break;
      case 'supplied':
        follower.backlogBytes -= message.bytes;
        follower.wasmBytes = message.wasmBytes;
        this.events.drained();
        break;
      case 'failed':
        this.#lose(`a thread failed: ${fromWire(message.error).message}`);
        break;
    }
  }

  #lose(why: string): void {
    if (this.#isLost) return;
    this.end();
    this.events.lost(why);
  }
}
