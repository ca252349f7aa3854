/**
 * One remote file, read by ranges. A read either delivers every byte of its range in order or fails:
 * broken connections resume at the byte reached, each response is checked against what is known of
 * the file, and a file that changed is never mixed with what it was.
 */

import { ChunkReader } from './stream.js';
import { ChordError, aborted, throwIfAborted, toChordError } from '../wire/errors.js';
import { isSameVersion } from '../wire/identity.js';
import { unreadable } from '../wire/local-file.js';
import type { IoCounters, NetworkSettings, PartIdentity, PartSource } from '../wire/protocol.js';
import { RequestRoute } from './route.js';

/** Failures in a row, without a byte between them, before a read gives up. */
const FAILURES_MAX = 5;
/** Failures in a row before a read gives up on a server that has not answered once: it may not exist, or not allow this page. */
const FIRST_FAILURES_MAX = 2;
/** How long a read may go without a byte, through all attempts and pauses. */
const SILENT_MS_MAX = 9_000;
/** Of which a last attempt keeps so much, whatever pause the server asks for. */
const ATTEMPT_MS_MIN = 1_000;
/**
 * The time without a byte is counted in so many ticks: while this thread does not run, in a frozen tab or
 * behind a slow disk, one goes by at most, and what has come meanwhile is read before the next.
 */
const IDLE_TICKS = 4;
/** Failures of one read altogether. */
const READ_FAILURES_MAX = 256;
/**
 * Bytes asked for after a failure, quartered with each further one: a browser drops what it holds of a
 * response that breaks, so on a bad connection only short ones get through.
 */
const RETRY_BYTES = 1024 * 1024;
/** Longest pause between attempts. */
const BACKOFF_MS_MAX = 8_000;

/** Takes bytes in order; they may be reused once the promise resolves. */
export type Sink = (chunk: Uint8Array) => Promise<void> | void;

/** One file of a model: remote, or on the person's disk. */
export interface SourceFile {
  readonly identity: PartIdentity;
  /** The server ignores ranges: reads should follow one another in order. */
  readonly sequential: boolean;
  readonly contentType: string | undefined;
  /**
   * Delivers bytes `offset` to `end` (which may be Infinity) to `sink`, less where the file ends
   * before. `onFacts` is called before the first byte and when the size becomes known. True if all
   * of them came from verified pages on disk.
   */
  read(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<boolean | void>;
  /** Delivers a few bytes as `read` does, and fetches none around them. */
  peek?(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<boolean | void>;
}

/** A response whose bytes are being read. */
class Body {
  /** Bytes that were received but belong to a later read. */
  #held: Uint8Array | undefined;

  constructor(
    private readonly reader: ChunkReader,
    readonly abort: AbortController,
    /** Offset in the file of the next byte. */
    public position: number,
    /** Where the response ends; Infinity if it does not say. */
    readonly end: number,
    /** The response holds exactly what was asked for, rather than the whole file. */
    readonly ranged: boolean,
  ) {}

  /** The next bytes, or undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    const chunk = this.#held ?? (await this.reader.read());
    this.#held = undefined;
    this.position += chunk?.length ?? 0;
    return chunk;
  }

  hold(rest: Uint8Array): void {
    this.#held = rest;
    this.position -= rest.length;
  }
}

/** The end of a response's range: `bytes a-b/total`. */
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/;

export class HttpFile implements SourceFile {
  identity: PartIdentity;
  sequential = false;
  contentType: string | undefined;
  readonly #route: RequestRoute;
  #contacted = false;
  /** How long its server has been silent so far, if it never answered. */
  #silentMs = 0;
  /** The response of a server that ignores ranges, kept for the next read. */
  #kept: Body | undefined;

  constructor(
    private readonly file: PartSource & { url: string },
    headers: [string, string][],
    private readonly network: NetworkSettings,
    private readonly counters: IoCounters,
  ) {
    this.identity = { ...file.identity };
    this.#route = new RequestRoute(file.url, headers, () => { counters.requests += 1; });
  }

  async read(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<void> {
    let position = offset;
    let failures = 0;
    let failuresTotal = 0;
    // However long it was silent before, each read gets one whole attempt.
    let silentMs = Math.max(0, Math.min(this.#silentMs, SILENT_MS_MAX - this.network.idleMs));
    const limit = (): number => Math.min(end, this.identity.size ?? Infinity);
    while (position < limit()) {
      throwIfAborted(signal);
      let sinceMs = performance.now();
      try {
        const askedEnd = failures === 0 ? end : Math.min(end, position + RETRY_BYTES / 4 ** (failures - 1));
        const patienceMs = Math.min(this.network.idleMs, SILENT_MS_MAX - silentMs);
        const body = await this.#bodyAt(position, askedEnd, signal, patienceMs);
        onFacts();
        // What its head took is gone for its first byte.
        const firstMs = Math.max(patienceMs - (performance.now() - sinceMs), patienceMs / IDLE_TICKS);
        const ended = await this.#drain(body, position, limit(), signal, firstMs, async (chunk) => {
          await sink(chunk);
          position += chunk.length;
          failures = 0;
          silentMs = 0;
          sinceMs = performance.now();
        });
        if (ended && body.end === Infinity) {
          this.identity.size = position;
          onFacts();
        } else if (ended && position < Math.min(limit(), body.end)) {
          throw new ChordError('Network', `the connection to ${this.file.name} ended after ${position} bytes`);
        }
      } catch (thrown) {
        this.#close();
        const error = signal.aborted ? aborted(signal) : toChordError(thrown);
        failures += 1;
        failuresTotal += 1;
        // An attempt may have begun before the tab was frozen.
        silentMs += Math.min(performance.now() - sinceMs, this.network.idleMs);
        if (!this.#contacted) this.#silentMs = silentMs;
        const pauseMs = this.#pauseMs(failures, error);
        const failuresMax = this.#contacted ? FAILURES_MAX : FIRST_FAILURES_MAX;
        const isHopeless = !error.retryable || error.code === 'SourceChanged' || failures > failuresMax
          || failuresTotal > READ_FAILURES_MAX || silentMs + pauseMs > SILENT_MS_MAX - ATTEMPT_MS_MIN;
        if (isHopeless) throw error;
        this.counters.retries += 1;
        silentMs += pauseMs;
        await pause(pauseMs, signal);
      }
    }
  }

  /** Asks once, by one byte, whether the file is another one than is known; undefined where that cannot be told. */
  async hasChanged(signal: AbortSignal): Promise<boolean | undefined> {
    const startMs = performance.now();
    try {
      const body = await this.#bodyAt(0, 1, signal, this.network.idleMs);
      await this.#drain(body, 0, 1, signal, this.network.idleMs, () => undefined);
      return false;
    } catch (thrown) {
      if (!this.#contacted) this.#silentMs = Math.min(performance.now() - startMs, this.network.idleMs);
      return toChordError(thrown).code === 'SourceChanged' ? true : undefined;
    } finally {
      this.#close();
    }
  }

  #pauseMs(failures: number, error: ChordError): number {
    const backoff = Math.min(this.network.backoffMs * 2 ** (failures - 1), BACKOFF_MS_MAX);
    const asked = Number(error.details?.['retryAfterMs'] ?? 0);
    return asked > 0 ? asked * (1 + Math.random() / 10) : backoff * (0.5 + Math.random() / 2);
  }

  /** A body that is at or before `position`: the kept one, or that of a new request. */
  async #bodyAt(position: number, end: number, signal: AbortSignal, patienceMs: number): Promise<Body> {
    if (this.#kept && this.#kept.position <= position) return this.#kept;
    this.#close();
    const abort = new AbortController();
    const stop = (): void => abort.abort(aborted(signal));
    signal.addEventListener('abort', stop, { once: true });
    const range = `bytes=${position}-${Number.isFinite(end) ? end - 1 : ''}`;
    try {
      const response = await this.#idle(abort, patienceMs, () => this.#route.fetch(range, abort.signal));
      return this.#accept(response, position, end, abort);
    } catch (thrown) {
      abort.abort();
      throw networkError(thrown, this.file.name);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Checks the head of a response. Throws unless its bytes are the ones that were asked for. */
  #accept(response: Response, position: number, end: number, abort: AbortController): Body {
    const { status, headers } = response;
    if (status !== 206 && status !== 200) throw this.#statusError(response, position);
    const encoded = !/^(identity)?$/i.test(headers.get('content-encoding') ?? '');
    const lengthText = headers.get('content-length');
    const length = lengthText === null || encoded ? undefined : Number(lengthText);
    let size = length;
    let start = 0;
    let bodyEnd = length ?? Infinity;
    if (status === 206) {
      if (encoded) throw new ChordError('Http', `${this.file.name} was sent compressed, so its ranges mean nothing`, { details: { status } });
      const range = this.#contentRange(response, position, end);
      if (length !== undefined && length !== range.end - position) {
        throw new ChordError('Http', `${this.file.name}: the length of a response contradicts its Content-Range`, { details: { status }, retryable: true });
      }
      start = position;
      bodyEnd = range.end;
      size = range.size;
    }
    this.#identify(size, headers);
    if (!this.#contacted) this.sequential = status === 200;
    this.#contacted = true;
    this.contentType = headers.get('content-type') ?? undefined;
    const reader = new ChunkReader(response.body ?? new Blob([]).stream());
    const body = new Body(reader, abort, start, bodyEnd, status === 206);
    if (this.sequential) this.#kept = body;
    return body;
  }

  #contentRange(response: Response, position: number, end: number): { end: number; size: number | undefined } {
    const text = response.headers.get('content-range');
    if (text === null && response.type === 'cors') {
      const hidden = ['Content-Range', ...response.headers.has('etag') ? [] : ['ETag']];
      throw new ChordError('CorsHeaders', `${new URL(response.url).host} hides the response headers ${hidden.join(', ')} from this page; it must send Access-Control-Expose-Headers: Content-Range, ETag`, { details: { headers: hidden } });
    }
    const match = CONTENT_RANGE.exec(text ?? '');
    const last = Number(match?.[2]);
    const size = match?.[3] === undefined || match[3] === '*' ? undefined : Number(match[3]);
    const sound = match !== null && Number(match[1]) === position && last >= position && last < end && (size === undefined || last < size);
    if (!sound) {
      throw new ChordError('Http', `${this.file.name}: asked for bytes from ${position}, got Content-Range "${text ?? ''}"`, { details: { status: 206 }, retryable: true });
    }
    return { end: last + 1, size };
  }

  /** Compares what a response says of the file with what is known, and keeps what is new. */
  #identify(size: number | undefined, headers: Headers): void {
    const known = this.identity;
    const etag = headers.get('etag') ?? undefined;
    const lastModified = headers.get('last-modified') ?? undefined;
    const now: PartIdentity = { ...size === undefined ? {} : { size }, ...etag === undefined ? {} : { etag }, ...lastModified === undefined ? {} : { lastModified } };
    if (!isSameVersion(this.file, known, now)) {
      throw new ChordError('SourceChanged', `${this.file.name} changed on the server while it was read`, { details: { before: { ...known }, now } });
    }
    Object.assign(known, now);
  }

  #statusError(response: Response, position: number): ChordError {
    const { status } = response;
    const details: Record<string, unknown> = { status };
    const name = this.file.name;
    if (status === 404 || status === 410) return new ChordError('NotFound', `${name} does not exist (HTTP ${status})`, { details });
    if (status === 412 || (status === 416 && position > 0)) {
      return new ChordError('SourceChanged', `${name} changed on the server while it was read (HTTP ${status})`, { details });
    }
    if (status === 416) return new ChordError('InvalidGguf', `${name} is empty`, { details });
    if (status === 401 || status === 403) {
      return new ChordError('Http', `${name} is private or gated (HTTP ${status}); pass an access token in headers`, { details });
    }
    const retryAfter = retryAfterMs(response.headers.get('retry-after'));
    if (retryAfter !== undefined) details['retryAfterMs'] = retryAfter;
    const retryable = status === 408 || status === 425 || status === 429 || status >= 500;
    return new ChordError('Http', `${name}: the server answered with HTTP ${status}`, { details, retryable });
  }

  /**
   * Hands the bytes from `position` to `end` to `sink`; those before `position` are skipped. The first have
   * to come within `firstMs`. True if the response ended, false if `end` was reached first.
   */
  async #drain(body: Body, position: number, end: number, signal: AbortSignal, firstMs: number, sink: Sink): Promise<boolean> {
    const stop = (): void => body.abort.abort(aborted(signal));
    signal.addEventListener('abort', stop, { once: true });
    let patienceMs = firstMs;
    try {
      while (body.position < end) {
        throwIfAborted(signal);
        const from = body.position;
        const chunk = await this.#next(body, patienceMs);
        patienceMs = this.network.idleMs;
        if (!chunk) return true;
        const wanted = chunk.subarray(Math.max(0, position - from), Math.max(0, end - from));
        if (body.position > end) {
          this.counters.fetchedBytes -= body.position - end;
          body.hold(chunk.slice(end - from));
        }
        if (wanted.length > 0) await sink(wanted);
      }
      // Reading to the very end lets the connection be used again.
      if (body.ranged) await this.#next(body, patienceMs);
      else if (body !== this.#kept) body.abort.abort();
      return false;
    } catch (thrown) {
      body.abort.abort();
      throw networkError(thrown, this.file.name);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #next(body: Body, patienceMs: number): Promise<Uint8Array | undefined> {
    const from = body.position;
    const chunk = await this.#idle(body.abort, patienceMs, () => body.next());
    this.counters.fetchedBytes += body.position - from;
    if (body.position > body.end) {
      throw new ChordError('Http', `${this.file.name}: the server sent more bytes than it announced`, { retryable: false });
    }
    return chunk;
  }

  /** Awaits the network, aborting the request when nothing comes for too long. */
  async #idle<T>(abort: AbortController, patienceMs: number, wait: () => Promise<T>): Promise<T> {
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
      if (ticks === IDLE_TICKS) abort.abort(new ChordError('Timeout', `${this.file.name}: nothing came for ${Math.round(patienceMs)} ms`));
    }, patienceMs / IDLE_TICKS);
    try {
      return await wait();
    } catch (thrown) {
      throw abort.signal.aborted ? abort.signal.reason : thrown;
    } finally {
      clearInterval(timer);
    }
  }

  #close(): void {
    this.#kept?.abort.abort();
    this.#kept = undefined;
  }
}

/** A file from the person's disk. */
export class BlobFile implements SourceFile {
  readonly identity: PartIdentity;
  readonly sequential = false;
  readonly contentType = undefined;

  constructor(private readonly blob: Blob, private readonly name: string) {
    this.identity = { size: blob.size };
  }

  async read(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<void> {
    onFacts();
    const reader = new ChunkReader(this.blob.slice(offset, Math.min(end, this.blob.size)).stream());
    try {
      for (;;) {
        throwIfAborted(signal);
        const chunk = await reader.read();
        if (!chunk) return;
        await sink(chunk);
      }
    } catch (thrown) {
      void reader.cancel().catch(() => undefined);
      if (thrown instanceof ChordError) throw thrown;
      throw unreadable(this.name, thrown);
    }
  }
}

/** A failed fetch or stream as an error of the network, other errors as they are. */
function networkError(thrown: unknown, name: string): ChordError {
  if (thrown instanceof ChordError) return thrown;
  return new ChordError('Network', `${name} could not be read: the connection failed, or the server does not allow this page`, { cause: thrown });
}

/** Milliseconds that a `Retry-After` header asks for: seconds or a date. */
function retryAfterMs(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** Resolves after `ms`; rejects when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
