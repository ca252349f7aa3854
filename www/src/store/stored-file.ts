/**
 * A remote file whose pages are kept on disk. A read is answered from the pages that are there; the
 * others are requested whole, each once, and go to disk as they pass. Where there is no store, or it
 * gives up, reads go straight to the network.
 */

import { ChordError, aborted, throwIfAborted } from '../wire/errors.js';
import type { HttpFile, Sink, SourceFile } from '../io/http.js';
import { isDigested, isNamedVersion, isSameVersion } from '../wire/identity.js';
import type { IoCounters, PartIdentity, PartSource } from '../wire/protocol.js';
import type { StoreHeader } from './journal.js';
import { failureWords, isInUse, type StoreSettings } from './layout.js';
import type { PageBuffers } from './page-buffers.js';
import { PageStream } from './page-stream.js';
import { PageStore } from './pages.js';

/** How often a tab that does not own the store looks for new pages, should no notice come. */
const POLL_MS = 150;
/** What models and saved sequences begin with; anything else is not kept. */
const MAGICS = ['GGUF', 'CHOR'];

/** What a stored file is made with. */
export interface StoredFileParts {
  part: PartSource & { url: string };
  makeHttp: (identity: PartIdentity | undefined) => HttpFile;
  settings: StoreSettings;
  buffers: PageBuffers;
  counters: IoCounters;
  /** `isUnkept`: what is fetched from now on is not stored. */
  warn: (message: string, isUnkept: boolean) => void;
  /** Other pages are stored than before. */
  changed: () => void;
}

export class StoredFile implements SourceFile {
  #http: HttpFile;
  #store: PageStore | undefined;
  readonly #streams = new Set<PageStream>();
  readonly #opened: Promise<void>;
  /** What is stored, seen at a glance, where it is not read. */
  #glanced: Uint8Array = new Uint8Array(0);
  /** The engine reads what is stored by itself. */
  #isReadInPlace = false;
  /** It was complete when it was opened, so that nobody has asked the server yet. */
  #isUnasked = false;
  /** The folder is being begun, by whichever stream came first. */
  #beginning: Promise<void> | undefined;
  /** Requests of a server that ignores ranges, one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(private readonly parts: StoredFileParts) {
    this.#http = parts.makeHttp(parts.part.identity);
    this.#opened = parts.settings.isGlance ? this.#glance() : this.#open();
  }

  get identity(): PartIdentity {
    return this.#store?.header?.identity ?? this.#http.identity;
  }

  get sequential(): boolean {
    return this.#http.sequential && this.#store?.isComplete !== true;
  }

  get contentType(): string | undefined {
    return this.#http.contentType;
  }

  async read(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<boolean> {
    return this.#read(offset, end, sink, onFacts, signal, false);
  }

  /** Brings a range to disk. True if all of it is there, in pages that were verified. */
  async keep(offset: number, end: number, onFacts: () => void, signal: AbortSignal): Promise<boolean> {
    this.#isReadInPlace = true;
    const pass = (): Promise<boolean> => this.#read(offset, end, () => undefined, onFacts, signal, true);
    // What had to be fetched is committed a little later; the second time it is read from there.
    return await pass() || pass();
  }

  /** With `isKept`, pages that are to be committed are waited for. */
  async #read(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal, isKept: boolean): Promise<boolean> {
    await this.#opened;
    const abortIdle = (): void => {
      for (const stream of this.#streams) if (stream.startedFor === signal && !stream.hasListeners) stream.abort.abort(aborted(signal));
    };
    signal.addEventListener('abort', abortIdle, { once: true });
    try {
      let position = offset;
      let isStored = true;
      this.#claim(offset, end, signal);
      while (position < Math.min(end, this.identity.size ?? Infinity)) {
        throwIfAborted(signal);
        const before = position;
        const page = Math.floor(position / (this.#store?.pageBytes ?? 1));
        if (isKept) await this.#store?.stored(page, signal);
        const isHere = this.#store?.has(page) === true;
        await this.#advance(position, end, async (chunk) => {
          if (position === before) onFacts();
          await sink(chunk);
          position += chunk.length;
        }, onFacts, signal);
        isStored &&= isHere || position === before;
      }
      onFacts();
      return isStored;
    } finally {
      signal.removeEventListener('abort', abortIdle);
    }
  }

  /** Reads past the store unless all of it is there: a few bytes are not worth whole pages before their turn. */
  async peek(offset: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<boolean | void> {
    await this.#opened;
    const store = this.#store;
    const isHere = store && store.has(Math.floor(offset / store.pageBytes)) && store.has(Math.floor((end - 1) / store.pageBytes));
    return isHere ? this.read(offset, end, sink, onFacts, signal) : this.#direct(offset, end, sink, onFacts, signal);
  }

  /** One bit for each page: whether it is stored. */
  get storedPages(): Uint8Array {
    return this.#store?.storedPages ?? this.#glanced;
  }

  /**
   * Looks once, when there is nothing more urgent, whether what is stored is what it should be: as on the
   * server, and whole. The engine goes on with what it has; the next one will not.
   */
  async lookAgain(): Promise<void> {
    const store = this.#store;
    if (!store?.isOwner) return;
    const { part, warn } = this.parts;
    if (this.#isUnasked && navigator.onLine) {
      this.#isUnasked = false;
      const { signal } = new AbortController();
      if (await this.parts.makeHttp(store.header?.identity).hasChanged(signal)) {
        await store.noteChange();
        // Of a file of the hub only its digest tells, which the next engine asks for.
        if (part.sha256 === undefined) warn(`${part.name} has changed on its server: this engine goes on with what is stored, the next one fetches it anew`, false);
        return;
      }
    }
    const whole = await store.checkWhole();
    if (whole === 'fine') return;
    const but = whole === 'odd' ? 'though it was fetched twice: the server has another file than the hub says' : 'the model may be damaged, and is fetched anew next time';
    warn(`${part.name} does not have the SHA-256 that its hub names, ${but}`, false);
    // An engine that has all of it in memory does not need the pages any more.
    if (whole === 'wrong' && !this.#isReadInPlace) await store.drop();
  }

  /** Resolves when nothing is on its way to the disk any more. */
  async settle(signal: AbortSignal): Promise<void> {
    const store = this.#store;
    while (store?.isOwner && store.isOn && !(this.#streams.size === 0 && store.isSettled) && !signal.aborted) await store.bell.wait(signal, POLL_MS);
  }

  close(): void {
    for (const stream of this.#streams) stream.abort.abort();
    this.#store?.close();
  }

  /** Looks what is stored. Only a complete file is read from there: of another the server may have a newer version. */
  async #glance(): Promise<void> {
    const { part, settings, buffers } = this.parts;
    const events = { wanted: () => undefined, gaveUp: () => undefined, changed: () => undefined };
    const store = await PageStore.glance(part.url, settings, buffers, events).catch(() => undefined);
    if (!store?.header || !isPlanned(part, store.header)) return;
    if (store.isComplete) this.#store = store;
    else this.#glanced = store.storedPages;
    this.parts.changed();
  }

  async #open(): Promise<void> {
    const { part, settings, buffers, warn } = this.parts;
    try {
      this.#store = await PageStore.open(part.url, part.sha256, settings, buffers, {
        wanted: (first, last) => this.#claim(first * settings.pageBytes, (last + 1) * settings.pageBytes, new AbortController().signal),
        gaveUp: (message) => warn(`${part.name}: ${message}`, true),
        changed: () => this.parts.changed(),
      });
    } catch (thrown) {
      // Whoever has the files open may well keep the model.
      const what = isInUse(thrown) ? 'the store is not used' : 'the model is not kept on this device';
      warn(`${part.name}: ${what}: ${failureWords(thrown)}`, true);
      return;
    }
    this.parts.changed();
    const { header, doubt, isWrong, isComplete, isOwner } = this.#store;
    if (!header || !isOwner) return;
    if (isWrong || !isPlanned(part, header)) this.#store.clear();
    else if (!isComplete || doubt !== undefined) await this.#validate();
    else this.#isUnasked = true;
  }

  /** Asks whether a file that is stored in part, or in doubt, is still the same, by one byte of it. */
  async #validate(): Promise<void> {
    const { signal } = new AbortController();
    const { part } = this.parts;
    if (isDigested(part) && part.sha256 === this.#store?.header?.sha256) {
      await this.#store.settleDoubt();
      return;
    }
    if (!navigator.onLine) return;
    // Without a connection what is stored may yet be enough.
    const hasChanged = await this.#network.hasChanged(signal);
    if (hasChanged === false) await this.#store?.settleDoubt();
    if (hasChanged !== true) return;
    this.#store?.clear();
    this.#http = this.parts.makeHttp(this.parts.part.identity);
  }

  /** The file on its server, held to what is stored of it. */
  get #network(): HttpFile {
    const stored = this.#store?.header?.identity;
    const { etag, lastModified } = this.#http.identity;
    if (stored && etag === undefined && lastModified === undefined) this.#http = this.parts.makeHttp(stored);
    return this.#http;
  }

  get #canWrite(): boolean {
    return this.#store?.isOn === true && this.#store.isOwner;
  }

  /** Hands over some of the bytes from `position` on, or waits until there may be some. */
  async #advance(position: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<void> {
    const store = this.#store;
    if (!store) return this.#http.read(position, end, sink, onFacts, signal);
    const { pageBytes } = store;
    const page = Math.floor(position / pageBytes);
    if (store.has(page) || store.isPending(page)) return this.#fromDisk(store, page, position, end, sink, signal);
    const pageEnd = (page + 1) * pageBytes;
    const stream = this.#streamOf(position, pageEnd);
    if (stream && position >= stream.position) return stream.listen(position, Math.min(end, stream.end), sink, signal);
    if (stream && this.#canWrite) {
      // It began behind this place, which is handed over when the page is whole.
      await store.bell.wait(signal);
      if (stream.error !== undefined) throw stream.error;
      return;
    }
    if (this.#canWrite) {
      this.#claim(position, end, signal);
      return this.#streamOf(position, pageEnd) ? undefined : store.bell.wait(signal, POLL_MS);
    }
    if (store.isOn && !store.isOwner && await this.#isOwnerBusy(store, page, Math.ceil(end / pageBytes) - 1, signal)) return;
    return this.#direct(position, this.#untilStored(store, page, end), sink, onFacts, signal);
  }

  /** Waits for the tab that owns the store. False if nothing comes of it. */
  async #isOwnerBusy(store: PageStore, first: number, last: number, signal: AbortSignal): Promise<boolean> {
    await store.refresh();
    if (store.has(first) || store.isOwner) return true;
    if (store.unansweredMs > this.parts.settings.ownerSilentMs) store.isOwnerSilent = true;
    if (store.isOwnerSilent || store.isLost(first)) return false;
    const size = this.identity.size ?? store.pageBytes;
    store.ask(first, Math.min(last, Math.ceil(size / store.pageBytes) - 1));
    await store.bell.wait(signal, POLL_MS);
    return true;
  }

  async #fromDisk(store: PageStore, page: number, position: number, end: number, sink: Sink, signal: AbortSignal): Promise<void> {
    const { buffers, counters } = this.parts;
    const buffer = await buffers.acquire();
    try {
      throwIfAborted(signal);
      const start = page * store.pageBytes;
      const bytes = await store.read(page, position - start, end - start, buffer);
      if (!bytes) return;
      counters.storeBytes += bytes.length;
      await sink(bytes);
    } finally {
      buffers.release(buffer);
    }
  }

  /** Requests all pages of a range that are neither stored nor on their way, those that follow one another together. */
  #claim(offset: number, end: number, signal: AbortSignal): void {
    const store = this.#store;
    if (!store || !this.#canWrite) return;
    const { pageBytes } = store;
    const size = this.identity.size ?? Infinity;
    const isNew = store.header === undefined;
    const limit = Math.min(end, size);
    let run: PageStream | undefined;
    for (let page = Math.floor(offset / pageBytes); page * pageBytes < limit; page += 1) {
      const start = page * pageBytes;
      const position = start + store.begun(page);
      if (store.has(page) || store.isPending(page) || this.#streamOf(position, start + pageBytes)) {
        run = undefined;
        continue;
      }
      // The first response tells whether the file can be kept; until then nothing more is asked for than wanted.
      const pageEnd = isNew ? limit : Math.min(size, start + pageBytes);
      if (run && position === start) {
        run.end = pageEnd;
      } else {
        run = new PageStream(page, position, pageEnd, store.header?.generation, signal);
        this.#streams.add(run);
        const stream = run;
        // The run grows while this function goes on.
        queueMicrotask(() => void this.#run(stream));
      }
      if (isNew) break;
    }
  }

  /** The stream that brings `offset`, or is in the middle of its page. */
  #streamOf(offset: number, pageEnd: number): PageStream | undefined {
    for (const stream of this.#streams) if (stream.covers(offset, pageEnd)) return stream;
    return undefined;
  }

  async #run(stream: PageStream): Promise<void> {
    let error: unknown;
    try {
      await this.#inTurn((http) => http.read(stream.position, stream.end, (chunk) => this.#take(stream, chunk), () => undefined, stream.abort.signal));
      this.#finish(stream, true);
    } catch (thrown) {
      error = thrown;
      if (!stream.abort.signal.aborted) this.#store?.tellFailure();
      if (thrown instanceof ChordError && thrown.code === 'SourceChanged') {
        this.#store?.clear();
        this.#store?.giveUp('the file changed on the server while it was read');
      }
    }
    this.#streams.delete(stream);
    stream.close(error);
    this.#store?.bell.ring();
  }

  /**
   * Takes bytes of a response. A stream goes on to its next page when the one before is in the journal, so
   * that no more than a page of each can be lost; what comes meanwhile waits in the browser's own buffers.
   */
  async #take(stream: PageStream, chunk: Uint8Array): Promise<void> {
    const { pageBytes } = this.parts.settings;
    for (let at = 0; at < chunk.length;) {
      const end = Math.min(chunk.length, at + pageBytes - (stream.position % pageBytes));
      await this.#takePart(stream, chunk.subarray(at, end));
      at = end;
    }
  }

  /** Takes bytes of one page. */
  async #takePart(stream: PageStream, chunk: Uint8Array): Promise<void> {
    const store = this.#store;
    const from = stream.position;
    if (store && this.#canWrite) {
      if (!store.header) await (this.#beginning ??= this.#begin(store, from, chunk).finally(() => { this.#beginning = undefined; }));
      stream.generation ??= store.header?.generation;
      if (this.#isStored(stream)) await store.write(from, chunk);
    }
    const passed = stream.pass(from, chunk);
    const { page } = stream;
    this.#finish(stream, false);
    await passed;
    if (store && this.#isStored(stream)) await store.stored(page, stream.abort.signal);
    else if (!stream.hasListeners && stream.position < stream.end) stream.abort.abort();
  }

  /** Whether a stream's bytes go to disk. If the folder was begun anew, what it wrote of its page before is gone. */
  #isStored(stream: PageStream): boolean {
    return this.#canWrite && stream.generation === this.#store?.header?.generation;
  }

  /** The first bytes decide whether the file can be kept. */
  async #begin(store: PageStore, offset: number, chunk: Uint8Array): Promise<void> {
    const identity = { ...this.#http.identity };
    // Elsewhere than at its start, the header has been read before.
    const isModel = offset > 0 || MAGICS.includes(String.fromCharCode(...chunk.subarray(0, 4)));
    if (!isModel) store.giveUp('it does not look like a model');
    else if (!isNamedVersion(this.parts.part, identity)) store.giveUp('its server tells neither a strong ETag nor Last-Modified, with the size');
    else await store.begin({ ...identity, size: identity.size ?? 0 });
  }

  /** Commits the pages that the stream has brought whole, that at the end of its response only when it `isOver`. */
  #finish(stream: PageStream, isOver: boolean): void {
    const store = this.#store;
    if (!store || !this.#isStored(stream)) return;
    const size = this.identity.size ?? Infinity;
    for (let start = stream.page * store.pageBytes; start < size; start += store.pageBytes) {
      const end = Math.min(start + store.pageBytes, size);
      if (stream.position < end || (end === stream.end && !isOver)) {
        if (stream.position > start) store.grow(stream.page, stream.position - start);
        return;
      }
      store.finish(stream.page);
      stream.page += 1;
    }
  }

  /** Where the next stored page after `page` begins, or `end`. */
  #untilStored(store: PageStore, page: number, end: number): number {
    if (store.isOn && !store.isOwner) return Math.min(end, (page + 1) * store.pageBytes);
    const limit = Math.min(end, this.identity.size ?? 0);
    for (let next = page + 1; next * store.pageBytes < limit; next += 1) if (store.has(next)) return next * store.pageBytes;
    return end;
  }

  /** Reads past the store. */
  async #direct(position: number, end: number, sink: Sink, onFacts: () => void, signal: AbortSignal): Promise<void> {
    const identity = this.#store?.header?.identity;
    if (identity && !isSameVersion(this.parts.part, identity, this.#http.identity)) throw new ChordError('SourceChanged', `${this.parts.part.name} changed on the server while it was read`);
    await this.#inTurn((http) => http.read(position, end, sink, onFacts, signal));
  }

  #inTurn(read: (http: HttpFile) => Promise<void>): Promise<void> {
    const http = this.#network;
    if (!http.sequential) return read(http);
    const turn = this.#turn.then(() => read(http));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

/** Whether what is stored is the file that the hub named. */
function isPlanned(part: PartSource, { identity, sha256 }: StoreHeader): boolean {
  if (part.sha256 !== undefined && sha256 !== undefined && part.sha256 !== sha256) return false;
  return part.identity === undefined || isSameVersion(part, part.identity, identity);
}
