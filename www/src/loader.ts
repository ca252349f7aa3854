/**
 * Brings the bytes of a model from the IO worker to the core: first the headers, then the ranges that
 * the core wants, several at a time; or whole files in order where a server ignores ranges.
 */

import type { Core, HeaderReader, Session } from './core.js';
import { ChordError, toChordError } from './errors.js';
import { IoClient, type ReadHandler } from './io-client.js';

/** Ranges asked for at a time. */
const RANGES_IN_FLIGHT = 4;
/** Bytes of the first read of a header; each further read is four times longer, up to the maximum. */
const HEADER_BYTES_FIRST = 256 * 1024;
const HEADER_BYTES_STEP_MAX = 4 * 1024 * 1024;
/** The state of a group whose tensors are all there. */
const RESIDENT = 2;

/** Sizes that the core derives from the header. */
export interface CorePlan {
  downloadBytes: number;
  weightBytes: number;
  kvBytes: number;
  scratchBytes: number;
}

/** Reports of a loader; none of them may throw. */
export interface LoaderEvents {
  /** Bytes arrived, or loading failed: a waiting computation should look again. */
  changed(): void;
  loaded(): void;
  failed(error: ChordError): void;
  progress(loadedBytes: number, totalBytes: number, layer: number, layers: number): void;
  /** The core trapped. */
  panicked(error: ChordError): void;
}

/** A part that its server sends only whole, and where to go on with it. */
interface SequentialPart {
  part: number;
  position: number;
  /** Read with the header, yet perhaps weights: to be supplied once the model is open. */
  tail: Uint8Array[];
  tailOffset: number;
}

/** Reads the headers of all parts. */
export class HeaderLoader {
  readonly sequential: SequentialPart[] = [];
  #reader: HeaderReader | undefined;

  constructor(private readonly core: Core, private readonly io: IoClient) {}

  /** Resolves to a reader that has the headers of all `files`. Throws what the core says of malformed ones. */
  async read(files: number): Promise<HeaderReader> {
    let reader = await this.#readPart(0);
    const parts = reader.partCount();
    if (parts !== files) {
      reader.free();
      const hint = files === 1 ? 'give the URL of a part named like model-00001-of-00003.gguf, or a list of all parts' : 'give each part once, in order';
      throw new ChordError('InvalidSource', `the model has ${parts} parts but ${files} were given; ${hint}`, { details: { need: parts, have: files } });
    }
    for (let part = 1; part < parts; part += 1) reader = await this.#readPart(part);
    return reader;
  }

  async #readPart(part: number): Promise<HeaderReader> {
    let offset = 0;
    for (let length = HEADER_BYTES_FIRST; ; length = Math.min(length * 4, HEADER_BYTES_STEP_MAX)) {
      const { reader, complete, received, kept } = await this.#readRange(part, offset, length);
      if (complete && reader) {
        if (this.io.facts[part]?.sequential) {
          this.sequential.push({ part, position: offset + received, tail: kept, tailOffset: offset });
        }
        return reader;
      }
      if (received < length) {
        throw new ChordError('InvalidGguf', `${this.io.name(part)} ends within its header, after ${offset + received} bytes`);
      }
      offset += length;
    }
  }

  /** Feeds one range to the reader, which is made when the first bytes tell the file's size. */
  #readRange(part: number, offset: number, length: number): Promise<{ reader: HeaderReader | undefined; complete: boolean; received: number; kept: Uint8Array[] }> {
    return new Promise((resolve, reject) => {
      const kept: Uint8Array[] = [];
      let complete = false;
      let received = 0;
      this.io.read(part, offset, length, {
        piece: (at, bytes) => {
          try {
            if (at === 0) this.#begin(part);
            received += bytes.length;
            if (this.io.facts[part]?.sequential) kept.push(bytes.slice());
            if (!complete) complete = this.#reader?.feed(bytes) ?? false;
          } catch (thrown) {
            this.io.cancelAll();
            reject(this.#explain(part, thrown));
          }
        },
        done: () => resolve({ reader: this.#reader, complete, received, kept }),
        failed: reject,
      });
    });
  }

  #begin(part: number): void {
    const size = this.io.facts[part]?.identity.size ?? NaN;
    if (part === 0) this.#reader = new this.core.module.HeaderReader(size);
    else this.#reader?.nextPart(size);
  }

  /** Names the file in the core's error, and says when it is a web page. */
  #explain(part: number, thrown: unknown): ChordError {
    const error = toChordError(thrown);
    const { contentType } = this.io.facts[part] ?? {};
    const page = /^text\/html\b/i.test(contentType ?? '') ? '; the server sent a web page' : '';
    return new ChordError(error.code, `${this.io.name(part)}: ${error.message}${page}`, {
      retryable: error.retryable,
      cause: error.cause,
      details: { ...error.details, ...contentType === undefined ? {} : { contentType } },
    });
  }
}

/** Opens a model and keeps the core supplied with bytes. */
export class Loader {
  /** Why loading stopped, until it is resumed. */
  failure: ChordError | undefined;
  #inFlight = 0;
  #suppliedBytes = 0;
  #isLoaded = false;
  #isStreaming = false;

  constructor(
    readonly session: Session,
    private readonly io: IoClient,
    private readonly sequential: SequentialPart[],
    private readonly plan: CorePlan,
    private readonly events: LoaderEvents,
  ) {}

  /** Supplies what came with the headers and begins to fetch. */
  start(): void {
    for (const { part, tail, tailOffset } of this.sequential) {
      let offset = tailOffset;
      for (const bytes of tail.splice(0)) {
        this.#supply(part, offset, bytes);
        offset += bytes.length;
      }
    }
    this.pump();
  }

  /** Asks for more while there is something wanted and room for it. */
  pump(): void {
    if (this.failure) return;
    this.#streamNext();
    while (this.#inFlight < RANGES_IN_FLIGHT) {
      const range = this.#guard(() => this.session.want());
      if (!range) return;
      const [part = 0, offset = 0, length = 0] = range;
      if (!this.sequential.some((entry) => entry.part === part)) this.#fetch(part, offset, length);
    }
  }

  /** Goes on after a failure that may have passed. */
  resume(): void {
    if (!this.failure?.retryable) return;
    this.failure = undefined;
    this.pump();
  }

  #fetch(part: number, offset: number, length: number): void {
    this.#inFlight += 1;
    const end = offset + length;
    const refetch = (from: number): void => {
      this.#guard(() => this.session.refetch(part, from, end - from));
    };
    let position = offset;
    this.io.read(part, offset, length, this.#handler(part, (at) => { position = at; }, (error) => {
      this.#inFlight -= 1;
      if (position < end) refetch(position);
      if (error) this.#fail(error);
      else if (position < end) this.#fail(new ChordError('InvalidGguf', `${this.io.name(part)} ends early, after ${position} bytes`));
      else this.pump();
    }));
  }

  /** Streams the parts of servers that ignore ranges, one after the other. */
  #streamNext(): void {
    const next = this.sequential[0];
    if (!next || this.#isStreaming) return;
    this.#isStreaming = true;
    this.io.read(next.part, next.position, Infinity, this.#handler(next.part, (at) => { next.position = at; }, (error) => {
      this.#isStreaming = false;
      if (error) {
        this.#fail(error);
        return;
      }
      this.sequential.shift();
      if (this.sequential.length === 0 && !this.#checkLoaded()) {
        this.#fail(new ChordError('InvalidGguf', `${this.io.name(next.part)} ends early, after ${next.position} bytes`));
      } else {
        this.#streamNext();
      }
    }));
  }

  #handler(part: number, reached: (position: number) => void, ended: (error?: ChordError) => void): ReadHandler {
    return {
      piece: (offset, bytes) => {
        this.#supply(part, offset, bytes);
        reached(offset + bytes.length);
      },
      done: () => ended(),
      failed: (error) => ended(error),
    };
  }

  #supply(part: number, offset: number, bytes: Uint8Array): void {
    this.#guard(() => this.session.supply(part, offset, bytes));
    this.#suppliedBytes += bytes.length;
    this.#report();
    this.#checkLoaded();
    this.events.changed();
  }

  #report(): void {
    const { downloadBytes, weightBytes } = this.plan;
    const local = Math.min(downloadBytes, downloadBytes - weightBytes + this.#suppliedBytes);
    const groups = this.#guard(() => this.session.groups());
    if (!groups) return;
    const layers = groups.subarray(1, -1);
    this.events.progress(local, downloadBytes, layers.filter((state) => state === RESIDENT).length, layers.length);
  }

  #checkLoaded(): boolean {
    if (this.#isLoaded) return true;
    const groups = this.#guard(() => this.session.groups());
    if (!groups?.every((state) => state === RESIDENT)) return false;
    this.#isLoaded = true;
    this.io.cancelAll();
    this.events.loaded();
    return true;
  }

  #fail(error: ChordError): void {
    if (this.failure || this.#isLoaded) return;
    this.failure = error;
    this.events.failed(error);
    this.events.changed();
  }

  /** Calls the core; what it throws ends the loading, a trap ends the engine. */
  #guard<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (thrown) {
      const error = toChordError(thrown);
      if (error.code === 'EnginePanicked') this.events.panicked(error);
      else this.#fail(error);
      return undefined;
    }
  }
}
