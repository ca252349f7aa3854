/** What opening a model would take, from its header alone. */

import { EngineClient } from './engine-client.js';
import { aborted, fromWire, throwIfAborted, type ChordError } from '../wire/errors.js';
import { openRequest } from './options.js';
import { modelStore } from './model-store.js';
import type { ModelSource, Plan, PlanOptions } from '../wire/types.js';

/** Reads the header of `model` and says what opening it with `options` would take. */
export async function plan(model: ModelSource, options: PlanOptions = {}): Promise<Plan> {
  const opened = openRequest({ ...options, model });
  // A header alone is not worth keeping, least of all at the cost of another model.
  const request = { ...opened, store: { ...opened.store, isGlance: true } };
  const { signal } = options;
  throwIfAborted(signal);
  let end!: (error: ChordError) => void;
  const planned = new Promise<Plan>((resolve, reject) => {
    end = reject;
    const client = new EngineClient({
      died: reject,
      isAwaited: () => true,
      message: (message) => {
        if (message.type === 'planned') resolve(message.plan);
        if (message.type === 'refused') reject(fromWire(message.error));
      },
    });
    end = (error) => {
      client.close(error);
      reject(error);
    };
    client.send({ type: 'plan', request });
  });
  const stop = (): void => end(aborted(signal));
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const found = await planned;
    const { quotaBytes, usageBytes } = await modelStore.estimate();
    const isKept = request.store.isUsed && request.parts.some(({ kind }) => kind !== 'blob');
    const reasons = [...found.reasons];
    if (isKept && quotaBytes > 0) reasons.push(...storageReasons(found, quotaBytes - usageBytes));
    return { ...found, reasons, ...quotaBytes > 0 ? { quotaBytes, usageBytes } : {} };
  } finally {
    signal?.removeEventListener('abort', stop);
    end(aborted());
  }
}

/** What speaks against keeping the model on this device. */
function storageReasons({ downloadBytes }: Plan, freeBytes: number): string[] {
  if (downloadBytes <= freeBytes) return [];
  return [`the browser grants ${Math.max(0, freeBytes)} bytes more of storage, and ${downloadBytes} would be kept: older models are removed for it, or it is fetched again next time`];
}
