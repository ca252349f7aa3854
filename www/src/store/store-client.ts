/**
 * The IO worker's side of a store worker, where a flush holds nothing up. It does not work where its script
 * is missing, or the browser lets only one worker open the files.
 */

import { Colleague } from '../wire/colleague.js';
import { STORE_SILENT_TICKS_MAX, type FromStore, type Ping, type Pong, type ToStore } from '../wire/protocol.js';
import { Watchdog } from '../wire/watchdog.js';
import type { CommitRequest } from './commit.js';
import type { PageRecord } from './journal.js';

export class StoreClient {
  #worker: Colleague<ToStore | Ping, FromStore | Pong> | undefined;
  #hasWorker = true;
  #watchdog: Watchdog | undefined;
  /** Takes the answer to what was asked last. */
  #answered: ((answer: FromStore | undefined) => void) | undefined;

  constructor(private readonly folder: string) {}

  /** Commits pages, one call at a time; undefined where the worker cannot: then the caller must. */
  async commit(request: CommitRequest): Promise<PageRecord[] | undefined> {
    const answer = await this.#ask({ type: 'commit', folder: this.folder, request });
    if (answer?.type === 'committed') return answer.records;
    this.close();
    return undefined;
  }

  /** SHA-256 of the whole file in hex; undefined where the worker cannot tell. */
  async hash(bytes: number): Promise<string | undefined> {
    const answer = await this.#ask({ type: 'hash', folder: this.folder, bytes });
    return answer?.type === 'hashed' ? answer.sha256 : undefined;
  }

  close(): void {
    this.#hasWorker = false;
    this.#watchdog?.stop();
    this.#worker?.end();
    this.#worker = undefined;
    this.#answer(undefined);
  }

  /** The worker's answer; undefined if there is none. */
  #ask(message: ToStore): Promise<FromStore | undefined> {
    if (!this.#hasWorker) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#answered = resolve;
      (this.#worker ??= this.#start()).send(message);
    });
  }

  #answer(answer: FromStore | undefined): void {
    this.#answered?.(answer);
    this.#answered = undefined;
  }

  #start(): Colleague<ToStore | Ping, FromStore | Pong> {
    const worker = new Colleague<ToStore | Ping, FromStore | Pong>('store-worker', {
      message: (message) => {
        this.#watchdog?.heard();
        if (message.type !== 'pong') this.#answer(message.type === 'failed' ? undefined : message);
      },
      gone: () => this.close(),
    });
    this.#watchdog = new Watchdog({
      isAwaited: () => this.#answered !== undefined,
      ping: () => worker.send({ type: 'ping' }),
      fellSilent: () => this.close(),
    }, STORE_SILENT_TICKS_MAX);
    return worker;
  }
}
