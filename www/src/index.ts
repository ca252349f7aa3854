/** wasm-chord: language models in the browser. Importing this touches nothing; see {@link createEngine}. */

export { createEngine } from './page/engine.js';
export { ChordError, type ChordErrorCode } from './wire/errors.js';
export { plan } from './page/plan.js';
export { modelStore } from './page/model-store.js';
export type * from './wire/types.js';
