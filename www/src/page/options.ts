/** Checks engine options and turns them into what the engine worker needs. Runs on the page. */

import { ChordError, invalidParameter, invalidSource } from '../wire/errors.js';
import { NETWORK_DEFAULTS, type NetworkSettings, type OpenRequest } from '../wire/protocol.js';
import { checkFields } from './fields.js';
import { checkHub } from './hub-name.js';
import { parseSource } from './source.js';
import { STORE_DEFAULTS, type StoreSettings } from '../store/layout.js';
import type { AdapterOptions, EngineOptions, PlanOptions } from '../wire/types.js';

/** More than any device has cores for. */
const THREADS_MAX = 64;
/** Conversations of which the state is kept, unless the caller says how many. */
const SEQUENCES = 4;

/** Under this key tests pass other network settings; it is not part of the public interface. */
const NETWORK = Symbol.for('wasm-chord.network');
/** Under this key tests pass other settings of the durable store. */
const STORE = Symbol.for('wasm-chord.store');
/** Under this key tests pass what a 32-bit memory is taken to hold, in bytes. */
const ADDRESSABLE = Symbol.for('wasm-chord.addressable');

/** The request to open, or plan for, a model. Throws `InvalidParameter` and `InvalidSource`. */
export function openRequest(options: EngineOptions | (PlanOptions & Pick<EngineOptions, 'model'>)): OpenRequest {
  if (typeof options !== 'object' || options === null) throw invalidParameter('options', 'options must be an object');
  checkFields('the engine options', options);
  const all = options as EngineOptions & { [NETWORK]?: Partial<NetworkSettings>; [STORE]?: Partial<StoreSettings>; [ADDRESSABLE]?: number };
  checkChoice('device', all.device, ['auto', 'webgpu', 'cpu']);
  checkChoice('memory64', all.memory64, ['auto', true, false]);
  checkChoice('kvCache', all.kvCache, ['f16', 'q8_0']);
  checkChoice('store', all.store, ['opfs', 'memory', 'none']);
  checkCount('contextLength', all.contextLength, 1);
  checkChoice('contextOverflow', all.contextOverflow, ['error', 'shift']);
  checkCount('maxResidentBytes', all.maxResidentBytes, 1);
  checkCount('prefetchDistance', all.prefetchDistance, 0);
  checkCount('threads', all.threads, 1);
  checkCount('maxSequences', all.maxSequences, 1);
  if ((all.threads ?? 1) > THREADS_MAX) throw invalidParameter('threads', `threads must be at most ${THREADS_MAX}`);
  if (all.memory64 === true && all.device === 'webgpu') {
    throw invalidParameter('memory64', "memory64: true cannot go with device: 'webgpu': the build for WebGPU keeps the weights on the device and has 32-bit memory");
  }
  const core: OpenRequest['core'] = {};
  if (all.contextLength !== undefined) core.contextLength = all.contextLength;
  if (all.contextOverflow !== undefined) core.contextOverflow = all.contextOverflow;
  if (all.maxResidentBytes !== undefined) core.maxResidentBytes = all.maxResidentBytes;
  if (all.prefetchDistance !== undefined) core.prefetchDistance = all.prefetchDistance;
  if (all.kvCache !== undefined) core.kvCache = all.kvCache;
  if (all.prefix !== undefined && typeof all.prefix !== 'string' && !(all.prefix instanceof URL) && !(all.prefix instanceof Blob)) {
    throw invalidParameter('prefix', 'prefix must be a URL or a Blob');
  }
  const network: NetworkSettings = { ...NETWORK_DEFAULTS, hub: checkHub(all.hub), ...all[NETWORK] };
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  const adapters = checkAdapters(all.adapters);
  if (adapters.length > 0) core.adapters = adapters.map(({ name, scale }) => ({ name, ...scale === undefined ? {} : { scale } }));
  const [prefix] = all.prefix === undefined ? [] : parseSource(all.prefix, base, network.hub);
  return {
    parts: parseSource(all.model, base, network.hub),
    adapters: adapters.map(({ source }) => {
      const [file, ...others] = parseSource(source, base, network.hub);
      if (file === undefined || others.length > 0) throw invalidSource('an adapter is one file');
      return file;
    }),
    headers: checkHeaders(all.headers),
    core,
    // Weights of the build for 64-bit memory lie in it, not on a GPU.
    device: all.memory64 === true ? 'cpu' : all.device ?? 'auto',
    memory64: all.memory64 ?? 'auto',
    sequencesMax: all.maxSequences ?? (all.maxResidentBytes === undefined ? SEQUENCES : 1),
    ...all[ADDRESSABLE] === undefined ? {} : { addressableBytes: all[ADDRESSABLE] },
    ...all.threads === undefined ? {} : { threads: all.threads },
    ...prefix === undefined ? {} : { prefix },
    network,
    // A ceiling is meant for what is on the way, too.
    store: { ...STORE_DEFAULTS, ...(all.maxResidentBytes === undefined ? {} : { pageBuffers: 1 }), isUsed: (all.store ?? 'opfs') === 'opfs', ...all[STORE] },
  };
}

function checkAdapters(given: unknown): AdapterOptions[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) throw invalidParameter('adapters', 'adapters must be a list');
  for (const adapter of given as unknown[]) {
    if (typeof adapter !== 'object' || adapter === null) throw invalidParameter('adapters', 'an adapter must be an object with a source and a name');
    checkFields('an adapter', adapter);
    const { source, name, scale = 1 } = adapter as Partial<Record<keyof AdapterOptions, unknown>>;
    if (typeof source !== 'string' && !(source instanceof URL) && !(source instanceof Blob)) throw invalidParameter('adapters', 'the source of an adapter is a URL, a File or a Blob');
    if (typeof name !== 'string' || name === '') throw invalidParameter('adapters', 'an adapter needs a name, a string that is not empty');
    if (typeof scale !== 'number' || !Number.isFinite(scale)) throw invalidParameter('adapters', `the scale of adapter "${name}" must be a number`);
  }
  return given as AdapterOptions[];
}

function checkChoice(name: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw invalidParameter(name, `${name} must be one of ${choices.join(', ')}`);
}

function checkCount(name: string, value: unknown, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= least)) return;
  throw invalidParameter(name, `${name} must be a whole number of at least ${least}`);
}

function checkHeaders(headers: HeadersInit | undefined): [string, string][] {
  let list: [string, string][];
  try {
    list = [...new Headers(headers)];
  } catch (cause) {
    throw new ChordError('InvalidParameter', 'headers are not valid', { cause, details: { name: 'headers' } });
  }
  if (list.some(([name]) => name === 'range')) throw invalidParameter('headers', 'a Range header cannot be set');
  return list;
}
