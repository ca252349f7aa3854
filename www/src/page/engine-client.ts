/** The page's side of the engine worker: starts it, watches it, and routes its messages. */

import { ChordError, fromWire } from '../wire/errors.js';
import { Handshake } from '../wire/handshake.js';
import {
  ENGINE_SILENT_TICKS_MAX,
  type FromEngine, type Queries, type Query, type QueryName, type ToEngine,
} from '../wire/protocol.js';
import { Watchdog } from '../wire/watchdog.js';

/** A worker that took so long for a step may take so many times as long for the next. */
const STEP_GROWTH = 4;

/** What the owner of a client hears. */
export interface EngineClientEvents {
  message(message: FromEngine): void;
  /** Whether the owner waits for a message, so that silence would mean a dead worker. */
  isAwaited(): boolean;
  /** The worker is gone; nothing else is heard from it. */
  died(error: ChordError): void;
}

interface PendingQuery {
  resolve(value: Queries[QueryName]['answer']): void;
  reject(error: ChordError): void;
}

export class EngineClient {
  #worker: Worker;
  #greeted = false;
  #closed = false;
  readonly #handshake: Handshake;
  readonly #watchdog: Watchdog;
  #queries = new Map<number, PendingQuery>();
  #nextQuery = 0;

  constructor(private readonly events: EngineClientEvents) {
    if (typeof Worker === 'undefined') {
      throw new ChordError('UnsupportedBrowser', 'there are no Web Workers here', { details: { feature: 'Worker' } });
    }
    try {
      this.#worker = new Worker(new URL('./engine-worker.js', import.meta.url), { type: 'module' });
    } catch (cause) {
      throw new ChordError('WorkerFailed', 'the engine worker could not be started', { cause });
    }
    this.#worker.onmessage = ({ data }: MessageEvent<FromEngine>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#die(new ChordError('WorkerFailed', `the engine worker failed: ${event.message || 'its script could not be loaded'}`));
    };
    this.#worker.onmessageerror = () => this.#die(new ChordError('WorkerFailed', 'a message of the engine worker was lost'));
    this.#handshake = new Handshake(new URL('./engine-worker.js', import.meta.url), () => {
      this.#die(new ChordError('WorkerFailed', 'the engine worker did not start in time'));
    });
    this.#watchdog = new Watchdog({
      isAwaited: () => this.#greeted && (this.#queries.size > 0 || events.isAwaited()),
      ping: () => this.send({ type: 'ping' }),
      died: () => this.#die(new ChordError('WorkerFailed', 'the engine worker does not answer')),
    }, ENGINE_SILENT_TICKS_MAX);
  }

  send(message: ToEngine): void {
    if (!this.#closed) this.#worker.postMessage(message);
  }

  /** Asks a question; it is answered even while a generation runs. */
  query<Name extends QueryName>(name: Name, ask: Queries[Name]['ask']): Promise<Queries[Name]['answer']> {
    return new Promise((resolve, reject) => {
      const id = this.#nextQuery;
      this.#nextQuery += 1;
      this.#queries.set(id, { resolve: resolve as PendingQuery['resolve'], reject });
      this.send({ type: 'query', id, query: { name, ask } as Query });
    });
  }

  /** Ends the worker, and with it its own worker and every connection. Questions fail with `error`. */
  close(error: ChordError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handshake.done();
    this.#watchdog.stop();
    this.#worker.onmessage = null;
    this.#worker.terminate();
    const pending = [...this.#queries.values()];
    this.#queries.clear();
    for (const { reject } of pending) reject(error);
  }

  #receive(message: FromEngine): void {
    this.#watchdog.heard();
    switch (message.type) {
      case 'hello':
        this.#greeted = true;
        this.#handshake.done();
        break;
      case 'pong':
        break;
      case 'slow':
        this.#watchdog.allow(STEP_GROWTH * message.stepMs);
        break;
      case 'answer':
        this.#take(message.id)?.resolve(message.value);
        break;
      case 'queryFailed':
        this.#take(message.id)?.reject(fromWire(message.error));
        break;
      case 'fatal':
        this.#die(fromWire(message.error));
        break;
      default:
        this.events.message(message);
    }
  }

  #take(id: number): PendingQuery | undefined {
    const query = this.#queries.get(id);
    this.#queries.delete(id);
    return query;
  }

  #die(error: ChordError): void {
    if (this.#closed) return;
    this.close(error);
    this.events.died(error);
  }
}
