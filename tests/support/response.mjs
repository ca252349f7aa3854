/** From a request, a file and a fault to the answer: status, headers, and where its bytes come from. */

import { gzipSync } from 'node:zlib';
import { randomBytes } from 'node:crypto';

const EXPOSED = 'accept-ranges, content-encoding, content-length, content-range, etag, last-modified, retry-after';
const HTML = '<!doctype html><title>Sign in</title><p>Please sign in to use this network.</p>';

/** How often and until when signed addresses may still be used, by signature. */
const signatures = new Map();

/**
 * Reads a single range. Returns undefined without a header or for one that is not understood (which a
 * server ignores), 'unsatisfiable', or {start, end} with end exclusive.
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') {
    const length = Number(match[2]);
    return length === 0 ? 'unsatisfiable' : { start: Math.max(0, size - length), end: size };
  }
  const start = Number(match[1]);
  const end = match[2] === '' ? size : Math.min(size, Number(match[2]) + 1);
  if (match[2] !== '' && Number(match[2]) < start) return undefined;
  return start < size ? { start, end } : 'unsatisfiable';
}

/**
 * The answer to a request: {status, headers, length, read(position, length)}. `length` is Infinity where
 * it is not known before; `read` may return less than asked for, and nothing at the end.
 */
export function plan({ server, request, url, fault, file }) {
  const headers = commonHeaders(server, fault);
  const answer = decide({ server, request, url, fault, file, headers });
  if (fault.retryAfter !== undefined) headers['retry-after'] = String(fault.retryAfter);
  if (!fault.noLength && Number.isFinite(answer.length)) headers['content-length'] = String(answer.length);
  for (const [name, value] of Object.entries(fault.headers ?? {})) {
    if (value === null) delete headers[name.toLowerCase()];
    else headers[name.toLowerCase()] = value;
  }
  return { ...answer, headers };
}

function commonHeaders(server, fault) {
  const headers = { 'cache-control': 'no-store', 'cross-origin-resource-policy': 'cross-origin' };
  if (server.isolated) {
    headers['cross-origin-opener-policy'] = 'same-origin';
    headers['cross-origin-embedder-policy'] = 'require-corp';
  }
  if (server.csp) headers['content-security-policy'] = server.csp;
  if (!fault.noCors) {
    headers['access-control-allow-origin'] = '*';
    if (!fault.hideHeaders) headers['access-control-expose-headers'] = EXPOSED;
  }
  return headers;
}

function decide({ server, request, url, fault, file, headers }) {
  if (request.method === 'OPTIONS') {
    if (!fault.noCors) headers['access-control-allow-headers'] = request.headers['access-control-request-headers'] ?? '*';
    headers['access-control-allow-methods'] = 'GET, HEAD, OPTIONS';
    return text(204, '');
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD');
  const location = redirection({ server, request, url, fault });
  if (location) {
    headers.location = location;
    return text(302, '');
  }
  if (!signatureHolds(url)) return text(403, 'the signature has expired');
  if (fault.html) {
    headers['content-type'] = 'text/html; charset=utf-8';
    return text(200, HTML);
  }
  if (fault.status !== undefined) {
    headers['content-type'] = 'text/plain; charset=utf-8';
    return text(fault.status, fault.body ?? `status ${fault.status} on purpose`);
  }
  if (fault.body !== undefined) return text(200, fault.body);
  if (!file) return text(404, 'not found');
  return fileAnswer({ request, fault, file, headers });
}

function fileAnswer({ request, fault, file, headers }) {
  const etag = fault.etag === undefined ? file.etag : fault.etag;
  if (etag !== null) headers.etag = etag;
  headers['content-type'] = file.type ?? 'application/octet-stream';
  if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== etag) return text(412, '');
  if (request.headers['if-none-match'] !== undefined && request.headers['if-none-match'] === etag) return text(304, '');
  const changed = request.headers['if-range'] !== undefined && request.headers['if-range'] !== etag;
  const range = fault.ignoreRange || changed ? undefined : parseRange(request.headers.range, file.size);
  if (!fault.ignoreRange) headers['accept-ranges'] = 'bytes';
  if (range === 'unsatisfiable') {
    headers['content-range'] = `bytes */${file.size}`;
    return text(416, '');
  }
  let { start, end } = range ?? { start: 0, end: file.size };
  if (range) {
    start = Math.min(start + (fault.shiftRange ?? 0), file.size - 1);
    end = Math.max(end, start + 1);
    headers['content-range'] = fault.contentRange ?? `bytes ${start}-${end - 1}/${file.size}`;
  }
  const status = range ? 206 : 200;
  const length = Math.max(0, end - start + (fault.bodyDelta ?? 0));
  const read = (position, count) => readFile(file, fault, start + position, count);
  return fault.gzip ? compressed(status, headers, length, read) : { status, length, read };
}

/** Bytes of the file, and zeros beyond its end for bodies that are too long. */
async function readFile(file, fault, position, count) {
  let piece = position < file.size ? await file.read(position, Math.min(count, file.size - position)) : Buffer.alloc(count);
  const flipped = (fault.flipBit ?? -1) - position;
  if (flipped >= 0 && flipped < piece.length) {
    piece = Buffer.from(piece);
    piece[flipped] ^= 1;
  }
  return piece;
}

/** The body in gzip. Its length is not known before it is read, so it is sent chunked. */
function compressed(status, headers, length, read) {
  headers['content-encoding'] = 'gzip';
  let whole;
  const load = async () => {
    const pieces = [];
    for (let position = 0; position < length; ) {
      const piece = await read(position, length - position);
      pieces.push(piece);
      position += piece.length;
    }
    return gzipSync(Buffer.concat(pieces));
  };
  return {
    status,
    length: Infinity,
    read: async (position, count) => {
      whole ??= await load();
      return whole.subarray(position, position + count);
    },
  };
}

function redirection({ server, request, url, fault }) {
  if (fault.redirect === 'other') return otherOrigin(server, request) + url.pathname;
  if (fault.redirect !== undefined) return fault.redirect;
  if (fault.signed === undefined || url.searchParams.has('signature')) return undefined;
  const { uses = Infinity, seconds = Infinity, other = false } = fault.signed;
  const signature = randomBytes(8).toString('hex');
  signatures.set(signature, { uses, until: Date.now() + seconds * 1000 });
  return `${other ? otherOrigin(server, request) : ''}${url.pathname}?signature=${signature}`;
}

function otherOrigin(server, request) {
  return String(request.port) === new URL(server.origin).port ? server.otherOrigin : server.origin;
}

function signatureHolds(url) {
  const signature = url.searchParams.get('signature');
  if (signature === null) return true;
  const grant = signatures.get(signature);
  if (!grant || grant.uses <= 0 || Date.now() > grant.until) return false;
  grant.uses -= 1;
  return true;
}

function text(status, body) {
  const bytes = Buffer.from(body);
  return { status, length: bytes.length, read: async (position, count) => bytes.subarray(position, position + count) };
}
