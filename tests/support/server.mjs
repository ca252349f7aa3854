/**
 * The one HTTP server of tests, benches and the demo: static folders and in-memory files with ranges,
 * entity tags, CORS and isolation headers, a shared throttle, a log, and faults on demand (faults.mjs).
 *
 *     const server = await startServer({ roots: { '/pkg/': 'pkg' }, files: { '/m.gguf': bytes } });
 *     server.fault('/m.gguf', [{ disconnectAfter: 1000 }, { status: 503, retryAfter: 1 }]);
 *     await fetch(server.url('/m.gguf'));
 *     server.log[0] // { method: 'GET', path: '/m.gguf', status: 200, sentBytes: 1000, … }
 *     await server.close();
 */

import { open, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve, sep } from 'node:path';
import { FaultTable, faultOfQuery } from './faults.mjs';
import { plan } from './response.mjs';
import { Throttle } from './throttle.mjs';

/** Bytes read from a file and written to a socket at a time. */
const PIECE_BYTES = 64 * 1024;
/** Between two bytes of an answer that trickles. */
const TRICKLE_MS = 200;

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.gguf': 'application/octet-stream',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/**
 * @typedef {object} LogEntry
 * @property {string} method
 * @property {string} path       without the query
 * @property {string} query      with its question mark, or ''
 * @property {number} port       which of the two origins was asked
 * @property {import('node:http').IncomingHttpHeaders} headers
 * @property {string} [range]    the Range header
 * @property {number} status     0 until the answer has begun
 * @property {number} sentBytes  of the body
 * @property {boolean} [done]    the answer has ended, or the connection is gone
 * @property {number} [endedAt]  when, as Date.now() has it
 */

/**
 * Starts the server on two ports, which are two origins with the same contents.
 *
 * @param {object} options
 * @param {Record<string, string>} [options.roots]      folder for each path prefix; the longest prefix wins
 * @param {Record<string, Uint8Array>} [options.files]  files from memory, which go before folders
 * @param {boolean} [options.isolated]                  send COOP and COEP, so that pages may share memory
 * @param {string} [options.csp]                        Content-Security-Policy of every answer
 * @param {number} [options.bytesPerSecond]             ceiling of all connections together
 * @param {number} [options.port]                       first port; default: any
 */
export async function startServer(options = {}) {
  const server = new TestServer(options);
  await server.listen(options.port ?? 0);
  return server;
}

class TestServer {
  #roots;
  #faults = new FaultTable();
  #listeners = [];
  #sockets = new Set();

  constructor({ roots = {}, files = {}, isolated = false, csp, bytesPerSecond = Infinity }) {
    this.#roots = Object.entries(roots)
      .map(([prefix, folder]) => ({ prefix, folder: resolve(folder) }))
      .sort((a, b) => b.prefix.length - a.prefix.length);
    /** Files from memory by path; may be changed while the server runs. */
    this.files = new Map(Object.entries(files));
    this.isolated = isolated;
    this.csp = csp;
    this.throttle = new Throttle(bytesPerSecond);
    /** @type {LogEntry[]} every request so far */
    this.log = [];
  }

  async listen(port) {
    for (let index = 0; index < 2; index++) {
      const listener = createServer((request, response) => this.#answer(request, response));
      listener.on('connection', (socket) => {
        this.#sockets.add(socket);
        socket.once('close', () => this.#sockets.delete(socket));
      });
      await new Promise((done, failed) => {
        listener.once('error', failed);
        listener.listen(index === 0 ? port : 0, '127.0.0.1', done);
      });
      this.#listeners.push(listener);
    }
    const [first, second] = this.#listeners.map((listener) => listener.address().port);
    this.origin = `http://localhost:${first}`;
    this.otherOrigin = `http://localhost:${second}`;
  }

  /** The address of a path on the first origin. */
  url(path) {
    return this.origin + path;
  }

  /** The address of a path on the second origin. */
  otherUrl(path) {
    return this.otherOrigin + path;
  }

  /**
   * Makes requests for a path go wrong; see faults.mjs for what can. A list gives the faults of the
   * first, second, … request (undefined: none), after which all is well; a function is asked each time.
   */
  fault(path, fault) {
    this.#faults.set(path, fault);
  }

  /** Ends all faults. */
  heal() {
    this.#faults.clear();
  }

  /** Requests for a path, optionally of one method. */
  requests(path, method) {
    return this.log.filter((entry) => entry.path === path && (method === undefined || entry.method === method));
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#listeners.map((listener) => new Promise((done) => listener.close(done))));
  }

  async #answer(request, response) {
    const url = new URL(request.url, 'http://localhost');
    const entry = {
      method: request.method,
      path: url.pathname,
      query: url.search,
      port: request.socket.localPort,
      headers: request.headers,
      range: request.headers.range,
      status: 0,
      sentBytes: 0,
    };
    this.log.push(entry);
    response.once('close', () => Object.assign(entry, { done: true, endedAt: Date.now() }));
    let file;
    try {
      entry.path = decodeURIComponent(url.pathname);
      const fault = faultOfQuery(url) ?? this.#faults.next(entry.path, entry) ?? {};
      file = await this.#open(entry.path);
      await this.#send(request, response, entry, plan({ server: this, request: entry, url, fault, file }), fault);
    } catch (error) {
      // A test that sees this has a fault of its own, so it should be visible in the output.
      console.error(`test server: ${request.method} ${request.url}:`, error);
      response.destroy();
    } finally {
      await file?.close();
    }
  }

  async #send(request, response, entry, answer, fault) {
    if (fault.delayMs) await new Promise((done) => setTimeout(done, fault.delayMs));
    entry.status = answer.status;
    response.writeHead(answer.status, answer.headers);
    if (request.method === 'HEAD' || answer.length === 0) {
      response.end();
      return;
    }
    response.flushHeaders();
    for (let position = 0; position < answer.length && !response.destroyed; ) {
      if (position >= (fault.stallAfter ?? Infinity)) return;
      if (position >= (fault.disconnectAfter ?? Infinity)) {
        request.socket.destroy();
        return;
      }
      const trickles = position >= (fault.trickleAfter ?? Infinity);
      if (trickles) await new Promise((done) => setTimeout(done, TRICKLE_MS));
      const ends = [answer.length, fault.stallAfter, fault.disconnectAfter, trickles ? position + 1 : fault.trickleAfter];
      const length = Math.min(PIECE_BYTES, ...ends.map((end = Infinity) => end - position));
      await this.throttle.take(length);
      const piece = await answer.read(position, length);
      // A body of unknown length, or a file that became shorter, ends here.
      if (piece.length === 0) break;
      position += piece.length;
      entry.sentBytes += piece.length;
      if (!response.write(piece) && !response.destroyed) await drained(response);
    }
    if (answer.length === fault.stallAfter) return;
    response.end();
  }

  /** What lies at a path: {size, etag, type, read(position, length), close()}, or undefined. */
  async #open(path) {
    const bytes = this.files.get(path);
    if (bytes) {
      return {
        size: bytes.length,
        etag: `"m-${bytes.length.toString(16)}-${sum(bytes)}"`,
        type: TYPES[extname(path)],
        read: async (position, length) => Buffer.from(bytes.subarray(position, position + length)),
        close: async () => {},
      };
    }
    const root = this.#roots.find(({ prefix }) => path.startsWith(prefix));
    if (!root) return undefined;
    let name = normalize(join(root.folder, path.slice(root.prefix.length)));
    if (name !== root.folder && !name.startsWith(root.folder + sep)) return undefined;
    if (path.endsWith('/')) name = join(name, 'index.html');
    const facts = await stat(name).catch(() => undefined);
    if (!facts?.isFile()) return undefined;
    const handle = await open(name);
    return {
      size: facts.size,
      etag: `"f-${facts.size.toString(16)}-${Math.trunc(facts.mtimeMs).toString(16)}"`,
      type: TYPES[extname(name)],
      read: async (position, length) => {
        const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, position);
        return buffer.subarray(0, bytesRead);
      },
      close: () => handle.close(),
    };
  }
}

/** Resolves when the socket takes more, or is gone. */
function drained(response) {
  return new Promise((done) => {
    const settle = () => {
      response.off('drain', settle);
      response.off('close', settle);
      done();
    };
    response.on('drain', settle);
    response.on('close', settle);
  });
}

/** A small digest, so that the tag of a file in memory follows its content. */
function sum(bytes) {
  let state = 0x811c9dc5;
  const stride = Math.max(1, Math.trunc(bytes.length / 65536));
  for (let index = 0; index < bytes.length; index += stride) state = Math.imul(state ^ bytes[index], 0x01000193);
  return (state >>> 0).toString(16);
}
