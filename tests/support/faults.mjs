/**
 * What can go wrong with one answer. All fields are optional and combine.
 *
 * @typedef {object} Fault
 * @property {number} [times]             how many requests it hits; default: all of them
 * @property {number} [delayMs]           pause before the headers
 * @property {number} [status]            this status instead, with a short text as body
 * @property {string | number} [retryAfter]  Retry-After header: seconds, or an HTTP date
 * @property {Record<string, string | null>} [headers]  headers to set; null takes one away
 * @property {string} [body]              this text as the whole body
 * @property {boolean} [html]             status 200 with an HTML page, as captive portals send
 * @property {boolean} [ignoreRange]      200 with the whole file, whatever range was asked for
 * @property {string} [contentRange]      this Content-Range on a 206, the bytes being right
 * @property {number} [shiftRange]        a 206 for a range that begins this many bytes later than asked,
 *                                        honest in its Content-Range
 * @property {number} [bodyDelta]         the body is this many bytes shorter (negative) or longer than
 *                                        Content-Range says; Content-Length tells the true length
 * @property {number} [disconnectAfter]   cut the connection after so many bytes of the body
 * @property {number} [stallAfter]        send so many bytes of the body, then nothing, and keep the connection
 * @property {number} [trickleAfter]      send so many bytes of the body, then a byte now and then, so that nobody loses patience
 * @property {string | null} [etag]       this ETag, such as 'W/"1"'; null: none
 * @property {boolean} [noLength]         no Content-Length: the body is chunked
 * @property {string} [redirect]          302 to this address; 'other': the same path on the other origin
 * @property {{uses?: number, seconds?: number, other?: boolean}} [signed]  302 to a signed address of the
 *                                        same file, good for so many requests or seconds, then 403
 * @property {boolean} [gzip]             Content-Encoding: gzip, also on a 206
 * @property {boolean} [hideHeaders]      no Access-Control-Expose-Headers
 * @property {boolean} [noCors]           no CORS headers at all
 * @property {number} [flipBit]           the byte of the file at this offset arrives with its lowest bit flipped
 */

/** The faults that wait for requests, by path. */
export class FaultTable {
  #entries = new Map();

  /** @param {Fault | (Fault | undefined)[] | ((request: object) => Fault | undefined)} fault */
  set(path, fault) {
    if (fault === undefined) this.#entries.delete(path);
    else this.#entries.set(path, Array.isArray(fault) ? { list: [...fault] } : { fault, used: 0 });
  }

  clear() {
    this.#entries.clear();
  }

  /** The fault of the next request for the path. Preflight requests are spared: they are the browser's. */
  next(path, request) {
    const entry = this.#entries.get(path);
    if (!entry || request.method === 'OPTIONS') return undefined;
    if (entry.list) return entry.list.shift();
    if (typeof entry.fault === 'function') return entry.fault(request);
    entry.used += 1;
    return entry.used <= (entry.fault.times ?? Infinity) ? entry.fault : undefined;
  }
}

/** A fault in the address itself, `?fault={"status":503}`, for pages without access to the server object. */
export function faultOfQuery(url) {
  const text = url.searchParams.get('fault');
  return text === null ? undefined : JSON.parse(text);
}
