/** wasm-chord: language models in the browser. Importing this touches nothing; see {@link createEngine}. */

export { createEngine } from './engine.js';
export { ChordError, type ChordErrorCode } from './errors.js';
export { plan } from './plan.js';
export { modelStore } from './store.js';
export type * from './types.js';
