/**
 * Every message between the page, the engine worker, the IO worker and the store worker, each pair over a channel
 * of its own.
 *
 *     page  ──ToEngine──▶  engine worker  ──ToIo──▶  IO worker  ──ToStore──▶  store worker
 *     page  ◀─FromEngine─  engine worker  ◀─FromIo─  IO worker  ◀─FromStore─  store worker
 *                          engine worker  ──ToFollower──▶  engine worker that is one more thread
 *                          engine worker  ◀─FromFollower─  engine worker that is one more thread
 *
 * The page starts all of them: a worker that wants another says so to the page (FromMember, ToMember).
 */

import type { WireError } from './errors.js';
import type { CommitRequest } from '../store/commit.js';
import type { PageRecord } from '../store/journal.js';
import type { StoreSettings } from '../store/layout.js';
import type { CoreOptions, ModelInfo, StepEvent, Usage } from './generated.js';
import type { EngineStats, Plan, Progress, StoredModel, StoredSession, Timings } from './types.js';

/**
 * Ticks of a watchdog without a message after which the engine worker counts as stuck, though it lives. Compiling
 * for a GPU can take a phone half a minute, and nothing is heard of the worker meanwhile.
 */
export const ENGINE_SILENT_TICKS_MAX = 180;
/** Ticks after which a silent engine worker counts as stuck where its death would not be noticed otherwise. */
export const ENGINE_SILENT_TICKS_MAX_UNSEEN = 30;
/** Ticks after which a silent IO worker counts as stuck: it never computes, and another can replace it. */
export const IO_SILENT_TICKS_MAX = 6;
/** Ticks after which a silent store worker counts as stuck: it flushes to a disk that may be slow. */
export const STORE_SILENT_TICKS_MAX = 30;

/** Ticks after which another thread of the computation counts as stuck: it is waited for between two products. */
export const FOLLOWER_SILENT_TICKS_MAX = 5;
/** Ticks after which another thread counts as stuck before it has opened its shard of the model. */
export const FOLLOWER_STARTING_TICKS_MAX = 30;

/** The script of a worker. */
export type ScriptName = 'engine-worker' | 'io-worker' | 'store-worker';

/** What the page says to a worker that it has started, about itself and those that it wanted. */
export type ToMember =
  /** `port` is its end of the channel to its partner; `life` is the lock that it holds until it ends. */
  | { type: 'join'; port: MessagePort; life: string }
  | { type: 'started'; id: number }
  | { type: 'gone'; id: number; why: string };

export type FromMember =
  | { type: 'hello' }
  /** It holds the lock of its life. */
  | { type: 'lives'; life: string }
  /** A worker is to be started, and `port` to be its end of the channel to it. */
  | { type: 'want'; id: number; script: ScriptName; port: MessagePort }
  | { type: 'unwanted'; id: number };

/** A sign of life is asked for, over any channel, and given. */
export interface Ping { type: 'ping' }
export interface Pong { type: 'pong' }

/** One part of a model as the caller named it, checked and made absolute. `hub` where the name itself says which. */
export type PartInput =
  | { kind: 'url'; url: string }
  | { kind: 'hub'; repo: string; revision?: string; file: string; hub?: string }
  /** A whole model: in the quantisation that is named, or in the usual one. */
  | { kind: 'hub-model'; repo: string; revision?: string; quant?: string; hub?: string }
  | { kind: 'blob'; blob: Blob };

/** What identifies one version of a remote file; a difference means that the file changed. */
export interface PartIdentity {
  size?: number;
  etag?: string;
  lastModified?: string;
}

/** One file of a model, ready to be read. */
export interface PartSource {
  /** For people: a URL or a file name. */
  name: string;
  url?: string;
  blob?: Blob;
  /** SHA-256 of the whole file in hex, where the hub tells. */
  sha256?: string;
  /** What the hub told is from an earlier visit: it may have another file by now. */
  isRecalled?: boolean;
  /** Known after the first response. */
  identity?: PartIdentity;
}

/** Settings of the network code; tests shorten them. */
export interface NetworkSettings {
  /** Base address of the hub behind `hf:` names. */
  hub: string;
  /** A response that sends nothing for this long is given up and asked for again. */
  idleMs: number;
  /** First pause before a retry; it doubles each time. */
  backoffMs: number;
}

/** The hub of names that do not say another. */
export const HUB = 'https://huggingface.co';

export const NETWORK_DEFAULTS: NetworkSettings = { hub: HUB, idleMs: 4_000, backoffMs: 250 };

/** What a model is opened with. */
export interface OpenRequest {
  parts: PartInput[];
  /** The files of adapters, which are parts behind the model's. */
  adapters: PartInput[];
  headers: [string, string][];
  /** Options of the core that the caller gave, passed on as they are. */
  core: Pick<CoreOptions, 'contextLength' | 'contextOverflow' | 'maxResidentBytes' | 'prefetchDistance' | 'kvCache' | 'adapters'>;
  device: 'auto' | 'webgpu' | 'cpu';
  /** How many threads may compute on the CPU, where the caller said so. */
  threads?: number;
  memory64: 'auto' | boolean;
  /** Sequences of which the state is kept. */
  sequencesMax: number;
  /** What was computed elsewhere of prompts' beginning. */
  prefix?: PartInput;
  /** What a 32-bit memory is taken to hold, in bytes, where tests say so. */
  addressableBytes?: number;
  network: NetworkSettings;
  store: StoreSettings;
}

/** What a read is for: to be sent, to be sent without fetching more around it, or only to be brought to disk. */
export type ReadMode = 'send' | 'peek' | 'keep';

/** The events of a call that reach the page; the last one is `done`. */
export type CallEvent =
  | Extract<StepEvent, { type: 'token' | 'finish' }>
  | { type: 'done'; usage: Usage; embeddings?: number[][]; scores?: number[]; timings: Timings }
  /** What tasks of other kinds come to, as their last event. */
  | { type: 'session'; session: StoredSession }
  | { type: 'prefix'; prefix: Blob };

/** What the engine worker does with the core: requests beside one another where it has room, the others by themselves. */
export type Task =
  /** `request` is JSON for the core; what it computes is saved under the name of the session. */
  | { kind: 'request'; request: string; session?: string }
  | { kind: 'save' | 'restore'; name: string }
  /** `input` is JSON for the core. */
  | { kind: 'export'; input: string };

/** Questions that the engine worker answers at once, beside a running generation. */
export interface Queries {
  tokenize: { ask: { text: string; addSpecial: boolean; parseSpecial: boolean }; answer: number[] };
  detokenize: { ask: { tokens: number[] }; answer: string };
  applyChatTemplate: { ask: { json: string }; answer: string };
  countTokens: { ask: { json: string }; answer: number };
  stats: { ask: Record<string, never>; answer: EngineStats };
  listSessions: { ask: Record<string, never>; answer: StoredSession[] };
  deleteSession: { ask: { name: string }; answer: boolean };
}
export type QueryName = keyof Queries;
/** A question with its name, as one union. */
export type Query = { [Name in QueryName]: { name: Name; ask: Queries[Name]['ask'] } }[QueryName];

export type ToEngine =
  | { type: 'open'; request: OpenRequest }
  | { type: 'plan'; request: OpenRequest }
  | { type: 'start'; call: number; task: Task }
  /** The page has taken `count` more events of the call. */
  | { type: 'taken'; call: number; count: number }
  | { type: 'cancel'; call: number }
  | { type: 'query'; id: number; query: Query };

/** What an engine worker that is one more thread of another one hears from that one. */
export type ToFollower =
  /**
   * Opens the shard of that number of a model. `headers` are those of the model's parts, `options` the core's; the threads
   * exchange slices of up to `values` values in shared memory, or through ports, by the number of the thread.
   */
  | {
    type: 'follow';
    compiled: WebAssembly.Module;
    build: 'wasm32' | 'wasm64';
    simd: 'relaxed' | 'simd128';
    headers: { size: number; pieces: Uint8Array[] }[];
    options: string;
    shard: number;
    threads: number;
    values: number;
    mailbox?: SharedArrayBuffer;
    ports: (MessagePort | undefined)[];
  }
  /** Bytes of weights: offset and length of each range, which follow one another in `bytes`. */
  | { type: 'supply'; part: number; ranges: number[]; bytes: Uint8Array }
  /** The core's words for what to run. */
  | { type: 'order'; order: number[] };

export type FromFollower =
  | { type: 'opened'; wasmBytes: number }
  | { type: 'supplied'; bytes: number; wasmBytes: number }
  | { type: 'failed'; error: WireError };

export type FromEngine =
  | { type: 'progress'; progress: Progress }
  /** So many requests run at a time. */
  | { type: 'opened'; model: ModelInfo; requestsMax: number }
  | { type: 'planned'; plan: Plan }
  /** Opening or planning failed; the worker can be ended. */
  | { type: 'refused'; error: WireError }
  | { type: 'loaded' }
  | { type: 'loadFailed'; error: WireError }
  /** Loading goes on after it had failed. */
  | { type: 'loadResumed' }
  /** Something about the open model that can be lived with. */
  | { type: 'warning'; message: string }
  /** The core took the request; events follow. */
  | { type: 'accepted'; call: number }
  | { type: 'event'; call: number; event: CallEvent }
  | { type: 'callFailed'; call: number; error: WireError }
  | { type: 'answer'; id: number; value: Queries[QueryName]['answer'] }
  | { type: 'queryFailed'; id: number; error: WireError }
  /** The engine is lost: every call fails with this. */
  | { type: 'fatal'; error: WireError };

/** Questions about the durable store. */
export interface StoreAnswers {
  list: StoredModel[];
  verify: boolean;
  delete: boolean;
}
export type StoreQuestion = keyof StoreAnswers;

export type ToIo =
  /** Each adapter has to be one file; those of all follow the model's. */
  | { type: 'resolve'; parts: PartInput[]; adapters: PartInput[]; headers: [string, string][]; network: NetworkSettings; store: StoreSettings }
  /** Takes over files that were resolved before, by a worker that died. */
  | { type: 'adopt'; files: PartSource[]; headers: [string, string][]; network: NetworkSettings; store: StoreSettings }
  /** Reads a range; `length` may be Infinity: to the end of the file. */
  | { type: 'read'; id: number; part: number; offset: number; length: number; mode: ReadMode }
  | { type: 'cancel'; id: number }
  | { type: 'store'; question: StoreQuestion; parts: PartInput[]; network: NetworkSettings }
  /** Asks to be told when everything fetched is on disk. */
  | { type: 'settle' }
  /** Gives a buffer back to the pool. */
  | { type: 'recycle'; buffer: ArrayBuffer };

/** Totals since the worker started. */
export interface IoCounters {
  requests: number;
  fetchedBytes: number;
  /** Bytes that came from the durable store. */
  storeBytes: number;
  retries: number;
}

export const NO_COUNTERS: Readonly<IoCounters> = { requests: 0, fetchedBytes: 0, storeBytes: 0, retries: 0 };

export type FromIo =
  | { type: 'resolved'; files: PartSource[] }
  | { type: 'resolveFailed'; error: WireError }
  /** Sent before the first piece of a part. `sequential`: the server ignores ranges. */
  | { type: 'part'; part: number; identity: PartIdentity; sequential: boolean; contentType?: string }
  /** The next bytes of a read, `length` of them from the start of `buffer`. */
  | { type: 'piece'; id: number; offset: number; length: number; buffer: ArrayBuffer; counters: IoCounters }
  /** `isStored`: every byte is in pages on disk, which were verified. */
  | { type: 'done'; id: number; isStored: boolean; counters: IoCounters }
  | { type: 'failed'; id: number; error: WireError; counters: IoCounters }
  /** Bytes have come, of which some may not have been sent on yet. */
  | { type: 'moved'; counters: IoCounters }
  | { type: 'settled' }
  | { type: 'storeAnswer'; value: StoreAnswers[StoreQuestion] }
  | { type: 'storeFailed'; error: WireError }
  /** Which pages of a part are in the store: one bit each, the first in the lowest. Sent at each change. */
  | { type: 'stored'; part: number; pageBytes: number; pages: Uint8Array }
  /** The model works, but not all is as it should be. `isUnkept`: what is fetched of it from now on is not stored. */
  | { type: 'warning'; message: string; isUnkept: boolean };

/** What a store worker is asked, one thing at a time. */
export type ToStore =
  | { type: 'commit'; folder: string; request: CommitRequest }
  | { type: 'hash'; folder: string; bytes: number };

export type FromStore =
  | { type: 'committed'; records: PageRecord[] }
  | { type: 'hashed'; sha256: string }
  | { type: 'failed'; name: string; message: string };
