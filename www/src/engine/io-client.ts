/**
 * The engine worker's side of the IO worker: has it started, watches it, and has another take its place
 * when it dies, which goes on where the reads in flight had come to.
 */

import { Colleague } from '../wire/colleague.js';
import { ChordError, fromWire } from '../wire/errors.js';
import { hasAll, type StoredPages } from '../wire/groups.js';
import { isOfNetwork } from '../wire/address.js';
import { LocalFile, type ReadableFile } from '../wire/local-file.js';
import {
  IO_SILENT_TICKS_MAX, NO_COUNTERS,
  type FromIo, type IoCounters, type OpenRequest, type PartIdentity, type PartSource, type Ping, type Pong, type ReadMode, type ToIo,
} from '../wire/protocol.js';
import { folderOf, hasFileSystem, sharesFiles } from '../store/layout.js';
import { OpenedFiles } from '../store/opened.js';
import { Watchdog } from '../wire/watchdog.js';

/** How often a dead IO worker is replaced. */
const RESTARTS_MAX = 3;

/** What a read reports. Bytes are valid only during the call. */
export interface ReadHandler {
  piece(offset: number, bytes: Uint8Array): void;
  /** `isStored`: every byte is on disk, verified. */
  done(isStored: boolean): void;
  /** `offset` is the first byte that did not come. */
  failed(error: ChordError, offset: number): void;
}

/** What is known of a part after its first response. */
export interface PartFacts {
  identity: PartIdentity;
  sequential: boolean;
  contentType?: string;
}

interface Read {
  part: number;
  position: number;
  end: number;
  mode: ReadMode;
  handler: ReadHandler;
}

export class IoClient {
  /** What is odd but can be lived with. */
  readonly warnings: string[] = [];
  /** Called with each further one. */
  onWarning: (message: string) => void = () => undefined;
  /** Called when more bytes have come to the IO worker, some times a second. */
  onMoved: () => void = () => undefined;
  /** By part number; empty where nothing is stored. */
  readonly stored: StoredPages[] = [];
  /** By part number; filled in by the first read of each part. */
  readonly facts: PartFacts[] = [];
  #files: PartSource[] = [];
  readonly #opened = new OpenedFiles();
  /** Files of the person's, by part. */
  readonly #local = new Map<number, LocalFile>();
  #worker: Colleague<ToIo | Ping, FromIo | Pong>;
  #hasStarted = false;
  /** The store has failed, for this engine at least. */
  #isUnkept = false;
  #isDead = false;
  #restarts = 0;
  /** What a dead worker had not kept is on its way to the disk. */
  #isKeeping = false;
  #reads = new Map<number, Read>();
  #nextRead = 0;
  #past: IoCounters = NO_COUNTERS;
  #current: IoCounters = NO_COUNTERS;
  #settling: (() => void)[] = [];
  #resolving: { resolve: (parts: number) => void; reject: (error: ChordError) => void } | undefined;
  readonly #watchdog: Watchdog;

  constructor(private readonly request: OpenRequest) {
    this.#worker = this.#start();
    this.#watchdog = new Watchdog({
      isAwaited: () => this.#hasStarted && (this.#reads.size > 0 || this.#resolving !== undefined || this.#settling.length > 0),
      ping: () => this.#worker.send({ type: 'ping' }),
      fellSilent: () => this.#died('the IO worker does not answer'),
    }, IO_SILENT_TICKS_MAX);
  }

  /** Totals over all workers. */
  get counters(): IoCounters {
    return {
      requests: this.#past.requests + this.#current.requests,
      fetchedBytes: this.#past.fetchedBytes + this.#current.fetchedBytes,
      storeBytes: this.#past.storeBytes + this.#current.storeBytes,
      retries: this.#past.retries + this.#current.retries,
    };
  }

  /** Finds the files of the model and of its adapters; resolves to their number. */
  resolve(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#resolving = { resolve, reject };
      this.#send(this.#question());
    });
  }

  #question(): ToIo {
    const { parts, adapters, headers, network, store } = this.request;
    return { type: 'resolve', parts, adapters, headers, network, store };
  }

  name(part: number): string {
    return this.#files[part]?.name ?? `part ${part + 1}`;
  }

  /** Whether all parts are on disk, or of the kind that is kept there for this worker to read. */
  get isKept(): boolean {
    return this.#files.every(({ blob, url = '' }) => blob !== undefined || (this.request.store.isUsed && isOfNetwork(url) && sharesFiles()));
  }

  /** Whether what is fetched can stay on disk, so that nothing is fetched twice. */
  get isStorable(): boolean {
    return !this.#isUnkept && this.#files.every(({ blob, url = '' }) => blob !== undefined || (this.request.store.isUsed && isOfNetwork(url) && hasFileSystem()));
  }

  /** The folder of the store that is the model's; undefined where nothing is kept of it. */
  async folder(): Promise<string | undefined> {
    const [first] = this.#files;
    return first && this.request.store.isUsed && hasFileSystem() ? folderOf(first) : undefined;
  }

  /** Whether a part is a file of the person's: it is on disk already. */
  isLocal(part: number): boolean {
    return this.#files[part]?.blob !== undefined;
  }

  /** Whether all these bytes of a part are on disk. */
  isOnDisk(part: number, start: number, end: number): boolean {
    return this.isLocal(part) || hasAll(this.stored[part], start, end);
  }

  /** The file on disk of a part. */
  async file(part: number): Promise<ReadableFile | undefined> {
    const { url, blob, name = '' } = this.#files[part] ?? {};
    if (!blob) return url === undefined ? undefined : this.#opened.file(url);
    const file = this.#local.get(part) ?? new LocalFile(blob, name);
    this.#local.set(part, file);
    return file;
  }

  /** Why one of the person's files could not be read a moment ago. */
  get localFailure(): ChordError | undefined {
    return [...this.#local.values()].find(({ failure }) => failure)?.failure;
  }

  /** Reads `length` bytes, or all up to the end of the file if it is Infinity. */
  read(part: number, offset: number, length: number, handler: ReadHandler, mode: ReadMode = 'send'): number {
    const id = this.#nextRead;
    this.#nextRead += 1;
    if (this.#isDead) {
      this.#restarts = 0;
      this.#replace();
    }
    this.#reads.set(id, { part, position: offset, end: offset + length, mode, handler });
    this.#send({ type: 'read', id, part, offset, length, mode });
    return id;
  }

  /** Stops all reads; their handlers hear no more. */
  cancelAll(): void {
    for (const id of this.#reads.keys()) this.#send({ type: 'cancel', id });
    this.#reads.clear();
    if (this.#isKeeping) this.#settled();
    this.#isKeeping = false;
  }

  /** Resolves when everything that was fetched is on disk, as far as it is kept, or no worker can be had. */
  settle(): Promise<void> {
    return new Promise((resolve) => {
      this.#settling.push(resolve);
      if (this.#isDead) this.#settled();
      else this.#send({ type: 'settle' });
    });
  }

  #settled(): void {
    for (const resolve of this.#settling.splice(0)) resolve();
  }

  close(): void {
    this.#watchdog.stop();
    this.#reads.clear();
    this.#opened.close();
    this.#worker.end();
  }

  #start(): Colleague<ToIo | Ping, FromIo | Pong> {
    return new Colleague('io-worker', {
      message: (message) => this.#receive(message),
      started: () => { this.#hasStarted = true; },
      gone: (why) => this.#died(why),
    });
  }

  #send(message: ToIo, transfer: Transferable[] = []): void {
    this.#worker.send(message, transfer);
  }

  #receive(message: FromIo | Pong): void {
    this.#watchdog.heard();
    switch (message.type) {
      case 'pong':
        break;
      case 'moved':
        this.#current = message.counters;
        this.onMoved();
        break;
      case 'settled':
        this.#settled();
        break;
      case 'warning':
        this.#isUnkept ||= message.isUnkept;
        this.warnings.push(message.message);
        this.onWarning(message.message);
        break;
      case 'stored':
        this.stored[message.part] = { pageBytes: message.pageBytes, pages: message.pages };
        break;
      case 'resolved':
        this.#files = message.files;
        this.#resolving?.resolve(message.files.length);
        this.#resolving = undefined;
        break;
      case 'resolveFailed':
        this.#resolving?.reject(fromWire(message.error));
        this.#resolving = undefined;
        break;
      case 'part': {
        const { part, identity, sequential, contentType } = message;
        this.facts[part] = { identity, sequential, ...contentType === undefined ? {} : { contentType } };
        const file = this.#files[part];
        if (file) file.identity = identity;
        break;
      }
      case 'piece': {
        this.#current = message.counters;
        const read = this.#reads.get(message.id);
        if (read && read.position !== message.offset) {
          this.#died('the IO worker failed: a message was lost');
          break;
        }
        if (read) {
          read.position = message.offset + message.length;
          read.handler.piece(message.offset, new Uint8Array(message.buffer, 0, message.length));
        }
        this.#send({ type: 'recycle', buffer: message.buffer }, [message.buffer]);
        break;
      }
      case 'done':
      case 'failed': {
        this.#current = message.counters;
        const read = this.#reads.get(message.id);
        if (message.type === 'done' && read && read.mode !== 'keep' && read.position < Math.min(read.end, this.facts[read.part]?.identity.size ?? 0)) {
          this.#died('the IO worker failed: a message was lost');
          break;
        }
        this.#reads.delete(message.id);
        if (message.type === 'done') read?.handler.done(message.isStored);
        else read?.handler.failed(fromWire(message.error), read.position);
        break;
      }
    }
  }

  /** Replaces a dead worker, or gives up when that does not help. */
  #died(why: string): void {
    this.#worker.end();
    this.#past = this.counters;
    this.#current = NO_COUNTERS;
    this.#watchdog.heard();
    const hasStarted = this.#hasStarted;
    this.#hasStarted = false;
    this.#restarts += 1;
    if (!hasStarted || this.#restarts > RESTARTS_MAX) {
      this.#isDead = true;
      this.#giveUp(new ChordError('WorkerFailed', why));
      return;
    }
    this.#replace();
    for (const [id, { part, position, end, mode }] of this.#reads) {
      this.#send({ type: 'read', id, part, offset: position, length: end - position, mode });
    }
    if (this.#settling.length > 0 && !this.#isKeeping) void this.#keepRest();
  }

  /** Brings to disk what the engine had of a worker that died before it was kept, and waits for that. */
  async #keepRest(): Promise<void> {
    this.#isKeeping = true;
    const parts = this.isStorable ? [...this.#files.keys()].filter((part) => !this.isLocal(part)) : [];
    await Promise.all(parts.map((part) => new Promise<void>((done) => {
      this.read(part, 0, Infinity, { piece: () => undefined, done: () => done(), failed: () => done() }, 'keep');
    })));
    this.#isKeeping = false;
    if (this.#isDead) this.#settled();
    else this.#send({ type: 'settle' });
  }

  #replace(): void {
    this.#isDead = false;
    this.#worker = this.#start();
    const { headers, network, store } = this.request;
    if (this.#resolving) this.#send(this.#question());
    else this.#send({ type: 'adopt', files: this.#files, headers, network, store });
  }

  #giveUp(error: ChordError): void {
    this.#settled();
    this.#resolving?.reject(error);
    this.#resolving = undefined;
    const reads = [...this.#reads.values()];
    this.#reads.clear();
    for (const read of reads) read.handler.failed(error, read.position);
  }
}

/** Bytes that have come from servers and from the store, some perhaps twice. */
export function movedBytes({ counters }: IoClient): number {
  return counters.fetchedBytes + counters.storeBytes;
}
