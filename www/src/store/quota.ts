/** Room for a model: what the browser grants, and what older models give up for it. */

import { decodeJournal } from './journal.js';
import { lastUsed, readSmall } from './layout.js';
import { tryLock } from './locks.js';
import { sessionBytes } from './sessions.js';

/** Left free for the page's own use. */
const MARGIN_BYTES = 16 * 1024 * 1024;

/** Bytes that may still be stored; Infinity where the browser does not tell. */
async function freeBytes(): Promise<number> {
  const { quota, usage = 0 }: StorageEstimate = await navigator.storage.estimate().catch(() => ({}));
  return quota === undefined ? Infinity : quota - usage - MARGIN_BYTES;
}

/**
 * Makes room for `bytes` by removing stored files other than `keep`, least recently used first, none
 * that is in use, and none at all if that would not be enough. `isRefused`: the browser has already refused a
 * write, whatever it estimates. Resolves to whether it is worth trying.
 */
export async function makeRoom(root: FileSystemDirectoryHandle, bytes: number, keep: string, isRefused: boolean): Promise<boolean> {
  let missing = bytes - (isRefused ? 0 : await freeBytes());
  if (missing <= 0) return true;
  const others: { name: string; time: number; bytes: number }[] = [];
  for await (const [name, entry] of root.entries()) {
    if (entry.kind !== 'directory' || name === keep) continue;
    const folder = entry as FileSystemDirectoryHandle;
    others.push({ name, time: await lastUsed(folder), bytes: await storedBytes(folder) });
  }
  others.sort((a, b) => a.time - b.time);
  const given: { name: string; release: () => void }[] = [];
  try {
    for (const { name, bytes: freed } of others) {
      if (missing <= 0) break;
      const release = await tryLock(name);
      if (!release) continue;
      given.push({ name, release });
      missing -= freed;
    }
    if (missing > 0) return false;
    // One that is still open somewhere stays.
    for (const { name } of given) await root.removeEntry(name, { recursive: true }).catch(() => undefined);
    return true;
  } finally {
    for (const { release } of given) release();
  }
}

/** Bytes of a folder's pages, whose file may have holes, and of its sessions. */
async function storedBytes(folder: FileSystemDirectoryHandle): Promise<number> {
  const journal = await readSmall(folder, 'journal');
  const records = journal ? decodeJournal(journal)?.records.values() ?? [] : [];
  return [...records].reduce((sum, { length }) => sum + length, await sessionBytes(folder));
}
