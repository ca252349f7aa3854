/**
 * The engine worker: owns the wasm core, has an IO worker, opens one model and answers the page. Or it is one more
 * thread of another engine worker.
 */

import { grantsMemory64, hasMemory64, parsed, probeGpu, startCore, startCore64, usesGpu, type Core, type Engine, type HeaderReader } from './engine/core.js';
import { deviceBytes, expertReasons, memoryReasons, trafficReason } from './engine/device-memory.js';
import { join, tell } from './wire/colleague.js';
import { ChordError, toChordError, toWire } from './wire/errors.js';
import type { CoreOptions, DeviceStats } from './wire/generated.js';
import { groupStates, storedBytes } from './wire/groups.js';
import { IoClient, movedBytes } from './engine/io-client.js';
import { HeaderLoader, Loader } from './engine/loader.js';
import { LOCAL_READ_BYTES } from './wire/local-file.js';
import type { FromEngine, OpenRequest, PartInput, Queries, Query, QueryName, ToEngine, ToFollower } from './wire/protocol.js';
import { Follower } from './engine/follower.js';
import { Runner } from './engine/runner.js';
import { fetched, takeUp } from './engine/sequence.js';
import { ProgressMeter } from './engine/progress.js';
import { SessionStore } from './store/sessions.js';
import { Team, threadOptions } from './engine/team.js';
import type { EngineStats, Plan } from './wire/types.js';

/** An open model. */
interface OpenModel {
  core: Core;
  io: IoClient;
  loader: Loader;
  runner: Runner;
  sessions: SessionStore;
}

let model: OpenModel | undefined;
const progress = new ProgressMeter((told) => post({ type: 'progress', progress: told }));

const post = (message: FromEngine): void => tell(message);

let follower: Follower | undefined;

function receive(data: ToEngine | ToFollower): void {
  switch (data.type) {
    case 'follow':
      follower = new Follower(data);
      break;
    case 'supply':
    case 'order':
      follower?.receive(data);
      break;
    case 'open':
      void open(data.request).catch(refuse);
      break;
    case 'plan':
      void plan(data.request).catch(refuse);
      break;
    case 'start':
      void model?.runner.start(data.call, data.task);
      break;
    case 'taken':
      model?.runner.taken(data.call, data.count);
      break;
    case 'cancel':
      model?.runner.cancel(data.call);
      break;
    case 'query':
      void answer(data.id, data.query);
      break;
  }
}

function refuse(thrown: unknown): void {
  post({ type: 'refused', error: toWire(thrown) });
}

/** A model whose header was read, and the build that can go on with it. */
interface ReadModel {
  core: Core;
  /** Why it is that build, where another might be expected. */
  buildReason?: string;
  io: IoClient;
  headers: HeaderLoader;
  reader: HeaderReader;
}

/** Reads the header while the core compiles. */
async function readHeader(request: OpenRequest, device = request.device): Promise<ReadModel> {
  progress.enter('compile');
  const io = new IoClient(request);
  io.onMoved = () => progress.moved(movedBytes(io), downloadBytes(io));
  const is64 = request.memory64 === true;
  if (is64 && !hasMemory64()) {
    throw new ChordError('DeviceUnavailable', 'this browser has no 64-bit memory', { details: { build: 'wasm64' } });
  }
  try {
    const [files, core] = await Promise.all([io.resolve(), is64 ? startCore64() : startCore(device)]);
    progress.enter('header');
    const headers = new HeaderLoader(core, io);
    const read: ReadModel = { core, io, headers, reader: await headers.read(files, request.adapters.length) };
    if (is64) return { ...read, buildReason: 'memory64 asks for it' };
    return request.memory64 === 'auto' && !core.device ? await widened(request, read, files) : read;
  } catch (thrown) {
    io.close();
    throw thrown;
  }
}

/** The same model in the build for 64-bit memory, if the model outgrows a 32-bit one and the browser can. */
async function widened(request: OpenRequest, read: ReadModel, files: number): Promise<ReadModel> {
  const { io, headers, reader } = read;
  const bytes = reader.outgrown(coreOptions(request, read));
  if (bytes === undefined) return read;
  const why = `the model takes ${bytes} bytes, more than a 32-bit memory holds`;
  if (!hasMemory64()) return { ...read, buildReason: `${why}, and this browser has no 64-bit memory` };
  if (deviceBytes() === undefined && request.core.maxResidentBytes === undefined && isFromDisk(io, headers)) {
    return { ...read, buildReason: `${why}, and this browser does not tell how much memory there is: maxResidentBytes or memory64: true takes it` };
  }
  if (!grantsMemory64(bytes)) return { ...read, buildReason: `${why}, and this browser refuses so much` };
  const core = await startCore64();
  reader.free();
  // A server that sends files only whole begins with them anew.
  if (headers.sequential.length > 0) io.cancelAll();
  const again = new HeaderLoader(core, io);
  return { core, buildReason: why, io, headers: again, reader: await again.read(files, request.adapters.length) };
}

async function open(request: OpenRequest): Promise<void> {
  const read = await readHeader(request);
  const { core, io, headers, reader } = read;
  const options = coreOptions(request, read);
  const engine = core.device && reader.openOn ? reader.openOn(core.device, options) : reader.open(options);
  engine.setWake?.(() => model?.runner.wake());
  const info = parsed(engine.info());
  for (const warning of info.warnings) console.warn(`wasm-chord: ${warning}`);
  const warn = (message: string): void => {
    console.warn(`wasm-chord: ${message}`);
    post({ type: 'warning', message });
  };
  const loader = new Loader(engine, io, headers, {
    changed: () => model?.runner.wake(),
    loaded: () => void io.settle().then(() => {
      progress.enter('ready');
      post({ type: 'loaded' });
    }),
    failed: (error) => {
      // Wasm memory never shrinks: only ending the worker gives back what was taken for nothing.
      if (error.code === 'OutOfMemory') die(error);
      else post({ type: 'loadFailed', error: toWire(error) });
    },
    resumed: () => post({ type: 'loadResumed' }),
    leftDisk: () => {
      leaveTeam(engine);
      for (const message of trafficWarnings(engine)) post({ type: 'warning', message });
    },
    progress: (loadedBytes, layer, layers) => progress.moved(loadedBytes, downloadBytes(io) || knownBytes(engine), { layer, layers }),
    panicked: die,
  });
  const sessions = new SessionStore(await io.folder(), () => io.facts.map(({ identity }) => identity));
  const runner = new Runner(engine, loader, sessions, request.sequencesMax, {
    accepted: (call) => post({ type: 'accepted', call }),
    event: (call, event) => post({ type: 'event', call, event }),
    failed: (call, error) => {
      if (error.code === 'EnginePanicked') die(error);
      else post({ type: 'callFailed', call, error: toWire(error) });
    },
    warn,
    lost: () => replaceLost(core, engine),
  });
  model = { core, io, loader, runner, sessions };
  if (engine.threads() > 1) {
    loader.team = new Team(engine, core, headers.takeHeaders(), options, {
      wake: () => runner.wake(),
      drained: () => loader.pump(),
      lost: (why) => {
        warn(`${why}: one thread goes on`);
        try {
          leaveTeam(engine);
        } catch (thrown) {
          die(toChordError(thrown));
          return;
        }
        loader.pump();
        runner.wake();
      },
    });
  }
  headers.takeHeaders();
  io.onMoved = () => loader.report();
  progress.enter('download');
  let { isStorable } = io;
  const traffic = isStorable ? [] : trafficWarnings(engine);
  post({ type: 'opened', requestsMax: engine.requestsMax(), model: { ...info, warnings: [...info.warnings, ...io.warnings, ...traffic] } });
  io.onWarning = (message) => {
    post({ type: 'warning', message });
    // Layers that were to be read in place are warned of when the loader leaves the disk.
    const isLost = isStorable && !io.isStorable && !io.isKept;
    isStorable = io.isStorable;
    for (const more of isLost ? trafficWarnings(engine) : []) post({ type: 'warning', message: more });
  };
  loader.start();
  if (request.prefix) runner.ready = readPrefix(engine, runner, request, request.prefix, warn);
}

/** Takes up what was computed elsewhere of prompts' beginning. Without it, it is computed. */
async function readPrefix(engine: Engine, runner: Runner, request: OpenRequest, prefix: PartInput, warn: (message: string) => void): Promise<void> {
  try {
    await takeUp(engine, runner.parked, fetched(request, prefix));
  } catch (thrown) {
    const error = toChordError(thrown);
    if (error.code === 'EnginePanicked') die(error);
    else warn(`the prefix was not taken up, and is computed: ${error.message}`);
  }
}

/** What passes through memory without being stored costs traffic, which the caller should hear of. */
function trafficWarnings(engine: Engine): string[] {
  const { layers } = parsed(engine.stats());
  if (layers.passingBytes === 0) return [];
  const warning = trafficReason(layers.passingBytes);
  console.warn(`wasm-chord: ${warning}`);
  return [warning];
}

/** The core's options, as JSON. Layers can be read from disk where they are there one by one. */
function coreOptions({ core, device, threads, addressableBytes, sequencesMax }: OpenRequest, { core: { build, device: opened }, io, headers }: ReadModel): string {
  const readBytes = io.isLocal(0) ? LOCAL_READ_BYTES : undefined;
  const options: { [Name in keyof CoreOptions]: CoreOptions[Name] | undefined } = {
    ...core,
    ...opened ? {} : threadOptions(threads),
    addressableBytes: build === 'wasm32' ? addressableBytes : undefined,
    maxSequences: sequencesMax,
    isDeviceNamed: device === 'webgpu',
    fromDisk: isFromDisk(io, headers),
    deviceBytes: deviceBytes(),
    readBytes,
  };
  return JSON.stringify(options);
}

function isFromDisk(io: IoClient, headers: HeaderLoader): boolean {
  return io.isKept && headers.sequential.length === 0;
}

/** Losses of the device after which the CPU goes on. */
const LOSSES_MAX = 2;
let losses = 0;

/** Goes on without the other threads, if there are some. True if there were. */
function leaveTeam(engine: Engine): boolean {
  const team = model?.loader.team;
  if (!model || !team) return false;
  team.end();
  model.loader.team = undefined;
  engine.leaveTeam();
  return true;
}

/**
 * The device was lost: another takes its place once, then the CPU. Or one of the threads was: then one goes on. The
 * running request goes on in either case.
 */
async function replaceLost(core: Core, engine: Engine): Promise<void> {
  if (leaveTeam(engine)) return;
  losses += 1;
  engine.attach?.(losses < LOSSES_MAX ? await core.openDevice?.() : undefined);
}

/** Why the CPU computes where nobody asked for that. */
async function whyNotGpu(device: OpenRequest['device']): Promise<string | undefined> {
  if (device === 'cpu') return undefined;
  const found = await probeGpu();
  return found === 'software' ? "the browser's GPU adapter computes on the CPU itself" : 'the browser offers no GPU adapter';
}

async function plan(request: OpenRequest): Promise<void> {
  const isOnGpu = await usesGpu(request.device);
  const read = await readHeader(request, isOnGpu ? request.device : 'cpu');
  const { core, buildReason, io, headers, reader } = read;
  const options = coreOptions(request, read);
  const json = core.device && reader.planOn ? reader.planOn(core.device, options) : reader.plan(options);
  const { memory: { passingBytes, expertBytes, expertCacheBytes, threads, ...memory }, downloadBytes: tensorBytes, reason, unsuited, model: info } = parsed(json);
  const why = core.device ? unsuited : await whyNotGpu(request.device);
  const reasons = reason === undefined ? [] : [reason];
  const kept = io.facts.reduce((sum, { identity }, part) => sum + storedBytes(io.stored[part], identity.size ?? 0), 0);
  const plan: Omit<Plan, 'reasons'> = {
    model: info,
    ...memory,
    fetchedBytesPerToken: io.isStorable ? 0 : passingBytes,
    downloadBytes: (downloadBytes(io) || tensorBytes) - kept,
    storedBytes: kept,
    contextLength: info.contextLength,
    device: core.device && unsuited === undefined ? 'webgpu' : 'cpu',
    ...why === undefined ? {} : { deviceReason: why },
    build: core.build,
    ...buildReason === undefined ? {} : { buildReason },
    simd: core.simd,
    threads,
    fits: reasons.length === 0,
  };
  reasons.push(...memoryReasons(plan, isFromDisk(io, headers)), ...expertReasons(expertBytes, expertCacheBytes));
  const asked = core.device ? undefined : request.threads;
  if (asked !== undefined && threads < asked) reasons.push(`${asked} threads were asked for, and ${threads} computes: with so many, all of the model has to stay in memory`);
  if (plan.fetchedBytesPerToken > 0) reasons.push(trafficReason(passingBytes));
  reasons.push(...contextReasons(info, request.core.contextLength));
  io.close();
  post({ type: 'planned', plan: { ...plan, reasons } });
}

/** What speaks against the context that was asked for; an engine that is opened so warns in the same words. */
function contextReasons({ contextLength, trainedContextLength }: Plan['model'], asked = contextLength): string[] {
  if (asked <= trainedContextLength) return [];
  const consequence = contextLength < asked ? 'has no positions after those, so that they are its context' : 'gives worse answers past those';
  return [`contextLength is ${asked}, but the model was trained for ${trainedContextLength} tokens and ${consequence}`];
}

/** The size of all parts, as far as it is known. */
function downloadBytes(io: IoClient): number {
  return io.facts.reduce((sum, { identity }) => sum + (identity.size ?? 0), 0);
}

/** Where the last weight ends, where no server tells how large its file is. */
function knownBytes(engine: Engine): number {
  const ends: number[] = [];
  const ranges = engine.ranges();
  for (let at = 0; at < ranges.length; at += 4) {
    const [, part = 0, offset = 0, length = 0] = ranges.subarray(at, at + 4);
    ends[part] = Math.max(ends[part] ?? 0, offset + length);
  }
  return ends.reduce((sum, end) => sum + end, 0);
}

async function answer(id: number, query: Query): Promise<void> {
  try {
    if (!model) throw new ChordError('Internal', 'no model is open');
    const value = ask(model, query);
    post({ type: 'answer', id, value: value instanceof Promise ? await value : value });
  } catch (thrown) {
    const error = toChordError(thrown);
    if (error.code === 'EnginePanicked') die(error);
    else post({ type: 'queryFailed', id, error: toWire(error) });
  }
}

type Answer = Queries[QueryName]['answer'];

function ask(open: OpenModel, { name, ask: asked }: Query): Answer | Promise<Answer> {
  const { engine } = open.loader;
  switch (name) {
    case 'tokenize':
      return Array.from(engine.tokenize(asked.text, asked.addSpecial, asked.parseSpecial));
    case 'detokenize':
      return engine.detokenize(Uint32Array.from(asked.tokens));
    case 'applyChatTemplate':
      return engine.applyChatTemplate(asked.json);
    case 'countTokens':
      return engine.countTokens(asked.json);
    case 'stats':
      return statistics(open);
    case 'listSessions':
      return open.sessions.list();
    case 'deleteSession':
      return open.sessions.delete(asked.name);
  }
}

function statistics({ core, io, loader, runner }: OpenModel): EngineStats {
  const { memory, layers, experts, device, threads, sequences, gpu } = parsed(loader.engine.stats());
  return {
    device,
    build: core.build,
    simd: core.simd,
    threads,
    memory: { ...memory, wasmBytes: core.memory.buffer.byteLength + (loader.team?.wasmBytes ?? 0) + runner.grammarBytes, gpuBytes: device === 'webgpu' ? memory.residentBytes : 0 },
    layers,
    ...experts ? { experts } : {},
    ...gpu ? deviceStatistics(gpu) : {},
    source: { ...io.counters, storeBytes: io.counters.storeBytes + loader.engine.diskBytes() },
    sequences,
    kept: runner.kept,
    ...runner.last ? { last: runner.last } : {},
    groups: groupStates(loader.engine.groups(), loader.engine.ranges(), (part, start, end) => io.isOnDisk(part, start, end)),
  };
}

/** What is said of a GPU: its name, and what it did. */
function deviceStatistics({ adapter, ...gpu }: DeviceStats): Pick<EngineStats, 'adapter' | 'gpu'> {
  return { ...adapter === undefined ? {} : { adapter }, gpu };
}

/** The core trapped: nothing of it can be used again. The page ends this worker. */
function die(error: ChordError): void {
  model?.loader.team?.end();
  model?.io.close();
  model = undefined;
  post({ type: 'fatal', error: toWire(error) });
}

join(receive);
