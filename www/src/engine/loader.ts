/**
 * Brings the bytes of a model from the IO worker to the core: first the headers, then the ranges that
 * the core wants, several at a time; or whole files in order where a server ignores ranges.
 */

import type { Core, HeaderReader, Engine } from './core.js';
import { ChordError, toChordError } from '../wire/errors.js';
import { GROUP_STATES } from '../wire/generated.js';
import { IoClient, movedBytes, type ReadHandler } from './io-client.js';
import type { HeaderBytes, Team } from './team.js';
import { TransferMeter } from './transfer-meter.js';

/** Ranges asked for at a time. */
const RANGES_IN_FLIGHT = 4;
/** Pieces of the embedding asked for at a time, beside the ranges: browsers open six connections to a host. */
const PIECES_IN_FLIGHT = 2;
/** Bytes of the first read of a header; each further read is four times longer, up to the maximum. */
const HEADER_BYTES_FIRST = 256 * 1024;
const HEADER_BYTES_STEP_MAX = 4 * 1024 * 1024;
/** The numbers of two states of groups; groups of any other state have all of their bytes. */
const ABSENT = GROUP_STATES.indexOf('absent');
const FETCHING = GROUP_STATES.indexOf('fetching');

/** Reports of a loader; none of them may throw. */
export interface LoaderEvents {
  /** Bytes arrived, or loading failed: a waiting computation should look again. */
  changed(): void;
  loaded(): void;
  failed(error: ChordError): void;
  /** Loading goes on after it had failed. */
  resumed(): void;
  /** Layers are not read from the disk any more. */
  leftDisk(): void;
  progress(loadedBytes: number, layer: number, layers: number): void;
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
  /** What was read of each part, for other threads, until it is taken. */
  #headers: HeaderBytes[] = [];
  /** Bytes read of all parts. */
  readBytes = 0;
  #reader: HeaderReader | undefined;

  constructor(private readonly core: Core, private readonly io: IoClient) {}

  /** What was read of each part. It is not kept. */
  takeHeaders(): HeaderBytes[] {
    const headers = this.#headers;
    this.#headers = [];
    return headers;
  }

  /** Resolves to a reader that has the headers of all files, those of `adapters` last. Throws what the core says of malformed ones. */
  async read(all: number, adapters: number): Promise<HeaderReader> {
    let reader = await this.#readPart(0);
    const parts = reader.partCount();
    const files = all - adapters;
    if (parts !== files) {
      reader.free();
      const hint = files === 1 ? 'give the URL of a part named like model-00001-of-00003.gguf, or a list of all parts' : 'give each part once, in order';
      throw new ChordError('InvalidSource', `the model has ${parts} parts but ${files} were given; ${hint}`, { details: { need: parts, have: files } });
    }
    for (let part = 1; part < all; part += 1) reader = await this.#readPart(part);
    return reader;
  }

  async #readPart(part: number): Promise<HeaderReader> {
    let offset = 0;
    for (let length = HEADER_BYTES_FIRST; ; length = Math.min(length * 4, HEADER_BYTES_STEP_MAX)) {
      const { reader, complete, received, kept } = await this.#readRange(part, offset, length);
      if (complete && reader) {
        this.readBytes += offset + received;
        if (this.io.facts[part]?.sequential) {
          this.sequential.push({ part, position: offset + received, tail: kept, tailOffset: offset });
        }
        return reader;
      }
      if (received < length) {
        if (reader) throw this.#explain(part, reader.truncated());
        throw new ChordError('InvalidGguf', `${this.io.name(part)} is empty`);
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
            if (complete) return;
            this.#headers[part]?.pieces.push(bytes.slice());
            complete = this.#reader?.feed(bytes) ?? false;
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
    this.#headers[part] = { size, pieces: [] };
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

/** A range that the core wants. */
interface WantedRange {
  part: number;
  offset: number;
  length: number;
  group: number;
  /** Its bytes stay on disk. */
  isKept: boolean;
}

/** Keeps the core supplied with the bytes it wants. */
export class Loader {
  /** Why loading stopped, until it is resumed. */
  failure: ChordError | undefined;
  #inFlight = 0;
  #piecesInFlight = 0;
  /** Counts resumptions, so that the end of a read tells whether it began before the last one. */
  #attempt = 0;
  #isOnDisk = true;
  /** The other threads, while there are some. */
  team: Team | undefined;
  #suppliedBytes = 0;
  /** Asked for and not supplied yet. */
  #awaitedBytes = 0;
  #isLoaded = false;
  #isStreaming = false;
  readonly #meter = new TransferMeter();
  /** Parts that are still to be streamed whole, the one under way first. */
  readonly #sequential: SequentialPart[];
  /** Numbers of all parts that only come whole. */
  readonly #whole: number[];

  constructor(
    readonly engine: Engine,
    private readonly io: IoClient,
    private readonly headers: HeaderLoader,
    private readonly events: LoaderEvents,
  ) {
    this.#sequential = headers.sequential;
    this.#whole = headers.sequential.map(({ part }) => part);
  }

  /** Begins to fetch. */
  start(): void {
    if (this.#sequential.length > 0) this.#startSequential();
    else this.pump();
  }

  /** Asks for more while there is something wanted and room for it. */
  pump(): void {
    if (this.failure || !this.#streamAgain() || this.#isStreaming) return;
    if (this.#sequential.length > 0) {
      this.#streamNext();
      return;
    }
    while (this.#piecesInFlight < PIECES_IN_FLIGHT) {
      const piece = this.#guard(() => this.engine.wantEarly());
      if (!piece) break;
      this.#fetchEarly(piece);
    }
    while (this.#inFlight < RANGES_IN_FLIGHT && this.team?.isFull !== true) {
      const range = this.#want();
      if (!range) break;
      if (range.isKept) void this.#keep(range);
      else this.#fetch(range);
    }
    if (this.#inFlight === 0 && this.team?.isFull !== true) this.#finish();
  }

  /**
   * The computation could not read from disk. A file of the person's that changed is its end, until it can be
   * read again; a store that failed is left. The error to report.
   */
  diskFailed(error: ChordError): ChordError {
    const { localFailure } = this.io;
    if (!localFailure) this.leaveDisk();
    return localFailure ?? error;
  }

  /** Goes on without the disk, which failed: layers pass through memory from now on, if the ceiling allows. */
  leaveDisk(): void {
    if (this.#isOnDisk) {
      this.#isOnDisk = false;
      this.#guard(() => this.engine.leaveDisk());
      this.events.leftDisk();
    }
    this.pump();
  }

  /** A token came: the core hears how fast layers were fetched for it, and that it computed for so long. */
  measured(computeMs: number): void {
    const { latencyMs, bytes, transferMs } = this.#meter.take();
    if (bytes > 0) this.#guard(() => this.engine.measured(latencyMs, bytes, transferMs, computeMs));
  }

  /** Goes on after a failure that may have passed. */
  resume(): void {
    if (!this.failure?.retryable) return;
    this.failure = undefined;
    this.#attempt += 1;
    if (!this.#isLoaded) this.events.resumed();
    this.pump();
  }

  #want(): WantedRange | undefined {
    const range = this.#guard(() => this.engine.want());
    if (!range) return undefined;
    const [part = 0, offset = 0, length = 0, group = 0, isKept = 0] = range;
    return { part, offset, length, group, isKept: isKept === 1 };
  }

  #fetch({ part, offset, length, group }: WantedRange): void {
    this.#inFlight += 1;
    const end = offset + length;
    const attempt = this.#attempt;
    const isOnDisk = this.#isOnDisk;
    const askedMs = performance.now();
    let position = offset;
    this.#awaitedBytes += length;
    this.io.read(part, offset, length, this.#handler(part, (at) => {
      if (position === offset) this.#meter.began(performance.now() - askedMs);
      this.#awaitedBytes -= at - position;
      position = at;
    }, (error) => {
      this.#inFlight -= 1;
      this.#awaitedBytes -= end - position;
      this.#meter.ended(askedMs, performance.now(), position - offset);
      // A core that has left the disk since then wants everything anew by itself.
      if (position < end && isOnDisk === this.#isOnDisk) this.#guard(() => this.engine.refetch(part, position, end - position, group));
      // A read from before the resumption may fail after it, and is tried once more with the others.
      if (error && attempt === this.#attempt) this.#fail(error);
      else if (!error && position < end) this.#fail(new ChordError('InvalidGguf', `${this.io.name(part)} ends early, after ${position} bytes`));
      else this.pump();
    }));
  }

  /** Fetches a few bytes that the computation waits for. They come again with the range that they are part of. */
  #fetchEarly([part = 0, offset = 0, length = 0]: Float64Array): void {
    this.#piecesInFlight += 1;
    const attempt = this.#attempt;
    let position = offset;
    this.io.read(part, offset, length, {
      piece: (at, bytes) => {
        this.#give(part, at, bytes);
        position = at + bytes.length;
      },
      done: () => ended(),
      failed: (error) => ended(error),
    }, 'peek');
    const ended = (error?: ChordError): void => {
      this.#piecesInFlight -= 1;
      if (position < offset + length) this.#guard(() => this.engine.refetchEarly(part, offset, length));
      if (error && attempt === this.#attempt) this.#fail(error);
      else if (!error && position < offset + length) this.#fail(new ChordError('InvalidGguf', `${this.io.name(part)} ends early, after ${position} bytes`));
      else this.pump();
      this.events.changed();
    };
  }

  /** Brings a range to disk, for the core to read it there. */
  async #keep({ part, offset, length, group }: WantedRange): Promise<void> {
    this.#inFlight += 1;
    this.#awaitedBytes += length;
    const attempt = this.#attempt;
    const result = this.io.isLocal(part) || await new Promise<boolean | ChordError>((resolve) => {
      this.io.read(part, offset, length, { piece: () => undefined, done: resolve, failed: resolve }, 'keep');
    });
    const file = result === true && this.#isOnDisk ? await this.io.file(part) : undefined;
    this.#inFlight -= 1;
    this.#awaitedBytes -= length;
    if (!this.#isOnDisk) {
      this.pump();
      return;
    }
    const again = (error: ChordError): void => {
      this.#guard(() => this.engine.refetch(part, offset, length, group));
      if (attempt === this.#attempt) this.#fail(error);
      else this.pump();
    };
    if (result instanceof ChordError) {
      again(result);
      return;
    }
    const isThere = file && this.#guard(() => {
      this.engine.setFile(part, file);
      return this.engine.supplyFromDisk(part, offset, length, group);
    });
    if (!isThere) {
      const { localFailure } = this.io;
      if (localFailure) again(localFailure);
      else this.leaveDisk();
      return;
    }
    this.#suppliedBytes += length;
    this.report();
    this.events.changed();
    this.pump();
  }

  /**
   * Servers that ignore ranges send files whole and in order, so the core must be ready to take any
   * group: each has to be wanted before bytes arrive.
   */
  #startSequential(): void {
    if (!this.#wantAll()) return;
    for (const { part, tail, tailOffset } of this.#sequential) {
      let offset = tailOffset;
      for (const bytes of tail.splice(0)) {
        this.#supply(part, offset, bytes);
        offset += bytes.length;
      }
    }
    this.pump();
  }

  /**
   * A device that took another's place wants everything anew, and what still comes of a stream may be too late for
   * it: then whole parts are streamed once more. False if that failed.
   */
  #streamAgain(): boolean {
    if (this.#whole.length === 0 || this.#guard(() => this.engine.groups())?.includes(ABSENT) !== true) return true;
    this.#sequential.splice(this.#isStreaming ? 1 : 0, Infinity, ...this.#whole.map((part) => ({ part, position: 0, tail: [], tailOffset: 0 })));
    return this.#wantAll();
  }

  /** Makes the core ready to take any group. False if there is no room for all. */
  #wantAll(): boolean {
    const ranged: WantedRange[] = [];
    for (let range = this.#want(); range; range = this.#want()) {
      if (!this.#whole.includes(range.part)) ranged.push(range);
    }
    if (this.#guard(() => this.engine.groups())?.includes(ABSENT)) {
      this.#fail(new ChordError('InvalidSource', 'the server ignores range requests, so that layers cannot be fetched again: the model needs room for all of them', { details: { name: 'maxResidentBytes' } }));
      return false;
    }
    for (const range of ranged) this.#guard(() => this.engine.refetch(range.part, range.offset, range.length, range.group));
    return this.failure === undefined;
  }

  /** Streams whole parts, one after the other. */
  #streamNext(): void {
    const [next] = this.#sequential;
    if (!next) return;
    this.#isStreaming = true;
    this.io.read(next.part, next.position, Infinity, this.#handler(next.part, (at) => { next.position = at; }, (error) => {
      this.#isStreaming = false;
      if (error) {
        this.#fail(error);
        return;
      }
      this.#sequential.shift();
      this.pump();
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
    this.#give(part, offset, bytes);
    this.#suppliedBytes += bytes.length;
    this.report();
    this.events.changed();
  }

  /** Hands bytes to every thread that needs them: to the core here last, since it then may order to use them. */
  #give(part: number, offset: number, bytes: Uint8Array): void {
    this.#guard(() => {
      this.team?.supply(part, offset, bytes);
      this.engine.supply(part, offset, bytes);
    });
  }

  /** Tells how much is here. Of what is on its way the IO worker has some already. */
  report(): void {
    if (this.#isLoaded) return;
    const groups = this.#guard(() => this.engine.groups());
    if (!groups) return;
    const layers = groups.subarray(1, -1);
    // Bytes read with a header may be read again as weights, so the sum can be a little too large.
    const localBytes = this.headers.readBytes + this.#suppliedBytes;
    const coming = this.#isStreaming ? Infinity : this.#awaitedBytes;
    const loadedBytes = Math.max(localBytes, Math.min(movedBytes(this.io), localBytes + coming));
    this.events.progress(loadedBytes, layers.filter((state) => state !== ABSENT && state !== FETCHING).length, layers.length);
  }

  /** Nothing is wanted and nothing is on its way: what stays in memory is there. */
  #finish(): void {
    if (this.#isLoaded || this.failure) return;
    const groups = this.#guard(() => this.engine.groups());
    if (!groups) return;
    if (groups.includes(FETCHING)) {
      this.#fail(new ChordError('InvalidGguf', 'the model ends before its last tensor'));
      return;
    }
    this.#isLoaded = true;
    this.events.loaded();
  }

  #fail(error: ChordError): void {
    if (this.failure) return;
    this.failure = error;
    if (!this.#isLoaded) this.events.failed(error);
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
