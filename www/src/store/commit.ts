/**
 * How pages that were written, or parts of them, become pages that are stored: they are read back and hashed,
 * the payload is flushed, then the records go into the journal, and it is flushed too. Doing the same twice
 * does no harm.
 */

import type { PagePart } from './begun.js';
import { digestOf } from './digest.js';
import { encodeRecords, type PageRecord } from './journal.js';
import { writeAll, type SyncFile } from './layout.js';

/** The two files of a folder, open for writing. */
export interface FolderFiles {
  data: SyncFile;
  journal: SyncFile;
}

export interface CommitRequest {
  pages: PagePart[];
  pageBytes: number;
  /** Where the records go in the journal, and what their checksums continue. */
  journalEnd: number;
  seed: number;
}

/** Commits pages; `buffer` holds one of them at a time. */
export async function commitPages({ data, journal }: FolderFiles, request: CommitRequest, buffer: Uint8Array): Promise<PageRecord[]> {
  const records: PageRecord[] = [];
  for (const { page, length } of request.pages) {
    const bytes = buffer.subarray(0, length);
    if (data.read(bytes, { at: page * request.pageBytes }) !== length) throw new Error('a page cannot be read back');
    records.push({ page, length, digest: await digestOf(bytes) });
  }
  data.flush();
  writeAll(journal, encodeRecords(records, request.seed), request.journalEnd);
  journal.flush();
  return records;
}
