/**
 * Streams of bytes, read into one buffer that is used again and again where the browser can do that.
 * The chunks that it would make otherwise become garbage faster than it is collected: in a download at
 * the speed of a local disk, hundreds of megabytes.
 */

/** Bytes of the buffer: several network reads' worth. */
const CHUNK_BYTES = 256 * 1024;
/** Bytes from one stream between two collections. */
const COLLECT_EVERY_BYTES = 8 * 1024 * 1024;

export class ChunkReader {
  readonly #reader: { into: ReadableStreamBYOBReader } | { plain: ReadableStreamDefaultReader<Uint8Array> };
  #buffer = new ArrayBuffer(CHUNK_BYTES);
  #sinceCollection = 0;

  constructor(stream: ReadableStream<Uint8Array>) {
    try {
      this.#reader = { into: stream.getReader({ mode: 'byob' }) };
    } catch {
      this.#reader = { plain: stream.getReader() };
    }
  }

  /** The next bytes, valid until the next read; undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    if ('plain' in this.#reader) return (await this.#reader.plain.read()).value;
    const { done, value } = await this.#reader.into.read(new Uint8Array(this.#buffer));
    if (value) this.#buffer = value.buffer;
    this.#sinceCollection += value?.length ?? 0;
    if (this.#sinceCollection > COLLECT_EVERY_BYTES) {
      this.#sinceCollection = 0;
      collectGarbage();
    }
    return done ? undefined : value;
  }

  /** Gives the stream up. */
  async cancel(reason?: unknown): Promise<void> {
    await ('into' in this.#reader ? this.#reader.into : this.#reader.plain).cancel(reason);
  }
}

/**
 * Asks V8 to collect. Even reading into a buffer of one's own, Chromium makes a chunk a read in a worker
 * whose heap is so quiet that it is hardly ever collected: at 300 MB/s that keeps another 30 MB alive.
 * An allocation that cannot succeed makes V8 collect before it gives up, which takes 2 to 5 ms here, in
 * the IO worker. Other engines could grant it, so they are not asked.
 */
function collectGarbage(): void {
  if (!('userAgentData' in navigator)) return;
  try {
    void new ArrayBuffer(2 ** 33 - 8);
  } catch {
    // As intended.
  }
}
