/**
 * A file from the person's disk as the engine's own worker reads it: at any offset and at once, so that what
 * is read need not be kept in memory.
 */

import { ChordError } from './errors.js';

/** Workers have it; the types of pages do not. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** Bytes to read at once: each read costs milliseconds before its first byte. */
export const LOCAL_READ_BYTES = 8 * 1024 * 1024;

/** What reads bytes at once: a stored file, or one of the person's. */
export interface ReadableFile {
  /** Reads from `at` on into `buffer`; the number of bytes that were read. */
  read(buffer: Uint8Array, options: { at: number }): number;
}

/** Bytes of a file's beginning, and as many of its end, that tell whether it is still the same. */
const SAMPLE_BYTES = 4096;
/** A file is compared with what it was before a read that comes so long after the last one, */
const PAUSE_MS = 50;
/** and this often while reads follow each other. */
const COMPARE_MS = 1000;

export class LocalFile implements ReadableFile {
  /** Why the last read failed. */
  failure: ChordError | undefined;
  readonly #reader = new FileReaderSync();
  #sample: Uint8Array | undefined;
  #readAt = -Infinity;
  #comparedAt = -Infinity;

  constructor(private readonly blob: Blob, private readonly name: string) {}

  read(buffer: Uint8Array, { at }: { at: number }): number {
    try {
      this.#compare();
      const bytes = this.#bytes(at, at + buffer.length);
      buffer.set(bytes);
      this.failure = undefined;
      return bytes.length;
    } catch (thrown) {
      this.failure = unreadable(this.name, thrown);
      return 0;
    }
  }

  /** Throws where the file is another than before: Firefox reads on in a file that was written since it was chosen. */
  #compare(): void {
    const now = performance.now();
    const isDue = now - this.#readAt > PAUSE_MS || now - this.#comparedAt > COMPARE_MS;
    this.#readAt = now;
    if (!isDue) return;
    const { size } = this.blob;
    const sample = new Uint8Array(2 * SAMPLE_BYTES);
    sample.set(this.#bytes(0, SAMPLE_BYTES));
    sample.set(this.#bytes(Math.max(0, size - SAMPLE_BYTES), size), SAMPLE_BYTES);
    this.#sample ??= sample;
    if (sample.some((byte, index) => byte !== this.#sample?.[index])) {
      this.#readAt = -Infinity;
      throw new Error('it begins or ends with other bytes than when it was opened');
    }
    this.#comparedAt = now;
  }

  #bytes(from: number, to: number): Uint8Array {
    return new Uint8Array(this.#reader.readAsArrayBuffer(this.blob.slice(from, to)));
  }
}

/** The error of a file that the browser no longer reads. */
export function unreadable(name: string, cause: unknown): ChordError {
  return new ChordError('SourceChanged', `${name} can no longer be read: it changed or was removed`, { cause });
}
