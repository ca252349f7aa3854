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

export class LocalFile implements ReadableFile {
  /** Why the last read failed. */
  failure: ChordError | undefined;
  readonly #reader = new FileReaderSync();

  constructor(private readonly blob: Blob, private readonly name: string) {}

  read(buffer: Uint8Array, { at }: { at: number }): number {
    try {
      const bytes = new Uint8Array(this.#reader.readAsArrayBuffer(this.blob.slice(at, at + buffer.length)));
      buffer.set(bytes);
      this.failure = undefined;
      return bytes.length;
    } catch (thrown) {
      this.failure = unreadable(this.name, thrown);
      return 0;
    }
  }
}

/** The error of a file that the browser no longer reads. */
export function unreadable(name: string, cause: unknown): ChordError {
  return new ChordError('SourceChanged', `${name} can no longer be read: it changed or was removed`, { cause });
}
