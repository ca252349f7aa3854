/**
 * The pages of one file on disk. One worker of all tabs owns the folder and writes: bytes as they
 * arrive, then for each whole page its digest, a flush, the record in the journal, and a flush again,
 * which its store worker does, and the same for the first bytes of a page whose rest takes long: only its
 * owner goes on with those. The others read the pages that the journal lists. Every page is hashed before
 * bytes of it are used, once in the life of this object: nobody else writes, and the owner never changes
 * a page it has listed.
 */

import { ChordError } from '../wire/errors.js';
import { isSameFile } from '../wire/identity.js';
import type { PartIdentity } from '../wire/protocol.js';
import { StoreClient } from './store-client.js';
import { BegunPages } from './begun.js';
import { commitPages, type CommitRequest } from './commit.js';
import { digestOf, isSame } from './digest.js';
import { RECORD_BYTES, decodeJournal, encodeHeader, pageCount, pageLength, type PageRecord, type StoreHeader } from './journal.js';
import { failureWords, folderName, isNamed, openOwned, openSync, readNote, readSmall, sourceOf, storeRoot, touch, writeAll, writeNote, type StoreSettings, type SyncFile } from './layout.js';
import { Bell, isAwaited, tryLock, waitForLock } from './locks.js';
import { PageBuffers } from './page-buffers.js';
import { makeRoom } from './quota.js';
import { hashWhole } from './whole.js';

/** Pages that are committed with one flush. */
const BATCH_PAGES = 8;

/** Times that a reader tries to get hold of bytes while their file is being written. */
const SNAPSHOTS_MAX = 20;

/** What tabs tell each other about one folder. */
type Notice = { type: 'committed' } | { type: 'alive' } | { type: 'off' } | { type: 'want'; first: number; last: number; isDamaged: boolean };

export interface PageStoreEvents {
  /** Another tab asks for pages that it does not find. */
  wanted(first: number, last: number): void;
  /** Nothing is stored any more, but the model works. */
  gaveUp(message: string): void;
  /** Other pages are stored than before. */
  changed(): void;
}

/** How often a reader takes its owner's word that a damaged page was mended. */
const MENDINGS_MAX = 2;

/** What a note of doubt begins with where the whole is wrong; its SHA-256 follows. */
const WRONG = 'wrong ';

export class PageStore {
  /** Rings when pages were stored, the owner changed, or the store gave up. */
  readonly bell = new Bell();
  /** Whether this worker may write. */
  isOwner = false;
  /** Whether bytes still go to disk, by this worker or another. */
  isOn = true;
  /** What is stored; undefined before the first bytes. */
  header: StoreHeader | undefined;
  /** The owner stores nothing, or does not answer: there is no use in waiting for it. */
  isOwnerSilent = false;
  /** What the folder was left with: see layout.ts. */
  doubt: string | undefined;
  #checked: string | undefined;
  #records = new Map<number, PageRecord>();
  #verified = new Set<number>();
  /** Pages that the owner lists, another tab, and that were read damaged: how often, and whether they are now. */
  readonly #damaged = new Map<number, { times: number; isNow: boolean }>();
  /** Pages written whole that are not in the journal yet. */
  #pending = new Set<number>();
  /** Pages of which more is to come. */
  readonly #begun: BegunPages;
  #isDraining = false;
  #draining: Promise<void> = Promise.resolve();
  #client: StoreClient | undefined;
  #data: SyncFile | undefined;
  #journal: SyncFile | undefined;
  #journalEnd = 0;
  #seed = 0;
  #isClosed = false;
  /** Since when the owner, another tab, has been asked without a sign of life. */
  #askedMs: number | undefined;
  readonly #closing = new AbortController();
  readonly #channel: BroadcastChannel;

  private constructor(
    private readonly root: FileSystemDirectoryHandle,
    private readonly name: string,
    private readonly url: string,
    private readonly sha256: string | undefined,
    private readonly settings: StoreSettings,
    private readonly buffers: PageBuffers,
    private readonly events: PageStoreEvents,
  ) {
    this.#begun = new BegunPages(settings.pageBytes, settings.stepMs);
    this.#channel = new BroadcastChannel(`wasm-chord.store.${name}`);
    this.#channel.onmessage = ({ data }: MessageEvent<Notice>) => this.#hear(data);
  }

  /** Opens the folder of the file at `url`. Throws where there is no store. */
  static async open(url: string, sha256: string | undefined, settings: StoreSettings, buffers: PageBuffers, events: PageStoreEvents): Promise<PageStore> {
    const root = await storeRoot();
    const name = await folderName(url);
    const release = await tryLock(name);
    const store = new PageStore(root, name, url, sha256, settings, buffers, events);
    if (release) {
      try {
        await store.#own();
      } catch (thrown) {
        store.#channel.close();
        release();
        throw thrown;
      }
    } else {
      void waitForLock(name, store.#closing.signal).then(() => store.#takeOver()).catch(() => undefined);
      await store.refresh();
    }
    return store;
  }

  /** Opens what is stored of the file at `url` for reading alone; undefined if there is nothing, or it is in doubt. */
  static async glance(url: string, settings: StoreSettings, buffers: PageBuffers, events: PageStoreEvents): Promise<PageStore | undefined> {
    const root = await storeRoot();
    const store = new PageStore(root, await folderName(url), url, undefined, settings, buffers, events);
    store.isOwnerSilent = true;
    const folder = await store.#folder(false);
    if (folder && await readNote(folder, 'doubt') === undefined) await store.refresh();
    if (store.header) return store;
    store.close();
    return undefined;
  }

  get pageBytes(): number {
    return this.settings.pageBytes;
  }

  has(page: number): boolean {
    return this.#records.has(page) && this.#damaged.get(page)?.isNow !== true;
  }

  /** Whether the page was written whole and will be there soon. */
  isPending(page: number): boolean {
    return this.#pending.has(page);
  }

  /** Bytes at the start of a page that are written and sound, where the page is not whole. */
  begun(page: number): number {
    return this.#begun.lengthOf(page);
  }

  get isComplete(): boolean {
    const isDamaged = [...this.#damaged.values()].some(({ isNow }) => isNow);
    return this.header !== undefined && this.#records.size === pageCount(this.header) && !isDamaged;
  }

  get isSettled(): boolean {
    return this.#pending.size === 0;
  }

  /** Begins the folder anew for a file that is now known. */
  async begin(identity: PartIdentity & { size: number }): Promise<void> {
    if (!this.isOwner || !this.isOn) return;
    try {
      if (!await makeRoom(this.root, identity.size, this.name, false)) {
        this.giveUp(`there is no room to keep ${identity.size} bytes`);
        return;
      }
      const header: StoreHeader = { source: sourceOf(this.url), identity, pageBytes: this.pageBytes, generation: crypto.randomUUID() };
      if (this.sha256 !== undefined) header.sha256 = this.sha256;
      if (this.doubt?.startsWith(WRONG)) header.formerly = this.doubt.slice(WRONG.length);
      const { bytes, seed } = encodeHeader(header);
      this.clear();
      // A commit of what was there before may be under way.
      await this.#draining;
      await this.settleDoubt();
      writeAll(this.#journal, bytes, 0);
      this.#journal?.flush();
      this.header = header;
      this.#journalEnd = bytes.length;
      this.#seed = seed;
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  /** Forgets everything stored: the file is another one now. */
  clear(): void {
    this.header = undefined;
    this.#records.clear();
    this.#verified.clear();
    this.#pending.clear();
    this.#begun.clear();
    this.#journal?.truncate(0);
    this.#journal?.flush();
    this.#data?.truncate(0);
    this.events.changed();
    this.bell.ring();
  }

  /** Whether what is stored is known to be wrong. */
  get isWrong(): boolean {
    return this.doubt?.startsWith(WRONG) === true;
  }

  /** Notes that the file has changed on its server. What is stored stays good for this engine, not for the next. */
  async noteChange(): Promise<void> {
    await this.#noteDoubt('changed');
  }

  async #noteDoubt(doubt: string): Promise<void> {
    const folder = this.isOwner ? await this.#folder(false) : undefined;
    if (folder) await writeNote(folder, 'doubt', doubt);
  }

  /** Nothing speaks against what is stored any more. */
  async settleDoubt(): Promise<void> {
    if (this.doubt === undefined) return;
    this.doubt = undefined;
    const folder = await this.#folder(false);
    if (folder) await writeNote(folder, 'doubt', undefined);
  }

  /**
   * Hashes the whole file once in its life, if its SHA-256 is known, and notes the outcome. A file that is
   * `wrong` is to be fetched once more; if that gives the same, it is `odd`: that is what its server has.
   */
  async checkWhole(): Promise<'fine' | 'wrong' | 'odd'> {
    const { header } = this;
    if (!this.isOwner || !this.isComplete || header?.sha256 === undefined || this.#checked === header.generation) return 'fine';
    const client = new StoreClient(this.name);
    const { size } = header.identity;
    const sha256 = await client.hash(size) ?? (this.#data && await hashWhole(this.#data, size).catch(() => undefined));
    client.close();
    if (sha256 === undefined || this.header !== header || this.#isClosed) return 'fine';
    if (sha256 !== header.sha256 && sha256 !== header.formerly) {
      this.doubt = WRONG + sha256;
      await this.#noteDoubt(this.doubt);
      return 'wrong';
    }
    await this.#noteChecked(header.generation);
    return sha256 === header.sha256 ? 'fine' : 'odd';
  }

  /** Frees the room of what is stored, unless another tab reads it. */
  async drop(): Promise<void> {
    if (this.isOwner && !await isAwaited(this.name)) this.clear();
  }

  /** One bit for each page of the file: whether it is stored. */
  get storedPages(): Uint8Array {
    const bits = new Uint8Array(this.header ? Math.ceil(pageCount(this.header) / 8) : 0);
    for (const page of this.#records.keys()) bits[page >> 3] = (bits[page >> 3] ?? 0) | (1 << (page & 7));
    return bits;
  }

  /** Writes bytes of a page that is not stored yet. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (!this.isOwner || !this.isOn) return;
    try {
      try {
        writeAll(this.#data, bytes, offset);
      } catch (thrown) {
        if (!isNamed(thrown, 'QuotaExceededError')) throw thrown;
        const isRoom = await makeRoom(this.root, (this.header?.identity.size ?? 0) - offset, this.name, true);
        if (!isRoom) throw thrown;
        writeAll(this.#data, bytes, offset);
      }
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  /** Notes how much of a page has been written, from its start on. It goes into the journal if the rest takes long. */
  grow(page: number, length: number): void {
    if (!this.isOwner || !this.isOn || !this.header) return;
    if (length < pageLength(this.header, page)) this.#begun.grow({ page, length });
    this.#commitSoon();
  }

  /** Takes a page that has been written whole for the journal. */
  finish(page: number): void {
    if (!this.isOwner || !this.isOn) return;
    this.#begun.delete(page);
    this.#pending.add(page);
    this.#commitSoon();
  }

  /** Resolves when a page does not wait for its commit (any more). */
  async stored(page: number, signal: AbortSignal): Promise<void> {
    while (this.#pending.has(page) && !signal.aborted) await this.bell.wait(signal);
  }

  /**
   * Reads bytes `from` to `to` of a stored page, using `buffer`; the first time the whole page, to verify
   * it. Undefined if it is damaged: then it counts as absent.
   */
  async read(page: number, from: number, to: number, buffer: Uint8Array): Promise<Uint8Array | undefined> {
    const record = this.#records.get(page);
    if (!record) return this.#readPending(page, from, to, buffer);
    const end = Math.min(to, record.length);
    const isVerified = this.#verified.has(page);
    const bytes = isVerified ? buffer.subarray(0, end - from) : buffer.subarray(0, record.length);
    let isSound = false;
    try {
      isSound = await this.#readAt(bytes, page * this.pageBytes + (isVerified ? from : 0)) === bytes.length
        && (isVerified || isSame(await digestOf(bytes), record.digest));
    } catch (thrown) {
      if (this.isOwner) this.#failed(thrown);
    }
    if (this.#records.get(page) !== record) return undefined;
    if (isSound) {
      this.#verified.add(page);
      return isVerified ? bytes : bytes.subarray(from, end);
    }
    this.#verified.delete(page);
    if (this.isOwner) this.#records.delete(page);
    else this.#damaged.set(page, { times: (this.#damaged.get(page)?.times ?? 0) + 1, isNow: true });
    this.events.changed();
    return undefined;
  }

  /** Whether it makes no sense to wait for the owner to mend a page. */
  isLost(page: number): boolean {
    return (this.#damaged.get(page)?.times ?? 0) > MENDINGS_MAX;
  }

  /** Looks at a page again that another tab has read damaged. */
  async #recheck(page: number): Promise<void> {
    if (!this.has(page)) return;
    this.#verified.delete(page);
    const buffer = await this.buffers.acquire();
    try {
      // One that is sound after all is told like one that was fetched.
      if (await this.read(page, 0, this.pageBytes, buffer)) this.#tell({ type: 'committed' });
    } finally {
      this.buffers.release(buffer);
    }
  }

  /** Reads of a page that waits for its commit: it came just now, and its bytes are as good as on their way here. */
  #readPending(page: number, from: number, to: number, buffer: Uint8Array): Uint8Array | undefined {
    if (!this.header || !this.#data || !this.#pending.has(page)) return undefined;
    const bytes = buffer.subarray(0, Math.min(to, pageLength(this.header, page)) - from);
    try {
      if (this.#data.read(bytes, { at: page * this.pageBytes + from }) === bytes.length) return bytes;
      throw new Error('a page cannot be read back');
    } catch (thrown) {
      this.#failed(thrown);
      return undefined;
    }
  }

  /** Looks what the owner has stored meanwhile. */
  async refresh(): Promise<void> {
    if (this.isOwner || !this.isOn) return;
    const folder = await this.#folder(false);
    const bytes = folder && await readSmall(folder, 'journal');
    const journal = bytes && decodeJournal(bytes);
    if (!journal || journal.header.pageBytes !== this.pageBytes || this.isOwner) return;
    if (this.header && this.header.generation !== journal.header.generation) {
      const digests = [this.header.sha256, journal.header.sha256];
      const isDigested = digests.every((digest) => digest !== undefined);
      if (isDigested ? digests[0] !== digests[1] : !isSameFile(this.header.identity, journal.header.identity)) {
        throw new ChordError('SourceChanged', `${this.url} changed while it was read`);
      }
      this.#verified.clear();
    }
    const isNews = journal.records.size !== this.#records.size;
    if (journal.records.size > this.#records.size) this.#ownerSeen();
    this.header = journal.header;
    this.#records = journal.records;
    if (isNews) this.events.changed();
  }

  /** How long the owner has left questions unanswered. */
  get unansweredMs(): number {
    return this.#askedMs === undefined ? 0 : performance.now() - this.#askedMs;
  }

  /** Asks the owner to fetch pages. */
  ask(first: number, last: number): void {
    this.#askedMs ??= performance.now();
    this.#tell({ type: 'want', first, last, isDamaged: this.#damaged.get(first)?.isNow === true });
  }

  /** Tells the other tabs that a request failed, so that they try by themselves. */
  tellFailure(): void {
    if (this.isOwner) this.#tell({ type: 'off' });
  }

  /** Ends storing; the model goes on from the network. */
  giveUp(why: string): void {
    if (!this.isOn) return;
    this.isOn = false;
    this.#pending.clear();
    const kept = this.#records.size === 0 ? 'the model is not kept on this device' : this.isComplete ? 'what is stored of the model is not used' : 'only a part of the model is kept on this device';
    this.events.gaveUp(`${kept}: ${why}`);
    if (this.isOwner) this.#tell({ type: 'off' });
    this.bell.ring();
  }

  close(): void {
    this.#isClosed = true;
    this.#closing.abort();
    this.#channel.close();
    this.#client?.close();
    this.#data?.close();
    this.#journal?.close();
  }

  /** Opens the files for writing and reads the journal. */
  async #own(): Promise<void> {
    const folder = await this.#folder(true);
    if (!folder) throw new ChordError('StoreFailed', 'the folder could not be made');
    this.#data?.close();
    this.#data = await openOwned(folder, 'pages');
    this.#journal = await openOwned(folder, 'journal');
    const bytes = new Uint8Array(this.#journal.getSize());
    this.#journal.read(bytes, { at: 0 });
    const journal = decodeJournal(bytes);
    this.#client = new StoreClient(this.name);
    this.doubt = await readNote(folder, 'doubt');
    this.#checked = await readNote(folder, 'checked');
    this.#begun.clear();
    if (journal && journal.header.pageBytes === this.pageBytes) {
      const size = this.#data.getSize();
      for (const [page, { length }] of journal.records) {
        if (page * this.pageBytes + length > size) journal.records.delete(page);
      }
      this.header = journal.header;
      this.#records = journal.records;
      this.#journalEnd = journal.end;
      this.#seed = journal.seed;
      for (const record of journal.begun.values()) await this.#recall(this.#data, record);
    } else {
      this.clear();
    }
    await touch(folder);
    this.#damaged.clear();
    // Only now: what others have stored would be fetched again by one who writes and does not know of it.
    this.isOwner = true;
  }

  /** Goes on with the first bytes of a page, if they are still what was recorded. */
  async #recall(data: SyncFile, { page, length, digest }: PageRecord): Promise<void> {
    const buffer = await this.buffers.acquire();
    try {
      const bytes = buffer.subarray(0, length);
      const isSound = data.read(bytes, { at: page * this.pageBytes }) === length && isSame(await digestOf(bytes), digest);
      if (!isSound) return;
      this.#begun.grow({ page, length });
      this.#begun.recorded({ page, length });
    } finally {
      this.buffers.release(buffer);
    }
  }

  /** The former owner is gone. */
  async #takeOver(): Promise<void> {
    if (this.#isClosed) return;
    const before = this.header;
    try {
      await this.#own();
      if (before && before.generation !== this.header?.generation) this.giveUp('another tab removed it');
    } catch (thrown) {
      this.#failed(thrown);
    }
    this.bell.ring();
  }

  #commitSoon(): void {
    if (!this.#isDraining) this.#draining = this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isDraining = true;
    try {
      while (this.isOn && this.header) {
        const { header } = this;
        const whole = [...this.#pending].map((page) => ({ page, length: pageLength(header, page) }));
        const pages = [...whole, ...this.#begun.due()].slice(0, BATCH_PAGES);
        if (pages.length === 0) return;
        const request = { pages, pageBytes: this.pageBytes, journalEnd: this.#journalEnd, seed: this.#seed };
        const records = await this.#client?.commit(request) ?? await this.#commitHere(request);
        if (this.header !== header) return;
        this.#journalEnd += records.length * RECORD_BYTES;
        this.#committed(records, header);
        // The whole was right with other bytes of these pages.
        if (this.#checked !== undefined) await this.#noteChecked(undefined);
      }
    } catch (thrown) {
      this.#failed(thrown);
    } finally {
      this.#isDraining = false;
    }
  }

  async #commitHere(request: CommitRequest): Promise<PageRecord[]> {
    if (!this.#data || !this.#journal) throw new Error('the files are not open');
    const buffer = await this.buffers.acquire();
    try {
      return await commitPages({ data: this.#data, journal: this.#journal }, request, buffer);
    } finally {
      this.buffers.release(buffer);
    }
  }

  #committed(records: PageRecord[], header: StoreHeader): void {
    const whole = records.filter(({ page, length }) => length === pageLength(header, page));
    for (const record of records) if (!whole.includes(record)) this.#begun.recorded(record);
    for (const record of whole) {
      this.#records.set(record.page, record);
      this.#verified.add(record.page);
      this.#pending.delete(record.page);
    }
    if (whole.length === 0) return;
    this.#tell({ type: 'committed' });
    this.events.changed();
    this.bell.ring();
  }

  async #noteChecked(generation: string | undefined): Promise<void> {
    this.#checked = generation;
    const folder = await this.#folder(false);
    if (folder) await writeNote(folder, 'checked', generation);
  }

  async #readAt(bytes: Uint8Array, offset: number): Promise<number> {
    if (!this.#data) {
      const folder = await this.#folder(false);
      if (!folder) return 0;
      try {
        this.#data = await openSync(folder, 'pages', false);
      } catch {
        // The owner has it for itself in this browser.
        const part = await readSnapshot(folder, offset, offset + bytes.length);
        bytes.set(new Uint8Array(part));
        return part.byteLength;
      }
    }
    return this.#data.read(bytes, { at: offset });
  }

  async #folder(create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
    try {
      return await this.root.getDirectoryHandle(this.name, { create });
    } catch (thrown) {
      if (!create && isNamed(thrown, 'NotFoundError')) return undefined;
      throw thrown;
    }
  }

  #ownerSeen(): void {
    this.#askedMs = undefined;
    this.isOwnerSilent = false;
  }

  #failed(thrown: unknown): void {
    this.giveUp(failureWords(thrown));
  }

  #tell(notice: Notice): void {
    if (!this.#isClosed) this.#channel.postMessage(notice);
  }

  #hear(notice: Notice): void {
    switch (notice.type) {
      case 'committed':
        this.#ownerSeen();
        for (const [page, damage] of this.#damaged) damage.isNow = this.isLost(page);
        if (!this.isOwner) this.bell.ring();
        break;
      case 'off':
        // What it has stored stays readable; the rest has to come from the network.
        this.isOwnerSilent = !this.isOwner;
        this.bell.ring();
        break;
      case 'want':
        if (!this.isOwner) break;
        // A page can take long to come; an answer says that it is on its way.
        this.#tell({ type: this.isOn ? 'alive' : 'off' });
        if (!this.isOn) break;
        void (notice.isDamaged ? this.#recheck(notice.first) : Promise.resolve()).then(() => this.events.wanted(notice.first, notice.last));
        break;
      case 'alive':
        this.#askedMs = undefined;
        break;
    }
  }
}

/** Reads bytes of the pages as they lie there at the moment: one who writes beside it may take the moment away. */
async function readSnapshot(folder: FileSystemDirectoryHandle, from: number, to: number): Promise<ArrayBuffer> {
  const handle = await folder.getFileHandle('pages');
  for (let count = 1; ; count += 1) {
    try {
      return await (await handle.getFile()).slice(from, to).arrayBuffer();
    } catch (thrown) {
      if (!isNamed(thrown, 'NotReadableError') || count === SNAPSHOTS_MAX) throw thrown;
    }
  }
}
