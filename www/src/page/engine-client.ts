/** The page's side of the engine worker: starts it, watches it, and routes its messages. */

import { ChordError, fromWire } from '../wire/errors.js';
import { Member } from './member.js';
import {
  ENGINE_SILENT_TICKS_MAX, ENGINE_SILENT_TICKS_MAX_UNSEEN,
  type FromEngine, type Ping, type Pong, type Queries, type Query, type QueryName, type ToEngine,
} from '../wire/protocol.js';
import { Watchdog } from '../wire/watchdog.js';

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
  readonly #port: MessagePort;
  readonly #member: Member;
  readonly #watchdog: Watchdog;
  #isGreeted = false;
  #closed = false;
  #queries = new Map<number, PendingQuery>();
  #nextQuery = 0;

  constructor(private readonly events: EngineClientEvents) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: MessageEvent<FromEngine | Pong>) => this.#receive(data);
    port1.onmessageerror = () => this.#die(new ChordError('WorkerFailed', 'a message of the engine worker was lost'));
    this.#watchdog = new Watchdog({
      isAwaited: () => this.#isGreeted && (this.#queries.size > 0 || events.isAwaited()),
      ping: () => this.#post({ type: 'ping' }),
      fellSilent: () => this.#die(new ChordError('WorkerFailed', 'the engine worker does not answer')),
    }, ENGINE_SILENT_TICKS_MAX_UNSEEN);
    try {
      this.#member = new Member('engine-worker', port2, {
        greeted: () => { this.#isGreeted = true; },
        lives: () => this.#watchdog.allow(ENGINE_SILENT_TICKS_MAX),
        gone: (error) => this.#die(error),
      });
    } catch (thrown) {
      this.#watchdog.stop();
      port1.close();
      throw thrown;
    }
  }

  #post(message: ToEngine | Ping): void {
    if (!this.#closed) this.#port.postMessage(message);
  }

  send(message: ToEngine): void {
    this.#post(message);
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

  /** Ends the worker, and with it those that it wanted and every connection. Questions fail with `error`. */
  close(error: ChordError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watchdog.stop();
    this.#port.onmessage = null;
    this.#port.close();
    this.#member.end();
    const pending = [...this.#queries.values()];
    this.#queries.clear();
    for (const { reject } of pending) reject(error);
  }

  #receive(message: FromEngine | Pong): void {
    this.#watchdog.heard();
    switch (message.type) {
      case 'pong':
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
