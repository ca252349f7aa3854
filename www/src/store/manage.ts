/** What the page may ask of the durable store. Runs in an IO worker. */

import { ChordError } from '../wire/errors.js';
import type { PartSource } from '../wire/protocol.js';
import type { StoredModel } from '../wire/types.js';
import { decodeJournal, pageCount, type Journal } from './journal.js';
import { existingFolder, folderOf, hex, isInUse, lastUsed, openSync, readNote, readSmall, storeRoot } from './layout.js';
import { waitForLock } from './locks.js';
import { sessionBytes } from './sessions.js';
import { digestOf, isSame } from './digest.js';
import { Sha256 } from './sha256.js';

/** How long the workers of an engine that was disposed may take to let go of its files. */
const RELEASE_MS_MAX = 3_000;
/** Pause before looking again. */
const RELEASE_POLL_MS = 100;

/** Everything that is stored, each file of a split model by itself. */
export async function listStored(): Promise<StoredModel[]> {
  const models: StoredModel[] = [];
  const root = await existingRoot();
  if (!root) return models;
  for await (const entry of root.values()) {
    if (entry.kind !== 'directory') continue;
    const folder = entry as FileSystemDirectoryHandle;
    const journal = await journalOf(folder);
    if (!journal) continue;
    const { header, records } = journal;
    models.push({
      source: header.source,
      bytes: header.identity.size,
      storedBytes: [...records.values()].reduce((sum, { length }) => sum + length, 0),
      complete: records.size === pageCount(header),
      sessionBytes: await sessionBytes(folder),
      lastUsed: await lastUsed(folder),
    });
  }
  return models;
}

/** Hashes every stored page of the files; true if all are there and sound. Throws `NotFound` where a file is not stored at all. */
export async function verifyStored(files: PartSource[]): Promise<boolean> {
  let isSound = true;
  for (const { folder } of await foldersOf(files.filter(({ url }) => url !== undefined))) {
    const journal = folder && await journalOf(folder);
    if (!folder || !journal) throw new ChordError('NotFound', 'the model is not in the store');
    isSound = await verifyPages(folder, journal) && isSound;
  }
  return isSound;
}

/** Removes the files. Throws `StoreFailed` if one is in use. */
export async function deleteStored(files: PartSource[]): Promise<boolean> {
  let isDeleted = false;
  const root = await existingRoot();
  for (const { name, folder } of await foldersOf(files)) {
    if (!root || !folder) continue;
    const release = await waitForLock(name, AbortSignal.timeout(RELEASE_MS_MAX)).catch(() => undefined);
    if (!release) throw new ChordError('StoreFailed', 'the model is in use, here or in another tab: dispose its engine first', { details: { reason: 'in use' } });
    try {
      await removeFolder(root, name);
      isDeleted = true;
    } finally {
      release();
    }
  }
  return isDeleted;
}

/** Removes a folder, once the last worker of those that wrote to it has ended. */
async function removeFolder(root: FileSystemDirectoryHandle, name: string): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += RELEASE_POLL_MS) {
    try {
      await root.removeEntry(name, { recursive: true });
      return;
    } catch (thrown) {
      if (!isInUse(thrown) || waitedMs >= RELEASE_MS_MAX) throw thrown;
      await new Promise((done) => setTimeout(done, RELEASE_POLL_MS));
    }
  }
}

/** Whether all of the files are stored completely, and whether something speaks against using them unasked. */
export async function isStored(files: PartSource[]): Promise<{ isComplete: boolean; isDoubtful: boolean }> {
  let isDoubtful = false;
  for (const { folder } of await foldersOf(files)) {
    const journal = folder && await journalOf(folder);
    if (!journal || journal.records.size < pageCount(journal.header)) return { isComplete: false, isDoubtful };
    isDoubtful ||= await readNote(folder, 'doubt') !== undefined;
  }
  return { isComplete: true, isDoubtful };
}

async function verifyPages(folder: FileSystemDirectoryHandle, { header, records }: Journal): Promise<boolean> {
  let isSound = records.size === pageCount(header);
  const whole = isSound && header.sha256 !== undefined ? new Sha256() : undefined;
  const file = await openSync(folder, 'pages', false).catch((cause: unknown) => {
    throw new ChordError('StoreFailed', 'the model is in use by another tab', { cause });
  });
  try {
    const buffer = new Uint8Array(header.pageBytes);
    for (const { page, length, digest } of [...records.values()].sort((a, b) => a.page - b.page)) {
      const bytes = buffer.subarray(0, length);
      const isWhole = file.read(bytes, { at: page * header.pageBytes }) === length;
      isSound = isWhole && isSame(await digestOf(bytes), digest) && isSound;
      if (isSound) whole?.update(bytes);
    }
  } finally {
    file.close();
  }
  return isSound && (whole === undefined || hex(whole.finish()) === header.sha256);
}

async function foldersOf(files: PartSource[]): Promise<{ name: string; folder: FileSystemDirectoryHandle | undefined }[]> {
  const root = await existingRoot();
  const folders = await Promise.all(files.map(async (file) => {
    const name = await folderOf(file);
    return name === undefined ? [] : [{ name, folder: root && await existingFolder(root, name) }];
  }));
  return folders.flat();
}

async function journalOf(folder: FileSystemDirectoryHandle): Promise<Journal | undefined> {
  const bytes = await readSmall(folder, 'journal');
  return bytes && decodeJournal(bytes);
}

/** The store's folder; undefined where the browser grants none: then nothing is stored. */
async function existingRoot(): Promise<FileSystemDirectoryHandle | undefined> {
  return storeRoot().catch(() => undefined);
}
