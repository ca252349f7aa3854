/** What an engine worker does that another one wants as one more thread: it has a shard of a model, and follows orders. */

import { tell } from '../wire/colleague.js';
import { toWire } from '../wire/errors.js';
import type { FromFollower, ToFollower } from '../wire/protocol.js';
import { startCompiled, type Follower as CoreFollower } from './core.js';
import { Mailbox, Messages } from './exchange.js';
import { PENDING, READY } from '../wire/generated.js';

type Opening = Extract<ToFollower, { type: 'follow' }>;
const post = (message: FromFollower): void => tell(message);

export class Follower {
  #core: CoreFollower | undefined;
  #memory: WebAssembly.Memory | undefined;
  /** What came before the core was there. */
  readonly #early: ToFollower[] = [];
  readonly #orders: number[][] = [];
  /** Turns of the event loop while shared memory is waited for. */
  readonly #turn = new MessageChannel();
  #isShared = false;
  #isTurning = false;

  constructor(opening: Opening) {
    this.#turn.port1.onmessage = () => {
      this.#isTurning = false;
      this.#goOn();
    };
    this.#open(opening).catch((thrown: unknown) => post({ type: 'failed', error: toWire(thrown) }));
  }

  receive(message: ToFollower): void {
    if (!this.#core) {
      this.#early.push(message);
      return;
    }
    try {
      this.#take(this.#core, message);
    } catch (thrown) {
      post({ type: 'failed', error: toWire(thrown) });
    }
  }

  async #open({ compiled, build, simd, headers, options, shard, threads, values, ports, mailbox }: Opening): Promise<void> {
    const { module, memory } = await startCompiled({ build, simd }, compiled);
    const [first, ...others] = headers;
    const reader = new module.HeaderReader(first?.size ?? NaN);
    for (const piece of first?.pieces ?? []) reader.feed(piece);
    // Counting the parts of the model closes the header of the first.
    reader.partCount();
    for (const { size, pieces } of others) {
      reader.nextPart(size);
      for (const piece of pieces) reader.feed(piece);
    }
    const core = reader.follow(options, shard, threads);
    this.#isShared = mailbox !== undefined;
    core.setPeers(mailbox ? new Mailbox(mailbox, shard, threads, values) : new Messages(ports, () => this.#goOn()));
    this.#memory = memory;
    this.#core = core;
    post({ type: 'opened', wasmBytes: memory.buffer.byteLength });
    for (const message of this.#early.splice(0)) this.receive(message);
  }

  #take(core: CoreFollower, message: ToFollower): void {
    switch (message.type) {
      case 'follow':
        break;
      case 'supply': {
        let supplied = 0;
        for (let at = 0; at < message.ranges.length; at += 2) {
          const [offset = 0, length = 0] = message.ranges.slice(at, at + 2);
          core.supply(message.part, offset, message.bytes.subarray(supplied, supplied + length));
          supplied += length;
        }
        post({ type: 'supplied', bytes: supplied, wasmBytes: this.#memory?.buffer.byteLength ?? 0 });
        break;
      }
      case 'order':
        this.#orders.push(message.order);
        this.#run(core);
        break;
    }
  }

  #goOn(): void {
    try {
      if (this.#core) this.#run(this.#core);
    } catch (thrown) {
      post({ type: 'failed', error: toWire(thrown) });
    }
  }

  /** Runs what was ordered, one order after the other, until there is something to wait for. */
  #run(core: CoreFollower): void {
    for (;;) {
      const poll = core.poll();
      if (poll === PENDING && this.#isShared && !this.#isTurning) {
        this.#isTurning = true;
        this.#turn.port2.postMessage(undefined);
      }
      if (poll !== READY) return;
      const order = this.#orders.shift();
      if (!order) return;
      core.order(Float64Array.from(order));
    }
  }
}
