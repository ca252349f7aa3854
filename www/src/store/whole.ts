/** The SHA-256 of a whole stored file, taken slowly: it runs beside an engine that needs the processor more. */

import { hex, type SyncFile } from './layout.js';
import { Sha256 } from './sha256.js';

/** Bytes that are hashed at a time. */
const SLICE_BYTES = 1024 * 1024;
/** Pause after each slice, as a multiple of the time that the slice took. */
const REST = 2;

/** Hashes the first `bytes` bytes of `file`; in hex. */
export async function hashWhole(file: SyncFile, bytes: number): Promise<string> {
  const whole = new Sha256();
  const buffer = new Uint8Array(SLICE_BYTES);
  for (let offset = 0; offset < bytes;) {
    const startMs = performance.now();
    const count = file.read(buffer.subarray(0, Math.min(SLICE_BYTES, bytes - offset)), { at: offset });
    if (!(count > 0)) throw new Error('the file is shorter than it should be');
    whole.update(buffer.subarray(0, count));
    offset += count;
    await new Promise((done) => setTimeout(done, REST * (performance.now() - startMs)));
  }
  return hex(whole.finish());
}
