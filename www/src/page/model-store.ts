/** The models kept on the person's disk, as the page sees them. An IO worker of its own does the work. */

import { ChordError, fromWire } from '../wire/errors.js';
import { Handshake } from '../wire/handshake.js';
import { IO_SILENT_TICKS_MAX, NETWORK_DEFAULTS, type FromIo, type StoreAnswers, type StoreQuestion, type ToIo } from '../wire/protocol.js';
import { parseSource } from './source.js';
import type { ModelSource, ModelStore } from '../wire/types.js';
import { Watchdog } from '../wire/watchdog.js';

export const modelStore: ModelStore = {
  // A server that renders the page has none.
  list: async () => (typeof Worker === 'undefined' ? [] : ask('list', [])),
  verify: async (model) => ask('verify', model),
  delete: async (model) => ask('delete', model),

  async estimate() {
    const storage = globalThis.navigator?.storage;
    const { usage = 0, quota = 0 }: StorageEstimate = await storage?.estimate?.().catch(() => ({})) ?? {};
    const persisted = await storage?.persisted?.().catch(() => false) ?? false;
    return { usageBytes: usage, quotaBytes: quota, persisted };
  },
};

/** Asks a new IO worker one question. */
function ask<Name extends StoreQuestion>(question: Name, model: ModelSource): Promise<StoreAnswers[Name]> {
  const parts = question === 'list' ? [] : parseSource(model, globalThis.document?.baseURI ?? globalThis.location?.href);
  let worker: Worker | undefined;
  let handshake: Handshake | undefined;
  let watchdog: Watchdog | undefined;
  let isGreeted = false;
  const answer = new Promise<StoreAnswers[Name]>((resolve, reject) => {
    if (typeof Worker === 'undefined') {
      throw new ChordError('UnsupportedBrowser', 'there are no Web Workers here', { details: { feature: 'Worker' } });
    }
    const fail = (why: string): void => reject(new ChordError('WorkerFailed', `the IO worker failed: ${why}`));
    handshake = new Handshake(new URL('./io-worker.js', import.meta.url), () => fail('it did not start in time'));
    const asked = worker = new Worker(new URL('./io-worker.js', import.meta.url), { type: 'module' });
    watchdog = new Watchdog({
      isAwaited: () => isGreeted,
      ping: () => asked.postMessage({ type: 'ping' } satisfies ToIo),
      died: () => fail('it does not answer'),
    }, IO_SILENT_TICKS_MAX);
    worker.onerror = (event) => {
      event.preventDefault();
      fail(event.message || 'its script could not be loaded');
    };
    worker.onmessage = ({ data }: MessageEvent<FromIo>) => {
      isGreeted = true;
      handshake?.done();
      watchdog?.heard();
      if (data.type === 'storeAnswer') resolve(data.value as StoreAnswers[Name]);
      if (data.type === 'storeFailed') reject(fromWire(data.error));
    };
    const message: ToIo = { type: 'store', question, parts, network: NETWORK_DEFAULTS };
    worker.postMessage(message);
  });
  return answer.finally(() => {
    handshake?.done();
    watchdog?.stop();
    worker?.terminate();
  });
}
