/** Where the groups of tensors are, as `stats()` tells it: the core knows of memory, the IO worker of the store. */

import { GROUP_STATES, type GroupState } from './generated.js';

/** Numbers of each range that the core tells: group, part, offset, length. */
const RANGE_NUMBERS = 4;

/** The pages of one part that are stored: one bit each, the first in the lowest. */
export interface StoredPages {
  pageBytes: number;
  pages: Uint8Array;
}

/** The state of each group. `ranges` are the core's; `isOnDisk` tells it of bytes of a part. */
export function groupStates(codes: Uint8Array, ranges: Float64Array, isOnDisk: (part: number, start: number, end: number) => boolean): GroupState[] {
  const isStored = Array.from(codes, () => true);
  for (let at = 0; at + RANGE_NUMBERS <= ranges.length; at += RANGE_NUMBERS) {
    const [group = 0, part = 0, offset = 0, length = 0] = ranges.subarray(at, at + RANGE_NUMBERS);
    if (isStored[group]) isStored[group] = isOnDisk(part, offset, offset + length);
  }
  return Array.from(codes, (code, group) => {
    const state = GROUP_STATES[code] ?? 'absent';
    return state === 'absent' && isStored[group] ? 'stored' : state;
  });
}

/** Whether all pages of these bytes are stored. */
export function hasAll(stored: StoredPages | undefined, start: number, end: number): boolean {
  if (!stored) return false;
  const { pageBytes, pages } = stored;
  for (let page = Math.floor(start / pageBytes); page * pageBytes < end; page += 1) {
    if ((((pages[page >> 3] ?? 0) >> (page & 7)) & 1) === 0) return false;
  }
  return true;
}

/** Bytes of a part of `size` bytes that are stored. */
export function storedBytes(stored: StoredPages | undefined, size: number): number {
  if (!stored) return 0;
  const { pageBytes } = stored;
  let bytes = 0;
  for (let page = 0; page * pageBytes < size; page += 1) {
    if (hasAll(stored, page * pageBytes, page * pageBytes + 1)) bytes += Math.min(pageBytes, size - page * pageBytes);
  }
  return bytes;
}
