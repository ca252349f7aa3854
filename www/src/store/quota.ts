/** Room for a model: what the browser grants, and what older models give up for it. */

import { lastUsed } from './layout.js';
import { tryLock } from './locks.js';

/** Left free for the page's own use. */
const MARGIN_BYTES = 16 * 1024 * 1024;

/** Bytes that may still be stored; Infinity where the browser does not tell. */
async function freeBytes(): Promise<number> {
  const { quota, usage = 0 }: StorageEstimate = await navigator.storage.estimate().catch(() => ({}));
  return quota === undefined ? Infinity : quota - usage - MARGIN_BYTES;
}

/**
 * Makes room for `bytes` by removing stored files other than `keep`, least recently used first, none
 * that is in use. `isRefused`: the browser has already refused a write, whatever it estimates.
 * Resolves to whether it is worth trying.
 */
export async function makeRoom(root: FileSystemDirectoryHandle, bytes: number, keep: string, isRefused: boolean): Promise<boolean> {
  let isTight = isRefused || await freeBytes() < bytes;
  if (!isTight) return true;
  const others: { name: string; time: number }[] = [];
  for await (const [name, entry] of root.entries()) {
    if (entry.kind === 'directory' && name !== keep) others.push({ name, time: await lastUsed(entry as FileSystemDirectoryHandle) });
  }
  others.sort((a, b) => a.time - b.time);
  for (const { name } of others) {
    const release = await tryLock(name);
    if (!release) continue;
    try {
      await root.removeEntry(name, { recursive: true });
      isTight = await freeBytes() < bytes;
    } catch {
      // Still open somewhere: it stays.
    } finally {
      release();
    }
    if (!isTight) return true;
  }
  return false;
}
