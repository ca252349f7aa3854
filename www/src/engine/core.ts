/**
 * The surface of the wasm module (made by `src/web.rs`) as this package uses it, and the choice and
 * start of the right build. Every method may throw a plain `{code, message, …}` object, or
 * `WebAssembly.RuntimeError` when the core traps.
 */

import { ChordError } from '../wire/errors.js';
import type { CorePlan, CoreStats, ModelInfo, StepEvent } from '../wire/generated.js';
import type { Constrainer } from './constrainer.js';
import type { ReadableFile } from '../wire/local-file.js';
import { addSubgroups } from './subgroups.js';
// Not imported when it is wanted: bundlers that put workers into one script refuse that.
import startGpu, * as gpu from './wasm/chord-gpu.js';
import startMemory64, * as memory64 from './wasm/chord-memory64.js';
import startRelaxed, * as relaxed from './wasm/chord-relaxed.js';
import startSimd, * as plain from './wasm/chord-simd.js';

/** How long nothing may come of the wasm module while it is fetched. */
const SILENT_MS_MAX = 8_000;
/** That time is counted in so many ticks, of which at most one goes by while this thread does not run. */
const SILENT_TICKS = 4;

/** JSON that the core wrote of a `Shape`. */
export type Json<Shape> = string & { readonly shape: Shape };

/** What the core wrote. */
export function parsed<Shape>(json: Json<Shape>): Shape {
  // The shapes are generated from the definitions that the core writes them by.
  return JSON.parse(json) as Shape;
}

/** Reads the headers of the parts of a model, one after the other. */
export interface HeaderReader {
  /** True when the header of this part is complete. */
  feed(bytes: Uint8Array): boolean;
  /** How many parts the first part's metadata announces. */
  partCount(): number;
  nextPart(fileSize: number): void;
  /** The error of a file that ends before its header does. */
  truncated(): unknown;
  /**
   * Bytes that the model would take of a 64-bit memory, if it is to stay in memory and this build's cannot hold it. All
   * headers must be complete.
   */
  outgrown(optionsJson: string): number | undefined;
  /** What opening the model would take. Consumes the reader. */
  plan(optionsJson: string): Json<CorePlan>;
  /** What opening the model on a GPU would take, or on the CPU where that does not suit it, and why. Consumes the reader alone. */
  planOn?(device: GpuDevice, optionsJson: string): Json<CorePlan>;
  /** Consumes the reader. */
  open(optionsJson: string): Engine;
  /** Opens the shard of one more thread of a model that another core has opened. Consumes the reader. */
  follow(optionsJson: string, shard: number, shards: number): Follower;
  /** Opens the model on a GPU, or on the CPU if the device does not suit it. Consumes the reader and the device. */
  openOn?(device: GpuDevice, optionsJson: string): Engine;
  free(): void;
}

/** An open model. */
export interface Engine {
  info(): Json<ModelInfo>;
  /** The next range to fetch: part, offset, length, group, and 1 if its bytes stay on disk. */
  want(): Float64Array | undefined;
  /** The next few bytes that the running request waits for: part, offset, length. */
  wantEarly(): Float64Array | undefined;
  refetchEarly(part: number, offset: number, length: number): void;
  supply(part: number, offset: number, bytes: Uint8Array): void;
  /** The file in which a part is. */
  setFile(part: number, file: ReadableFile): void;
  /** A wanted range is in the part's file, verified; false if it could not be read. */
  supplyFromDisk(part: number, offset: number, length: number, group: number): boolean;
  /** Goes on without files; refused if the ceiling does not allow that. */
  leaveDisk(): void;
  /**
   * How the passes since the last call went, in milliseconds: from asking for bytes to the first of them at
   * best, while `bytes` were on their way, and while the core computed one pass.
   */
  measured(latencyMs: number, bytes: number, transferMs: number, computeMs: number): void;
  /** Bytes read from files. */
  diskBytes(): number;
  /** A wanted range that did not come is wanted again. */
  refetch(part: number, offset: number, length: number, group: number): void;
  /** Where the bytes of the groups lie, four numbers each: group, part, offset, length. */
  ranges(): Float64Array;
  /** The state of each group, as a number of `GROUP_STATES`. */
  groups(): Uint8Array;
  /** Whether a request names a grammar, which something has to read: `setConstrainer` comes before it begins. */
  asksForGrammar(requestJson: string): boolean;
  /** The vocabulary as `Constrainer.load` takes it. */
  vocabulary(): Uint8Array;
  setConstrainer(constrainer: Constrainer): void;
  /** How many requests may run at a time. */
  requestsMax(): number;
  /** Whether another may be prepared now. If not, what the next step frees is kept for it. */
  canBegin(): boolean;
  /**
   * Reads a request. 1 if it was not prepared and has to wait until one of those that run has ended; and what to do about
   * sequences before it starts: 1 if the one that is held is worth keeping, 1 if the one that is taken stays kept as well,
   * and the number of that one, if there is one.
   */
  prepare(requestJson: string): Uint32Array;
  /** Starts the request that was prepared; the number that it is known by as long as it runs. */
  start(): number;
  /** The sequence that was saved last is kept: its number, and those of kept ones that it makes needless. */
  shelve(): Uint32Array;
  /** A sequence is not kept any more. */
  unshelve(number: number): void;
  /** Does a bounded piece of what runs. */
  step(): Json<StepEvent>;
  /** The request that the last step's text, end or error is of. */
  stepped(): number;
  /** Computes no more of a request until it is let go on. */
  hold(request: number, isHeld: boolean): void;
  /** Drops a request, whose sequence is then the one that is saved, or the one that was prepared. */
  cancel(request?: number): void;
  /** Whether a sequence can be saved between two steps of a request. */
  savesMidway(): boolean;
  /** Begins to save the sequence that was computed last; the number of its tokens. */
  beginSave(): number;
  /** Its next bytes, and none after the last ones; undefined while they are waited for. */
  save(): Uint8Array<ArrayBuffer> | undefined;
  /** Takes the next bytes of a saved sequence; how many. The others wait for another thread. */
  restore(bytes: Uint8Array): number;
  /** The number of tokens of what `restore` took; undefined while another thread is waited for. */
  finishRestore(): number | undefined;
  dropRestore(): void;
  /** The tokens that prompts which begin like this have in common: of a JSON string, or of a chat's body. */
  prefixTokens(inputJson: string): Uint32Array;
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Uint32Array;
  detokenize(ids: Uint32Array): string;
  applyChatTemplate(json: string): string;
  countTokens(json: string): number;
  stats(): Json<CoreStats>;
  /** Threads that compute: this one and the others, which are to be started. */
  threads(): number;
  /** Values of the largest slice that a thread hands to another. */
  sliceValues(): number;
  setPeers(peers: Peers): void;
  /** Start and end of each run of bytes of a piece that thread number `shard` needs. */
  deliveries(shard: number, part: number, offset: number, length: number): Uint32Array;
  /** Goes on where another thread's slice was not there. True when there is nothing more to wait for. */
  goOn(): boolean;
  /** Goes on by itself: weights are wanted again, and the running request continues. */
  leaveTeam(): void;
  /** Sets what is called when a device has computed what a step that came to `device` waits for. */
  setWake?(wake: () => void): void;
  /** Goes on with another device, or with the CPU, after a step came to `lost`. */
  attach?(device: GpuDevice | undefined): void;
  free(): void;
}

/** How the core reaches its other threads. The two methods return `PENDING`, `READY` or `LOST`. */
export interface Peers {
  /** Tells the others what to do, in numbers that only the core knows to read. */
  order(order: Float64Array): void;
  send(slice: Float32Array, isToFirst: boolean): number;
  receive(from: number, slice: Float32Array): number;
}

/** One more thread's shard of a model. */
export interface Follower {
  setPeers(peers: Omit<Peers, 'order'>): void;
  supply(part: number, offset: number, bytes: Uint8Array): void;
  /** Begins what was ordered. What came before is done. */
  order(order: Float64Array): void;
  /** Goes on with what was ordered: `PENDING` while it waits for another thread, `READY` when nothing is left, or `LOST`. */
  poll(): number;
  free(): void;
}

/** An open WebGPU device. */
export interface GpuDevice {
  free(): void;
}

/** What a build exports. */
export interface CoreModule {
  HeaderReader: new (fileSize: number) => HeaderReader;
  simd(): string;
  /** The second names an arithmetic, for tests; with the third the device has subgroups; then the adapter's vendor. */
  GpuDevice?: { open(software: boolean, arithmetic?: string, subgroups?: boolean, vendor?: string): Promise<GpuDevice | undefined> };
}

/** A running core. */
export interface Core {
  module: CoreModule;
  build: 'wasm32' | 'wasm64';
  simd: 'relaxed' | 'simd128';
  /** For other threads to start from. */
  compiled: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** A device to open the model on, where there is one. */
  device?: GpuDevice;
  /** Opens another device after that one was lost, if there is one. */
  openDevice?: () => Promise<GpuDevice | undefined>;
}

/** A module whose one function computes a relaxed dot product: valid only where that is known. */
const RELAXED_SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11,
]);

/** A module whose one function uses plain SIMD: valid only where that is known. */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]);

/** A module whose one memory has 64-bit addresses: valid only where those are known. */
const MEMORY64_PROBE = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 5, 3, 1, 4, 0]);

/** Bytes of a page of wasm memory. */
const WASM_PAGE_BYTES = 65_536;

/** Whether this browser runs the build for 64-bit memory. */
export function hasMemory64(): boolean {
  return WebAssembly.validate(RELAXED_SIMD_PROBE) && WebAssembly.validate(MEMORY64_PROBE);
}

/** Whether this browser gives out that much 64-bit memory. It is not touched, so that it costs addresses only. */
export function grantsMemory64(bytes: number): boolean {
  const pages = BigInt(Math.ceil(bytes / WASM_PAGE_BYTES));
  try {
    // As the newest standard has it, which TypeScript's declarations lack.
    const memory = new WebAssembly.Memory({ address: 'i64', initial: pages } as unknown as WebAssembly.MemoryDescriptor);
    return memory.buffer.byteLength >= bytes;
  } catch {
    return false;
  }
}

/** Starts the build for 64-bit memory. */
export async function startCore64(): Promise<Core> {
  const started = await start(startMemory64, new URL('./wasm/chord-memory64.wasm', import.meta.url));
  return { module: memory64, build: 'wasm64', simd: 'relaxed', ...started };
}

/** What is known of the browser's fastest adapter. */
interface Adapter {
  /** It computes on the CPU itself. */
  isSoftware: boolean;
  hasSubgroups: boolean;
  vendor: string;
}

/** Asked for once: drivers take their time to answer. */
let adapter: Promise<Adapter | undefined> | undefined;

/** The browser's fastest adapter; undefined if there is none. */
function fastestAdapter(): Promise<Adapter | undefined> {
  adapter ??= askForAdapter();
  return adapter;
}

async function askForAdapter(): Promise<Adapter | undefined> {
  // Not in every browser, and not in insecure contexts.
  const { gpu } = navigator as { gpu?: GPU };
  try {
    const found = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
    if (!found) return undefined;
    const { isFallbackAdapter, architecture, vendor } = found.info;
    return { isSoftware: isFallbackAdapter || architecture === 'swiftshader', hasSubgroups: found.features.has('subgroups'), vendor };
  } catch {
    // Some browsers reject instead of answering null.
    return undefined;
  }
}

/** Whether this browser computes on a GPU: not at all, by an adapter that is software, or really. */
export async function probeGpu(): Promise<'none' | 'software' | 'hardware'> {
  const found = await fastestAdapter();
  if (!found) return 'none';
  return found.isSoftware ? 'software' : 'hardware';
}

/** Whether a device is to be used: `auto` never takes an adapter that computes on the CPU. */
export async function usesGpu(device: 'auto' | 'webgpu' | 'cpu'): Promise<boolean> {
  if (device === 'cpu') return false;
  const found = await probeGpu();
  return found === 'hardware' || (found === 'software' && device === 'webgpu');
}

/** Starts the build that suits this browser and the device that is asked for. */
export async function startCore(device: 'auto' | 'webgpu' | 'cpu'): Promise<Core> {
  const isRelaxed = WebAssembly.validate(RELAXED_SIMD_PROBE);
  if (!isRelaxed && !WebAssembly.validate(SIMD_PROBE)) {
    throw new ChordError('UnsupportedBrowser', 'this browser has no WebAssembly SIMD', { details: { feature: 'simd128' } });
  }
  if (await usesGpu(device)) {
    try {
      const core = await startOnGpu(device === 'webgpu');
      if (core) return core;
    } catch (cause) {
      // Without being asked for, a GPU that does not work is no reason to fail.
      if (device === 'webgpu') throw cause;
    }
  }
  if (device === 'webgpu') {
    throw new ChordError('DeviceUnavailable', 'this browser offers no WebGPU device', { details: { device } });
  }
  return isRelaxed
    ? { module: relaxed, build: 'wasm32', simd: 'relaxed', ...await start(startRelaxed, new URL('./wasm/chord-relaxed.wasm', import.meta.url)) }
    : { module: plain, build: 'wasm32', simd: 'simd128', ...await start(startSimd, new URL('./wasm/chord-simd.wasm', import.meta.url)) };
}

/** Starts a build for the CPU that another thread has compiled. */
export async function startCompiled({ build, simd }: Pick<Core, 'build' | 'simd'>, compiled: WebAssembly.Module): Promise<Pick<Core, 'module' | 'memory'>> {
  if (build === 'wasm64') return { module: memory64, memory: await instantiate(startMemory64, compiled) };
  return simd === 'relaxed'
    ? { module: relaxed, memory: await instantiate(startRelaxed, compiled) }
    : { module: plain, memory: await instantiate(startSimd, compiled) };
}

/** Loads the build for the GPU and opens a device; undefined if none can be had after all. */
async function startOnGpu(software: boolean): Promise<Core | undefined> {
  const started = await start(startGpu, new URL('./wasm/chord-gpu.wasm', import.meta.url));
  const openDevice = async (): Promise<GpuDevice | undefined> => {
    const found = await fastestAdapter();
    if (!found) return undefined;
    if (found.hasSubgroups) addSubgroups();
    return gpu.GpuDevice.open(software, undefined, found.hasSubgroups, found.vendor || undefined);
  };
  const device = await openDevice();
  return device && { module: gpu, build: 'wasm32', simd: 'simd128', ...started, device, openDevice };
}

type Start = (input: { module_or_path: WebAssembly.Module }) => Promise<{ memory: WebAssembly.Memory }>;

async function start(begin: Start, url: URL): Promise<Pick<Core, 'compiled' | 'memory'>> {
  const compiled = await compile(url);
  return { compiled, memory: await instantiate(begin, compiled) };
}

async function instantiate(begin: Start, compiled: WebAssembly.Module): Promise<WebAssembly.Memory> {
  try {
    return (await begin({ module_or_path: compiled })).memory;
  } catch (cause) {
    if (cause instanceof RangeError) throw new ChordError('OutOfMemory', 'there is no memory left to start the engine', { cause });
    throw cause;
  }
}

/** Compiles while the bytes arrive; a server that sends a wrong MIME type only costs that overlap. */
export async function compile(url: URL): Promise<WebAssembly.Module> {
  const abort = new AbortController();
  let ticks = 0;
  const timer = setInterval(() => {
    ticks += 1;
    if (ticks === SILENT_TICKS) abort.abort(new ChordError('Timeout', `${url.href} did not arrive in time`));
  }, SILENT_MS_MAX / SILENT_TICKS);
  try {
    const response = await fetch(url, { signal: abort.signal });
    if (!response.ok) {
      throw new ChordError('WorkerFailed', `${url.href} answered with HTTP ${response.status}`, { details: { status: response.status } });
    }
    // Compiling what has come may take long, and is not limited.
    void listen(response.clone().body, () => { ticks = 0; }).finally(() => clearInterval(timer));
    if (/^application\/wasm\b/i.test(response.headers.get('content-type') ?? '')) {
      return await WebAssembly.compileStreaming(response);
    }
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (cause) {
    if (cause instanceof ChordError) throw cause;
    if (abort.signal.aborted) throw abort.signal.reason;
    throw new ChordError('WorkerFailed', `${url.href} could not be compiled`, { cause });
  } finally {
    clearInterval(timer);
  }
}

/** Calls `heard` with each piece of a body, until it ends or breaks. */
async function listen(body: ReadableStream<Uint8Array> | null, heard: () => void): Promise<void> {
  const reader = body?.getReader();
  try {
    while (reader && !(await reader.read()).done) heard();
  } catch {
    // Who compiles it sees the same.
  }
}
