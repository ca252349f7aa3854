/**
 * The scripts of the workers. All of them are started from the page: workers that start workers are what some
 * browsers are least sure of, and a bundler then finds each script once.
 *
 * A browser starts a worker only from the page's own origin. Where the package comes from another one, a CDN say, a
 * worker starts from a blob of one line that imports the script from there. What it then loads, it loads from there
 * too, since `import.meta.url` is the script's own address.
 *
 * Vite's dev server, up to its version 7, bundles a dependency into a cache of its own and leaves the workers behind:
 * they are then looked for where the package is installed, beside that cache.
 */

import { ChordError } from '../wire/errors.js';
import type { ScriptName } from '../wire/protocol.js';

/** Bundlers know workers by exactly these words. */
const STARTS: Record<ScriptName, () => Worker> = {
  'engine-worker': () => new Worker(new URL('./engine-worker.js', import.meta.url), { type: 'module' }),
  'io-worker': () => new Worker(new URL('./io-worker.js', import.meta.url), { type: 'module' }),
  'store-worker': () => new Worker(new URL('./store-worker.js', import.meta.url), { type: 'module' }),
};

/** The cache of bundled dependencies, as in `/node_modules/.vite/deps/engine-worker.js`. */
const BUNDLED = /\/node_modules\/\..*\/deps\/(?=[^/]+$)/;
const INSTALLED = '/node_modules/wasm-chord/';

/** What helps where a script is not at its address. */
const REMEDY = "a bundler that moves this package has to take its workers and wasm files along; Vite's dev server leaves "
  + "the package alone with optimizeDeps: { exclude: ['wasm-chord'] }";

const SCRIPT_TYPE = /\b(?:java|ecma)script\b/i;

/** Why a worker did not start. */
export interface Trouble {
  why: string;
  facts: { details?: Record<string, unknown>; cause?: unknown };
}

/** A worker's script, where the page or its bundler has put it. */
export class Script {
  /** Undefined where that cannot be found out. */
  readonly address: URL | undefined;
  /** Whether it lies on another origin than the page. */
  readonly isElsewhere: boolean;
  /** Whether the start would look for it where it is not. */
  #isLeftBehind = false;
  #isModule = true;

  constructor(private readonly name: ScriptName) {
    if (typeof Worker === 'undefined') {
      throw new ChordError('UnsupportedBrowser', 'there are no Web Workers here', { details: { feature: 'Worker' } });
    }
    this.address = this.#find();
    this.isElsewhere = this.address !== undefined && isElsewhere(this.address);
  }

  start(): Worker {
    if (this.isElsewhere) return this.#startFromBlob();
    if (this.#isLeftBehind && this.address) return new Worker(this.address, { type: 'module' });
    return STARTS[this.name]();
  }

  /** Why a worker that told no reason did not start, found by fetching its script. */
  async whyNot(signal: AbortSignal): Promise<Trouble> {
    const { address } = this;
    if (!address) return { why: 'its script could not be loaded', facts: {} };
    const url = address.href;
    const missing = (what: string): string => `its script ${url} could not be loaded: ${what}; ${REMEDY}`;
    try {
      const { ok, status, headers } = await fetch(address, { signal });
      if (!ok) return { why: missing(`HTTP ${status}`), facts: { details: { url, status } } };
      const type = headers.get('content-type') ?? 'a file of no type';
      if (!SCRIPT_TYPE.test(type)) return { why: missing(`it came as ${type}`), facts: { details: { url, type } } };
    } catch (cause) {
      return { why: `its script ${url} could not be loaded: ${String(cause)}`, facts: { cause, details: { url } } };
    }
    const what = 'a module that it imports from wasm/ is missing, or a content security policy forbids the worker';
    return { why: `its script ${url} came, but did not run: ${what}`, facts: { details: { url } } };
  }

  /**
   * The address that the start would use. A second `new URL(…)` would tell it too, but make a bundler copy the
   * script once more, so a stand-in for `Worker` listens, for as long as one call of ours takes.
   */
  #find(): URL | undefined {
    const { Worker: real } = globalThis;
    let address: URL | undefined;
    const listen = (given: string | URL, options?: WorkerOptions): void => {
      address = new URL(given, globalThis.document?.baseURI ?? globalThis.location?.href);
      this.#isModule = options?.type === 'module';
    };
    const standIn = class {
      constructor(given: string | URL, options?: WorkerOptions) {
        listen(given, options);
      }
    };
    try {
      globalThis.Worker = standIn as unknown as typeof Worker;
    } catch {
      // Somebody has fixed the globals of this page.
      return undefined;
    }
    try {
      STARTS[this.name]();
      return this.#installed(address);
    } catch {
      return undefined;
    } finally {
      globalThis.Worker = real;
    }
  }

  #installed(address: URL | undefined): URL | undefined {
    if (!address || !BUNDLED.test(address.pathname)) return address;
    this.#isLeftBehind = true;
    const installed = new URL(address);
    installed.pathname = address.pathname.replace(BUNDLED, INSTALLED);
    return installed;
  }

  #startFromBlob(): Worker {
    const name = JSON.stringify(this.address?.href);
    const text = this.#isModule ? `import ${name};` : `importScripts(${name});`;
    const blob = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
    try {
      return this.#isModule ? new Worker(blob, { type: 'module' }) : new Worker(blob);
    } finally {
      // A worker has taken its script by then, or keeps it: but not all browsers do so at once.
      setTimeout(() => URL.revokeObjectURL(blob), BLOB_MS);
    }
  }
}

/** How long a blob is kept for a worker to start from. */
const BLOB_MS = 60_000;

function isElsewhere(address: URL): boolean {
  const { location, origin } = globalThis;
  if (!location || address.protocol === 'blob:' || address.protocol === 'data:') return false;
  // Addresses of some schemes, in extensions and apps, have no origin that `URL` would tell.
  return address.origin !== origin && !(address.protocol === location.protocol && address.host === location.host);
}
