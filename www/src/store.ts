/** The models kept on the person's disk. */

import { ChordError } from './errors.js';
import { parseSource } from './source.js';
import type { ModelSource, ModelStore, StoredModel } from './types.js';

/**
 * This version keeps nothing on disk: every model is read from its source. The store is truthful
 * about that, so that code written for it works: it lists nothing, has nothing to delete, and cannot
 * verify a model.
 */
export const modelStore: ModelStore = {
  list: () => Promise.resolve<StoredModel[]>([]),

  async verify(model: ModelSource): Promise<boolean> {
    check(model);
    throw new ChordError('NotFound', 'the model is not in the store');
  },

  async delete(model: ModelSource): Promise<boolean> {
    check(model);
    return false;
  },

  async estimate() {
    const storage = globalThis.navigator?.storage;
    const { usage = 0, quota = 0 }: StorageEstimate = await storage?.estimate?.().catch(() => ({})) ?? {};
    const persisted = await storage?.persisted?.().catch(() => false) ?? false;
    return { usageBytes: usage, quotaBytes: quota, persisted };
  },
};

function check(model: ModelSource): void {
  parseSource(model, globalThis.document?.baseURI ?? globalThis.location?.href);
}
