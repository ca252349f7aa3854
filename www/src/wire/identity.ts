/** Whether two files are one: what servers and the hub tell of a file's version, and how far that can be believed. */

import type { PartIdentity, PartSource } from './protocol.js';

/** What servers put behind a tag while they compress an answer. */
const COMPRESSION = /[-;:+]{1,2}(gzip|br|zstd|deflate|df)$/i;

/**
 * Whether two entity tags are of one version. They are compared weakly, as a proxy that compresses, or no longer does,
 * marks them otherwise while the file stays the same.
 */
function isSameTag(a: string, b: string): boolean {
  const plain = (tag: string): string => tag.replace(/^W\//i, '').replace(/^"(.*)"$/, '$1').replace(COMPRESSION, '');
  return plain(a) === plain(b);
}

/** Whether two identities are of one file, as far as both tell. */
export function isSameFile(a: PartIdentity, b: PartIdentity): boolean {
  const agree = (x: unknown, y: unknown): boolean => x === undefined || y === undefined || x === y;
  if (!agree(a.size, b.size)) return false;
  return a.etag !== undefined && b.etag !== undefined ? isSameTag(a.etag, b.etag) : agree(a.lastModified, b.lastModified);
}

/** Whether a file may be taken up again later: its size is known, and what tells one version from the next. */
export function isNamedVersion(part: PartSource, { size, etag, lastModified }: PartIdentity): boolean {
  const isStrong = etag !== undefined && !/^W\//i.test(etag);
  return size !== undefined && (isStrong || lastModified !== undefined || part.sha256 !== undefined);
}

/** Whether the hub has just said which bytes the file has: then that decides, and what servers tell beside it does not. */
export function isDigested(part: PartSource): part is PartSource & { sha256: string } {
  return part.sha256 !== undefined && part.isRecalled !== true;
}

/** Whether two identities are of one version of `part`. */
export function isSameVersion(part: PartSource, a: PartIdentity, b: PartIdentity): boolean {
  const isSized = a.size === undefined || b.size === undefined || a.size === b.size;
  return isDigested(part) ? isSized : isSameFile(a, b);
}
