/** The models kept on the person's disk, as the page sees them. An IO worker of its own does the work. */

import { ChordError, fromWire } from '../wire/errors.js';
import { IO_SILENT_TICKS_MAX, NETWORK_DEFAULTS, type FromIo, type NetworkSettings, type Ping, type Pong, type StoreAnswers, type StoreQuestion, type ToIo } from '../wire/protocol.js';
import { Member } from './member.js';
import { checkHub } from './hub-name.js';
import { parseSource } from './source.js';
import type { HubOptions, ModelSource, ModelStore } from '../wire/types.js';
import { Watchdog } from '../wire/watchdog.js';

export const modelStore: ModelStore = {
  // A server that renders the page has none.
  list: async () => (typeof Worker === 'undefined' ? [] : ask('list', [])),
  verify: async (model, options) => ask('verify', model, options),
  delete: async (model, options) => ask('delete', model, options),

  persist: async () => await globalThis.navigator?.storage?.persist?.().catch(() => false) ?? false,

  async estimate() {
    const storage = globalThis.navigator?.storage;
    const { usage = 0, quota = 0 }: StorageEstimate = await storage?.estimate?.().catch(() => ({})) ?? {};
    const persisted = await storage?.persisted?.().catch(() => false) ?? false;
    return { usageBytes: usage, quotaBytes: quota, persisted };
  },
};

/** Asks a new IO worker one question. */
function ask<Name extends StoreQuestion>(question: Name, model: ModelSource, options: HubOptions = {}): Promise<StoreAnswers[Name]> {
  const network: NetworkSettings = { ...NETWORK_DEFAULTS, hub: checkHub(options.hub) };
  const parts = question === 'list' ? [] : parseSource(model, globalThis.document?.baseURI ?? globalThis.location?.href, network.hub);
  const { port1, port2 } = new MessageChannel();
  let member: Member | undefined;
  let watchdog: Watchdog | undefined;
  let isGreeted = false;
  const answer = new Promise<StoreAnswers[Name]>((resolve, reject) => {
    member = new Member('io-worker', port2, { greeted: () => { isGreeted = true; }, gone: reject });
    const post = (message: ToIo | Ping): void => port1.postMessage(message);
    watchdog = new Watchdog({
      isAwaited: () => isGreeted,
      ping: () => post({ type: 'ping' }),
      fellSilent: () => reject(new ChordError('WorkerFailed', 'the IO worker does not answer')),
    }, IO_SILENT_TICKS_MAX);
    port1.onmessage = ({ data }: MessageEvent<FromIo | Pong>) => {
      watchdog?.heard();
      if (data.type === 'storeAnswer') resolve(data.value as StoreAnswers[Name]);
      if (data.type === 'storeFailed') reject(fromWire(data.error));
    };
    post({ type: 'store', question, parts, network });
  });
  return answer.finally(() => {
    watchdog?.stop();
    member?.end();
    port1.close();
  });
}
