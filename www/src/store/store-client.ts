/**
 * The IO worker's side of a store worker, where a flush holds nothing up. It does not work where its script
 * is missing, or the browser lets only one worker open the files.
 */

import type { FromStore, ToStore } from '../wire/protocol.js';
import type { CommitRequest } from './commit.js';
import type { PageRecord } from './journal.js';

/** How long the worker may take for one answer before it is given up. */
const COMMIT_MS_MAX = 6_000;

export class StoreClient {
  #worker: Worker | undefined;
  #hasWorker = true;

  constructor(private readonly folder: string) {}

  /** Commits pages, one call at a time; undefined where the worker cannot: then the caller must. */
  async commit(request: CommitRequest): Promise<PageRecord[] | undefined> {
    const answer = await this.#ask({ type: 'commit', folder: this.folder, request }, COMMIT_MS_MAX);
    if (answer?.type === 'committed') return answer.records;
    this.close();
    return undefined;
  }

  /** SHA-256 of the whole file in hex; undefined where the worker cannot tell. */
  async hash(bytes: number): Promise<string | undefined> {
    const answer = await this.#ask({ type: 'hash', folder: this.folder, bytes }, Infinity);
    return answer?.type === 'hashed' ? answer.sha256 : undefined;
  }

  close(): void {
    this.#hasWorker = false;
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  /** The worker's answer; undefined if there is none. */
  async #ask(message: ToStore, patienceMs: number): Promise<FromStore | undefined> {
    if (!this.#hasWorker) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const worker = this.#worker ??= new Worker(new URL('./store-worker.js', import.meta.url), { type: 'module' });
      return await new Promise<FromStore | undefined>((resolve) => {
        worker.onmessage = ({ data }: MessageEvent<FromStore>) => resolve(data.type === 'failed' ? undefined : data);
        worker.onmessageerror = () => resolve(undefined);
        worker.onerror = (event) => {
          event.preventDefault();
          resolve(undefined);
        };
        if (Number.isFinite(patienceMs)) timer = setTimeout(resolve, patienceMs, undefined);
        worker.postMessage(message);
      });
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }
}
