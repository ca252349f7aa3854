/**
 * The journal of a stored file: what the file is, and which of its pages are on disk. It only grows; a
 * record is written after the bytes it speaks of have been flushed.
 *
 *     header  magic, layout version, length of the text (u32 each), text (JSON), CRC-32 of all before
 *     record  page number, length (u32 each), SHA-256 (32 bytes), CRC-32 that continues the header's
 *
 * Numbers are little-endian. A record that is shorter than its page speaks of the page's first bytes, so that
 * it need not be fetched from its start again. Of several records of a page the last one counts. One that
 * fails its checksum is passed over, and so is a torn tail: only their pages are lost.
 */

import { LAYOUT_VERSION } from './layout.js';
import type { PartIdentity } from '../wire/protocol.js';

const MAGIC = 0x4a484343;
const PREFIX_BYTES = 12;
const DIGEST_BYTES = 32;
/** Bytes of one record. */
export const RECORD_BYTES = 8 + DIGEST_BYTES + 4;
/** Bytes of a header's text; a longer one is not ours. */
const TEXT_BYTES_MAX = 64 * 1024;

/** What a stored file is. */
export interface StoreHeader {
  /** The address that the file came from, without secrets. */
  source: string;
  identity: PartIdentity & { size: number };
  pageBytes: number;
  /** SHA-256 of the whole file in hex, where it is known. */
  sha256?: string;
  /** That which the whole had when it was fetched before, which was not the right one. */
  formerly?: string;
  /** Differs each time the folder is begun anew. */
  generation: string;
}

/** One page that is on disk, or the first `length` bytes of it. */
export interface PageRecord {
  page: number;
  length: number;
  digest: Uint8Array;
}

/** A journal as it was read. */
export interface Journal {
  header: StoreHeader;
  /** Of whole pages, by page. */
  records: Map<number, PageRecord>;
  /** Of pages that are there in part. */
  begun: Map<number, PageRecord>;
  /** Where the next record goes. */
  end: number;
  /** Checksum of the header, which that of each record continues. */
  seed: number;
}

/** The bytes that begin a journal, and the seed for its records. */
export function encodeHeader(header: StoreHeader): { bytes: Uint8Array; seed: number } {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(PREFIX_BYTES + text.length + 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, LAYOUT_VERSION, true);
  view.setUint32(8, text.length, true);
  bytes.set(text, PREFIX_BYTES);
  const seed = crc32(bytes.subarray(0, -4), 0);
  view.setUint32(bytes.length - 4, seed, true);
  return { bytes, seed };
}

export function encodeRecords(records: PageRecord[], seed: number): Uint8Array {
  const bytes = new Uint8Array(records.length * RECORD_BYTES);
  const view = new DataView(bytes.buffer);
  records.forEach(({ page, length, digest }, index) => {
    const at = index * RECORD_BYTES;
    view.setUint32(at, page, true);
    view.setUint32(at + 4, length, true);
    bytes.set(digest, at + 8);
    const end = at + RECORD_BYTES - 4;
    view.setUint32(end, crc32(bytes.subarray(at, end), seed), true);
  });
  return bytes;
}

/** Reads a journal; undefined if it is damaged at its head, or of another layout. */
export function decodeJournal(bytes: Uint8Array): Journal | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < PREFIX_BYTES || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== LAYOUT_VERSION) return undefined;
  const textLength = view.getUint32(8, true);
  const headerEnd = PREFIX_BYTES + textLength + 4;
  if (textLength > TEXT_BYTES_MAX || headerEnd > bytes.length) return undefined;
  const seed = crc32(bytes.subarray(0, headerEnd - 4), 0);
  if (view.getUint32(headerEnd - 4, true) !== seed) return undefined;
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX_BYTES, headerEnd - 4))) as StoreHeader;
  const records = new Map<number, PageRecord>();
  const begun = new Map<number, PageRecord>();
  let at = headerEnd;
  for (; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    const crcAt = at + RECORD_BYTES - 4;
    if (view.getUint32(crcAt, true) !== crc32(bytes.subarray(at, crcAt), seed)) continue;
    const page = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const whole = pageLength(header, page);
    if (length > whole) continue;
    const [replacing, replaced] = length === whole ? [records, begun] : [begun, records];
    replaced.delete(page);
    replacing.set(page, { page, length, digest: bytes.slice(at + 8, at + 8 + DIGEST_BYTES) });
  }
  return { header, records, begun, end: at, seed };
}

/** How many pages the file has. */
export function pageCount({ identity, pageBytes }: StoreHeader): number {
  return Math.ceil(identity.size / pageBytes);
}

/** Bytes of one page: the last may be shorter, one past the end has none. */
export function pageLength({ identity, pageBytes }: StoreHeader, page: number): number {
  return Math.max(0, Math.min(pageBytes, identity.size - page * pageBytes));
}

/** CRC-32 (IEEE 802.3) of `bytes`, continuing `seed`. */
export function crc32(bytes: Uint8Array, seed: number): number {
  let state = ~seed;
  for (const byte of bytes) {
    state ^= byte;
    for (let bit = 0; bit < 8; bit += 1) state = (state >>> 1) ^ (state & 1 ? 0xedb88320 : 0);
  }
  return ~state >>> 0;
}
