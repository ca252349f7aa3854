/** What of the package a bundler has put into its output. */

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** What each worker says first (www/src/wire/colleague.ts), whatever a minifier makes of it. */
const HELLO = /\btype:\s*(["'`])hello\1/g;

/** How many workers and wasm files the scripts and files of a folder hold, and how many of them differ. */
export function emitted(folder) {
  const files = readdirSync(folder, { recursive: true }).map(String).filter((name) => /\.(m?js|wasm)$/.test(name));
  const contents = new Map(files.map((name) => [name, readFileSync(join(folder, name), 'latin1')]));
  const workers = [...contents].flatMap(([name, text]) => (name.endsWith('.wasm') ? [] : Array((text.match(HELLO) ?? []).length).fill(text)));
  const wasm = [...contents].filter(([name]) => name.endsWith('.wasm')).map(([, bytes]) => bytes);
  return {
    workers: workers.length,
    distinctWorkers: new Set(workers).size,
    wasmFiles: wasm.length,
    distinctWasmFiles: new Set(wasm).size,
    /** Bytes of all scripts together. */
    scriptBytes: [...contents].reduce((sum, [name, text]) => sum + (name.endsWith('.wasm') ? 0 : text.length), 0),
  };
}
