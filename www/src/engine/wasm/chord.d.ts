/** What wasm-bindgen makes of `src/web.rs`, the same for both builds. */
import type { CoreModule } from '../core.js';

export const HeaderReader: CoreModule['HeaderReader'];
export const simd: CoreModule['simd'];

/** Instantiates a compiled module. */
export default function start(options: { module_or_path: WebAssembly.Module }): Promise<{ memory: WebAssembly.Memory }>;
