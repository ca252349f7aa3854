/**
 * The IO worker: finds the files of a model and reads ranges of them into buffers of a bounded pool,
 * which it transfers to the engine worker.
 */

import { isOfNetwork, originOf } from './wire/address.js';
import { join, tell } from './wire/colleague.js';
import { ChordError, toChordError, toWire } from './wire/errors.js';
import { BlobFile, HttpFile, type SourceFile } from './io/http.js';
import { fetchDocument, hubOf, resolveParts } from './io/hub.js';
import { BufferPool, Cutter } from './io/pool.js';
import { NO_COUNTERS, type FromIo, type IoCounters, type NetworkSettings, type PartIdentity, type PartInput, type PartSource, type ReadMode, type ToIo } from './wire/protocol.js';
import { RequestRoute } from './io/route.js';
import type { StoreSettings } from './store/layout.js';
import { deleteStored, isStored, listStored, verifyStored } from './store/manage.js';
import { recallParts, rememberParts } from './store/names.js';
import { PageBuffers } from './store/page-buffers.js';
import { StoredFile } from './store/stored-file.js';

/** How often the engine worker hears of bytes that are not sent on yet. */
const MOVED_MS = 45;

const post = (message: FromIo, transfer?: Transferable[]): void => tell(message, transfer);
const pool = new BufferPool();
const counters: IoCounters = { ...NO_COUNTERS };
const reads = new Map<number, AbortController>();
let files: SourceFile[] = [];
let told = 0;
let telling: ReturnType<typeof setInterval> | undefined;

function receive(data: ToIo): void {
  switch (data.type) {
    case 'resolve':
      void resolve(data);
      break;
    case 'adopt':
      open(data.files, data.headers, data.network, data.store);
      break;
    case 'read':
      void read(data);
      break;
    case 'cancel':
      reads.get(data.id)?.abort();
      break;
    case 'store':
      void answer(data);
      break;
    case 'settle':
      void settle();
      break;
    case 'recycle':
      pool.recycle(data.buffer);
      break;
  }
}

async function resolve({ parts, adapters, headers, network, store }: Extract<ToIo, { type: 'resolve' }>): Promise<void> {
  const find = (of: PartInput[], own: [string, string][]): Promise<PartSource[]> => {
    return store.isUsed ? resolveStored(of, own, network, store.isGlance) : ask(of, own, network, false);
  };
  try {
    const found = await find(parts, headers);
    for (const adapter of adapters) {
      const files = await find([adapter], isOfSameHub(adapter, parts[0], network) ? headers : []);
      if (files.length !== 1) throw new ChordError('InvalidSource', `an adapter is one file, and ${files.map(({ name }) => name).join(', ')} are ${files.length}`);
      found.push(...files);
    }
    open(found, headers, network, store);
    post({ type: 'resolved', files: found });
  } catch (thrown) {
    post({ type: 'resolveFailed', error: toWire(thrown) });
  }
}

/** Whether the caller's headers are meant for the hub that both are on. */
function isOfSameHub(adapter: PartInput, model: PartInput | undefined, network: NetworkSettings): boolean {
  return model !== undefined && 'repo' in model && 'repo' in adapter && hubOf(model, network) === hubOf(adapter, network);
}

/** Finds the files, without a request where the model is stored completely. */
async function resolveStored(parts: PartInput[], headers: [string, string][], network: NetworkSettings, isGlance: boolean): Promise<PartSource[]> {
  const known = await recallParts(parts, network.hub);
  const { isComplete, isDoubtful } = known ? await isStored(known) : { isComplete: false, isDoubtful: false };
  if (known && isComplete && (!isDoubtful || !navigator.onLine)) return known;
  const found = await ask(parts, headers, network, !isGlance).catch((thrown: unknown) => {
    // What is stored may be old, but it is better than nothing.
    if (known && isComplete && toChordError(thrown).retryable) return known;
    throw thrown;
  });
  if (!isGlance) await rememberParts(parts, network.hub, found);
  return found;
}

/** Finds the files, asking the hub where a name needs it or where they are to be kept. */
function ask(parts: PartInput[], headers: [string, string][], network: NetworkSettings, isKept: boolean): Promise<PartSource[]> {
  const hubOrigin = originOf(hubOf(parts[0], network));
  return resolveParts(parts, network, isKept, (url) => {
    const route = new RequestRoute(url, headersFor(url, hubOrigin, headers), () => { counters.requests += 1; });
    return fetchDocument(url, route, network.idleMs);
  });
}

/** Answers a question about what is stored. */
async function answer({ question, parts, network }: Extract<ToIo, { type: 'store' }>): Promise<void> {
  try {
    const files = await recallParts(parts, network.hub) ?? await ask(parts, [], network, false);
    const value = await { list: listStored, verify: () => verifyStored(files), delete: () => deleteStored(files) }[question]();
    post({ type: 'storeAnswer', value });
  } catch (thrown) {
    post({ type: 'storeFailed', error: toWire(thrown) });
  }
}

function headersFor(url: string, origin: string, headers: [string, string][]): [string, string][] {
  return originOf(url) === origin ? headers : [];
}

/** Makes the files readable. The caller's headers belong to the origin of the first URL. */
function open(sources: PartSource[], headers: [string, string][], network: NetworkSettings, store: StoreSettings): void {
  const first = sources.find((source) => source.url !== undefined)?.url;
  const origin = first === undefined ? '' : originOf(first);
  const buffers = new PageBuffers(store.pageBytes, store.pageBuffers);
  files = sources.map((source, index) => {
    if (source.blob) return new BlobFile(source.blob, source.name);
    const part = { ...source, url: source.url ?? '' };
    const makeHttp = (identity: PartIdentity | undefined): HttpFile => {
      const file = { ...part };
      delete file.identity;
      return new HttpFile({ ...file, ...identity ? { identity } : {} }, headersFor(part.url, origin, headers), network, counters);
    };
    // What an app brings along is on the device already.
    if (!store.isUsed || !isOfNetwork(part.url)) return makeHttp(part.identity);
    const changed = (): void => tellStored(index, store.pageBytes);
    return new StoredFile({ part, makeHttp, settings: store, buffers, counters, warn, changed });
  });
}

function tellStored(part: number, pageBytes: number): void {
  const file = files[part];
  if (file instanceof StoredFile) post({ type: 'stored', part, pageBytes, pages: file.storedPages });
}

function warn(message: string, isUnkept: boolean): void {
  console.warn(`wasm-chord: ${message}`);
  post({ type: 'warning', message, isUnkept });
}

async function settle(): Promise<void> {
  const { signal } = new AbortController();
  await Promise.all(files.map((file) => (file instanceof StoredFile ? file.settle(signal) : undefined)));
  post({ type: 'settled' });
  for (const file of files) if (file instanceof StoredFile) await file.lookAgain().catch(() => undefined);
}

async function read({ id, part, offset, length, mode }: Extract<ToIo, { type: 'read' }>): Promise<void> {
  const abort = new AbortController();
  reads.set(id, abort);
  telling ??= setInterval(tellMoved, MOVED_MS);
  const file = files[part];
  try {
    if (!file) throw new ChordError('Internal', `there is no part ${part}`);
    const isStored = await (mode === 'keep' ? keep(file, part, offset, offset + length, abort.signal) : send(file, id, part, offset, length, mode, abort.signal));
    post({ type: 'done', id, isStored, counters });
  } catch (thrown) {
    post({ type: 'failed', id, error: toWire(thrown), counters });
  } finally {
    reads.delete(id);
    if (reads.size === 0) {
      clearInterval(telling);
      telling = undefined;
    }
  }
}

function tellMoved(): void {
  const moved = counters.fetchedBytes + counters.storeBytes;
  if (moved !== told) post({ type: 'moved', counters });
  told = moved;
}

/** Sends a range to the engine, in pieces. */
async function send(file: SourceFile, id: number, part: number, offset: number, length: number, mode: ReadMode, signal: AbortSignal): Promise<boolean> {
  const cutter = new Cutter(pool, offset, (at, bytes, buffer) => {
    post({ type: 'piece', id, offset: at, length: bytes, buffer, counters }, [buffer]);
  }, signal);
  try {
    const method = mode === 'peek' && file.peek ? 'peek' : 'read';
    return await file[method]?.(offset, offset + length, (chunk) => cutter.write(chunk), () => announce(part, file), signal) === true;
  } finally {
    cutter.flush();
  }
}

/** Brings a range to disk. False if it is not kept there. */
async function keep(file: SourceFile, part: number, offset: number, end: number, signal: AbortSignal): Promise<boolean> {
  return file instanceof StoredFile && file.keep(offset, end, () => announce(part, file), signal);
}

/** Tells what is known of a part. Costs little: once a response. */
function announce(part: number, file: SourceFile): void {
  const { identity, sequential, contentType } = file;
  post({ type: 'part', part, identity, sequential, ...contentType === undefined ? {} : { contentType } });
}

join(receive);
