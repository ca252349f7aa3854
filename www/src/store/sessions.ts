/**
 * Saved sessions, in the folder of their model, so that they go with it:
 *
 *     sessions/<digest of the name>.<number>   one state of a session; of several the one with the highest number counts
 *
 * Each file is a head of fixed length, the saved sequence, and a text (JSON) that says what it is. The head is written
 * last, once all else was flushed, and says so by its checksum: whoever ends the worker at any moment leaves the state
 * that was there before, or the new one. What has no head is swept away when a session of the folder is saved next.
 */

import { ChordError, toChordError } from '../wire/errors.js';
import { isSameFile } from '../wire/identity.js';
import type { PartIdentity } from '../wire/protocol.js';
import type { StoredSession } from '../wire/types.js';
import { digestOf } from './digest.js';
import { crc32 } from './journal.js';
import { existingFolder, failureWords, hex, isInUse, isNamed, openSync, storeRoot, touch, writeAll } from './layout.js';
import { waitForLock } from './locks.js';

const FOLDER = 'sessions';
const MAGIC = 0x53534843;
const VERSION = 1;
/** Magic, version, bytes of the sequence (low and high half), bytes of the text, its CRC-32, and that of all before. */
const HEAD_BYTES = 28;
/** Bytes that are read at a time. */
const PIECE_BYTES = 1 << 20;
/** How long another tab that saves or deletes is waited for. */
const BUSY_MS_MAX = 30_000;

/** What a session's file says of it. */
interface Description {
  name: string;
  tokens: number;
  savedAt: number;
  answer?: string;
  /** The files of the model that computed it. */
  parts: PartIdentity[];
}

/** One file whose head is whole. */
interface Found {
  file: string;
  key: string;
  number: number;
  about: Description;
  /** The saved sequence. */
  content: Blob;
}

/** What is saved of a session. */
export interface Content {
  tokens: number;
  answer?: string;
  pieces: AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export class SessionStore {
  /** `folder` names the folder of the model; there is none where nothing is kept of it. */
  constructor(private readonly folder: string | undefined, private readonly parts: () => PartIdentity[]) {}

  /** Writes a session beside the one of that name, which it then replaces. */
  async save(name: string, { tokens, answer, pieces }: Content): Promise<StoredSession> {
    const root = await this.#model(true);
    if (!root) throw new ChordError('StoreFailed', 'this engine keeps nothing in the store: its model is not kept there', { details: { reason: 'no store' } });
    return this.#locked(async () => {
      const folder = await root.getDirectoryHandle(FOLDER, { create: true });
      const key = await keyOf(name);
      const found = await this.#sweep(folder);
      const earlier = found.filter((other) => other.key === key);
      const number = Math.max(0, ...earlier.map((other) => other.number)) + 1;
      const about: Description = { name, tokens, savedAt: Date.now(), ...answer === undefined ? {} : { answer }, parts: this.parts() };
      const bytes = await write(folder, `${key}.${number}`, about, pieces);
      for (const { file } of earlier) await remove(folder, file);
      await touch(root);
      return shown(about, bytes);
    });
  }

  async list(): Promise<StoredSession[]> {
    const folder = await this.#sessions();
    const found = folder ? (await committed(folder)).found : [];
    const latest = found.filter(({ key, number }) => !found.some((other) => other.key === key && other.number > number));
    return latest.map(({ about, content }) => shown(about, content.size)).sort((a, b) => b.savedAt - a.savedAt);
  }

  /** A session and its bytes in pieces. Throws `NotFound`, and `InvalidState` where another version of the model computed it. */
  async open(name: string): Promise<{ session: StoredSession; pieces: AsyncIterable<Uint8Array> }> {
    const folder = await this.#sessions();
    const key = await keyOf(name);
    const found = folder ? (await committed(folder, key)).found : [];
    const [latest] = found.sort((a, b) => b.number - a.number);
    if (!latest) throw new ChordError('NotFound', 'there is no saved session of that name', { details: { name } });
    const { about, content } = latest;
    const now = this.parts();
    const isSame = now.length === about.parts.length && now.every((part, index) => isSameFile(part, about.parts[index] ?? {}));
    if (!isSame) {
      throw new ChordError('InvalidState', "the session was computed by another version of the model's file", { details: { reason: 'model', name } });
    }
    return { session: shown(about, content.size), pieces: piecesOf(content) };
  }

  /** Whether something was deleted. */
  async delete(name: string): Promise<boolean> {
    const folder = await this.#sessions();
    if (!folder) return false;
    const key = await keyOf(name);
    return this.#locked(async () => {
      const { found } = await committed(folder, key);
      // The oldest first: whoever ends the worker meanwhile brings no older state back.
      for (const { file } of found.sort((a, b) => a.number - b.number)) await remove(folder, file);
      return found.length > 0;
    });
  }

  #model(create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
    const { folder } = this;
    return folder === undefined ? Promise.resolve(undefined) : guarded(async () => {
      const root = await storeRoot();
      return create ? root.getDirectoryHandle(folder, { create }) : existingFolder(root, folder);
    });
  }

  async #sessions(): Promise<FileSystemDirectoryHandle | undefined> {
    const root = await this.#model(false).catch(() => undefined);
    return root && existingFolder(root, FOLDER);
  }

  /** The sessions of a folder, once what was never finished is removed. */
  async #sweep(folder: FileSystemDirectoryHandle): Promise<Found[]> {
    const { found, unfinished } = await committed(folder);
    for (const file of unfinished) await remove(folder, file);
    return found;
  }

  /** Runs `body` while no other worker writes here. */
  async #locked<Result>(body: () => Promise<Result>): Promise<Result> {
    const release = await waitForLock(`${this.folder}.${FOLDER}`, AbortSignal.timeout(BUSY_MS_MAX)).catch((cause: unknown) => {
      throw new ChordError('StoreFailed', 'another tab is saving a session of this model', { cause, retryable: true });
    });
    try {
      return await guarded(body);
    } finally {
      release();
    }
  }
}

/** Bytes of the sessions in a model's folder. */
export async function sessionBytes(model: FileSystemDirectoryHandle): Promise<number> {
  const folder = await existingFolder(model, FOLDER).catch(() => undefined);
  let bytes = 0;
  if (!folder) return bytes;
  for await (const entry of folder.values()) {
    if (entry.kind !== 'file') continue;
    const file = await (entry as FileSystemFileHandle).getFile().catch(() => undefined);
    bytes += file?.size ?? 0;
  }
  return bytes;
}

/** Runs `body`; what the browser throws becomes `StoreFailed`. */
async function guarded<Result>(body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (thrown) {
    // A defect of the core stays one.
    if (!(thrown instanceof DOMException)) throw toChordError(thrown);
    throw new ChordError('StoreFailed', `the session could not be kept: ${failureWords(thrown)}`, { cause: thrown });
  }
}

async function keyOf(name: string): Promise<string> {
  return hex((await digestOf(new TextEncoder().encode(name))).subarray(0, 20));
}

function shown({ name, tokens, savedAt, answer }: Description, bytes: number): StoredSession {
  return { name, tokens, bytes, savedAt, ...answer === undefined ? {} : { answer } };
}

/** Writes a file, its head last; the bytes of the sequence. */
async function write(folder: FileSystemDirectoryHandle, name: string, about: Description, pieces: Content['pieces']): Promise<number> {
  const file = await openSync(folder, name, true);
  let isWhole = false;
  try {
    file.truncate(0);
    let end = HEAD_BYTES;
    for await (const piece of pieces) {
      writeAll(file, piece, end);
      end += piece.length;
    }
    const text = new TextEncoder().encode(JSON.stringify(about));
    writeAll(file, text, end);
    file.flush();
    const bytes = end - HEAD_BYTES;
    writeAll(file, encodeHead(bytes, text), 0);
    file.flush();
    isWhole = true;
    return bytes;
  } finally {
    file.close();
    if (!isWhole) await remove(folder, name);
  }
}

function encodeHead(bytes: number, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(HEAD_BYTES);
  const view = new DataView(head.buffer);
  [MAGIC, VERSION, bytes % 2 ** 32, Math.floor(bytes / 2 ** 32), text.length, crc32(text, 0)].forEach((value, index) => view.setUint32(4 * index, value, true));
  view.setUint32(HEAD_BYTES - 4, crc32(head.subarray(0, -4), 0), true);
  return head;
}

/** The files of a folder, or those of one name, that were finished; and those that were not. */
async function committed(folder: FileSystemDirectoryHandle, only?: string): Promise<{ found: Found[]; unfinished: string[] }> {
  const found: Found[] = [];
  const unfinished: string[] = [];
  for await (const [file, entry] of folder.entries()) {
    const [key = '', number = ''] = file.split('.');
    if (entry.kind !== 'file' || (only !== undefined && key !== only)) continue;
    const read = await readHead(entry as FileSystemFileHandle);
    if (read === 'unfinished') unfinished.push(file);
    else if (read) found.push({ file, key, number: Number(number), ...read });
  }
  return { found, unfinished };
}

/** What a file says of itself; undefined where it cannot be read now, or is of another version of this package. */
async function readHead(handle: FileSystemFileHandle): Promise<Pick<Found, 'about' | 'content'> | 'unfinished' | undefined> {
  try {
    const file = await handle.getFile();
    const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
    const view = new DataView(head.buffer);
    if (head.length < HEAD_BYTES || view.getUint32(HEAD_BYTES - 4, true) !== crc32(head.subarray(0, -4), 0)) return 'unfinished';
    const [magic, version, low = 0, high = 0, length = 0, sum] = Array.from({ length: 6 }, (_, index) => view.getUint32(4 * index, true));
    if (magic !== MAGIC || version !== VERSION) return undefined;
    const end = HEAD_BYTES + low + high * 2 ** 32;
    const text = new Uint8Array(await file.slice(end, end + length).arrayBuffer());
    if (text.length !== length || crc32(text, 0) !== sum) return 'unfinished';
    return { about: JSON.parse(new TextDecoder().decode(text)) as Description, content: file.slice(HEAD_BYTES, end) };
  } catch {
    return undefined;
  }
}

async function* piecesOf(content: Blob): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.size; at += PIECE_BYTES) {
    yield await guarded(async () => new Uint8Array(await content.slice(at, at + PIECE_BYTES).arrayBuffer()));
  }
}

/** Removes a file. One that is still read elsewhere stays until the next time. */
async function remove(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  await folder.removeEntry(name).catch((thrown: unknown) => {
    if (!isNamed(thrown, 'NotFoundError') && !isInUse(thrown)) throw thrown;
  });
}
