/// <reference lib="esnext.disposable" />
/** The types of the public interface: an engine, its options and figures. What it is asked is in `openai.ts`. */

import type { Bound, ExpertStats, GroupState, LayerStats, MemoryStats, ModelInfo, SequenceStats } from './generated.js';
import type { ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, ChatMessage, Completion, CompletionChunk, CompletionRequest, EmbeddingRequest, EmbeddingResponse, RerankRequest, RerankResponse, TemplateOptions } from './openai.js';

export type { AdapterScale, FinishReason, TokenLogprob, Usage } from './generated.js';
export type { GroupState, ModelInfo };
export type * from './openai.js';

/**
 * Where a model comes from: a URL that `fetch` can read, relative ones too, a name of the hub, a file from the
 * person's disk, or the parts of a split GGUF in order. A URL or name that ends in `-00001-of-0000N.gguf` stands for
 * all N parts.
 *
 * Names of the hub are `hf:owner/repo` (in Q4_K_M, else in what is nearest to it), `hf:owner/repo:Q5_K_M`,
 * `hf:owner/repo/file.gguf`, each with `@revision` behind the repository where it is not `main`; `hf.co/owner/repo` is
 * the same as `hf:owner/repo`, and the addresses of the hub's pages are understood. Where more than one model fits,
 * `InvalidSource` lists them in `details.candidates`.
 */
export type ModelSource = string | URL | File | Blob | (string | URL | File | Blob)[];

/**
 * How far the start of an engine has come. It is told of at every phase, and at most 25 times a second while bytes
 * move; neither bytes nor `fraction` ever get less.
 */
export interface Progress {
  /** What is under way. */
  phase: 'header' | 'download' | 'compile' | 'ready';
  /** 0 to 1: what share of the bytes is here, as far as their number is known. */
  fraction: number;
  /** Bytes of the model that are here, its header included. */
  loadedBytes: number;
  /** Bytes of the model's files; 0 while that is not known. */
  totalBytes: number;
  /** Layers that are complete. */
  layer?: number;
  /** Layers of the model. */
  layers?: number;
}

/** A LoRA adapter that an engine is made with. */
export interface AdapterOptions {
  /** Its GGUF file: a URL, a name of the hub, a `File` or a `Blob`. */
  source: string | URL | File | Blob;
  /** What requests call it. */
  name: string;
  /** How much of it is in what requests compute that do not say: its change of the weights times this. The default is 1. */
  scale?: number;
}

/** What an engine is made with. */
export interface EngineOptions {
  /** The model to open. */
  model: ModelSource;
  /** Default `auto`. */
  device?: 'auto' | 'webgpu' | 'cpu';
  /** Tokens of context; the default is the model's own, 4096 at most. */
  contextLength?: number;
  /**
   * What becomes of a request that outgrows the context. `error`, the default: a prompt that does not fit is
   * `ContextOverflow`, and an answer ends with `length` where the context does. `shift`: what is old is left out, of a chat
   * its oldest exchanges, else what comes behind the first tokens, and `usage.dropped_tokens` counts it.
   */
  contextOverflow?: 'error' | 'shift';
  /**
   * Ceiling for weights, KV cache and scratch together, in bytes. The default is half of the device's memory,
   * where the browser tells it and what does not fit can be read from disk, else what a page can use.
   */
  maxResidentBytes?: number;
  /**
   * Layers fetched ahead of the computation where layers pass through memory; 0: each only when it is needed. By
   * default 1, and up to 3 where answers of the server are late. Layers that are read from disk need none.
   */
  prefetchDistance?: number;
  /**
   * How keys and values of the context are kept: `f16`, the default, or `q8_0`, 8-bit integers of which each 32 share a
   * scale, in about half the memory. Layers whose heads are not made of whole blocks of 32 values stay in `f16`, which
   * `warnings` says.
   */
  kvCache?: 'f16' | 'q8_0';
  /**
   * Conversations that the engine may hold at a time. On the CPU so many requests run beside one another, up to 32: what
   * they write is computed together, and is what each would write alone. Where there is no memory for another, on a GPU, or
   * where layers pass through memory, requests wait for each other. Of conversations that take turns so many are kept as
   * they are, each of which goes on at the cost of its new messages: up to 256 MB beside the engine, as blobs, which a
   * browser may move to the disk. The default is 4, and 1 under a ceiling that the caller set.
   */
  maxSequences?: number;
  /**
   * Threads that compute on the CPU, each with a shard of the model in a memory of its own; no special headers are
   * needed. The default is what the device can use, and one for small models. Where layers pass through memory or are
   * read from disk, one computes. The tokens are the same for any number.
   */
  threads?: number;
  /**
   * Whether the CPU computes in a 64-bit memory, of up to 16 GiB. `auto`, the default: where a model is to stay in memory
   * and a 32-bit one, of 4 GiB, cannot hold it; a browser that has no such memory, or refuses so much of it, gets what it
   * would without. `true` insists, and fails with `DeviceUnavailable` where that cannot be.
   */
  memory64?: 'auto' | boolean;
  /**
   * Where fetched bytes are kept: `opfs`, the default for URLs, on the person's disk, from where the model
   * opens without a request afterwards. `memory` and `none` keep nothing but what is in the engine's memory,
   * and are the same: a copy of pages beside the weights would hold them twice. Layers that pass through
   * memory under a ceiling are then fetched again in every pass.
   */
  store?: 'opfs' | 'memory' | 'none';
  /**
   * Address of the hub that `hf:` names are of, for a mirror or a server of one's own with the hub's API; the default
   * is `https://huggingface.co`.
   */
  hub?: string | URL;
  /**
   * LoRA adapters of the model, any number of which may have a part in an answer at once. The model's weights stay as they
   * are; an adapter's own are kept beside them. `InvalidModel` names the tensor of an adapter that does not fit.
   */
  adapters?: AdapterOptions[];
  /**
   * What `exportPrefix` gave, which is taken up instead of being computed: a URL, a name of the hub, or a `Blob`. It is
   * fetched while the model arrives and kept in the store as the model is. Calls wait for it. What is damaged, of
   * another model or of another version of this package is passed over with a warning in `engine.model.warnings`, and
   * its tokens are computed.
   */
  prefix?: string | URL | Blob;
  /**
   * Request headers, an access token for instance. They go to the origin of the model's first URL
   * only; a redirect to another origin does not get them.
   */
  headers?: HeadersInit;
  /** Cancels the start and, until `loaded` settles, the engine. */
  signal?: AbortSignal;
  /** Hears how far the start has come. */
  onProgress?: (progress: Progress) => void;
}

/** What a plan is made for; the fields are those of {@link EngineOptions}. */
export interface PlanOptions {
  /** As in `EngineOptions`. */
  device?: EngineOptions['device'];
  /** As in `EngineOptions`. */
  memory64?: EngineOptions['memory64'];
  /** As in `EngineOptions`. */
  contextLength?: number;
  /** As in `EngineOptions`. */
  maxResidentBytes?: number;
  /** As in `EngineOptions`. */
  prefetchDistance?: number;
  /** As in `EngineOptions`. */
  kvCache?: EngineOptions['kvCache'];
  /** As in `EngineOptions`. */
  adapters?: EngineOptions['adapters'];
  /** As in `EngineOptions`. */
  store?: EngineOptions['store'];
  /** As in `EngineOptions`. */
  hub?: EngineOptions['hub'];
  /** As in `EngineOptions`. */
  headers?: HeadersInit;
  /** Cancels the plan. */
  signal?: AbortSignal;
}

/** What opening a model would take, known from its header alone. */
export interface Plan {
  /** What the header says of the model. */
  model: Omit<ModelInfo, 'warnings' | 'hasText'>;
  /** Bytes that would still be fetched, or read from a file on the person's disk. */
  downloadBytes: number;
  /** Bytes of the model that are in the durable store already. */
  storedBytes: number;
  /** Bytes of weights that would be in memory at once. */
  weightBytes: number;
  /** Bytes of the KV cache, or of what else a sequence keeps, for the whole context: the CPU takes them as the sequence grows. */
  kvBytes: number;
  /** How keys and values would be kept: as was asked for, where some of the layers can. */
  kvCache: 'f16' | 'q8_0';
  /** Bytes of activations and the like. */
  scratchBytes: number;
  /** What would be used of memory at most. */
  budgetBytes: number;
  /**
   * What says so: the model, which needs no more; `maxResidentBytes`; the device, half of whose memory is left
   * alone where what does not fit can be read from its disk; or what a page can use of memory at all.
   */
  bound: Bound;
  /** The lowest `maxResidentBytes` that works. */
  leastBytes: number;
  /** Layers that would stay in memory; the others pass through. */
  pinnedLayers: number;
  /** Bytes that would be fetched again for every token, where layers pass through memory and nothing is stored. */
  fetchedBytesPerToken: number;
  /** Tokens of context that the figures above are for. */
  contextLength: number;
  /** What would compute. */
  device: 'webgpu' | 'cpu';
  /** Why it would be the CPU, unless that was asked for. */
  deviceReason?: string;
  /** The build that would run. */
  build: 'wasm32' | 'wasm64';
  /** Why it would be that build, where the model outgrows a 32-bit memory or `memory64` asks for a 64-bit one. */
  buildReason?: string;
  /** The vector instructions of that build. */
  simd: 'relaxed' | 'simd128';
  /** Threads that would compute. */
  threads: number;
  /** Whether it can be opened here with these options. */
  fits: boolean;
  /** Why not, or why not otherwise, in words: memory, storage, device, a context beyond that of the training. */
  reasons: string[];
  /** Storage that the browser grants this origin, where it tells. */
  quotaBytes?: number;
  /** What of it is in use, other models included. */
  usageBytes?: number;
}

/** What any call may be given. */
export interface CallOptions {
  /** Cancels the call, which then rejects with `Aborted`. */
  signal?: AbortSignal;
}

/** What a call that writes text may be given. */
export interface WritingOptions extends CallOptions {
  /**
   * Saves the conversation under this name, as `engine.sessions.save` does: when the answer ends or is cancelled, and
   * every few seconds meanwhile, so that it can go on after a reload. Where that fails, the model's `warnings` say so,
   * and the answer comes all the same. While an answer is written, models whose states cannot go back (Mamba and the
   * like) save nothing.
   */
  session?: string;
}

/** What `exportPrefix` may be given. */
export interface PrefixOptions extends Pick<TemplateOptions, 'tools' | 'chat_template' | 'chat_template_kwargs' | 'reasoning_effort'>, CallOptions {}

/** A conversation that was saved. */
export interface StoredSession {
  /** The name that it was saved by. */
  name: string;
  /** How many tokens need not be computed again. */
  tokens: number;
  /** Bytes that it takes in the store. */
  bytes: number;
  /** Milliseconds since 1970. */
  savedAt: number;
  /**
   * What had been written of the content of an answer that was not complete: to be continued with
   * `continue_final_message`.
   */
  answer?: string;
}

/**
 * Conversations of a model, kept in the store beside it: what was computed of the last call's prompt and answer. A prompt
 * that begins like it costs only what is new. They go where the model is deleted.
 */
export interface Sessions {
  /**
   * Saves what was computed last, in place of what had this name. A tab that is closed meanwhile leaves one or the
   * other. Rejects with `StoreFailed` where the model is not kept in the store, or the browser grants no room.
   */
  save(name: string, options?: CallOptions): Promise<StoredSession>;
  /** The sessions of this model, the newest first. */
  list(): Promise<StoredSession[]>;
  /**
   * Takes a session up in place of what was computed last. Rejects with `NotFound`, and with `InvalidState` where it is
   * damaged, or was saved by another version of the model or of this package; then the engine computes what it needs.
   */
  restore(name: string, options?: CallOptions): Promise<StoredSession>;
  /** Whether something was deleted. */
  delete(name: string): Promise<boolean>;
}

/** What an engine takes and has done. */
export interface EngineStats {
  /** What computes. */
  device: 'webgpu' | 'cpu';
  /** The name of the GPU. */
  adapter?: string;
  /** The build that runs. */
  build: 'wasm32' | 'wasm64';
  /** The vector instructions of that build. */
  simd: 'relaxed' | 'simd128';
  /** Threads that compute. */
  threads: number;
  /** Bytes of memory. */
  memory: MemoryStats & {
    /**
     * Memory of the wasm modules of all threads, which holds what the CPU computes with and never shrinks; and of the
     * module that reads grammars, once a request has named one.
     */
    wasmBytes: number;
    /** What of `residentBytes` is the GPU's. */
    gpuBytes: number;
  };
  /** Where the layers are, and how often they were found there. */
  layers: LayerStats;
  /** Experts of a mixture that stay on disk, and how often those that were used were in memory. */
  experts?: ExpertStats;
  /** Requests to servers, the bytes that came of them, bytes that came from the store, and attempts that were repeated. */
  source: { requests: number; fetchedBytes: number; storeBytes: number; retries: number };
  /** What the GPU was asked for a token, and which of its kernels are not used, and why. */
  gpu?: {
    dispatchesPerToken: number;
    submitsPerToken: number;
    readbackBytesPerToken: number;
    disabledKernels: string[];
  };
  /** Requests that run at a time, and what was computed of them together. */
  sequences: SequenceStats;
  /** Conversations of which the state is kept beside those that the engine holds, and the bytes of those. */
  kept: { sequences: number; bytes: number };
  /** The last finished generation. */
  last?: {
    promptTokens: number;
    completionTokens: number;
    timeToFirstTokenMs: number;
    prefillTokensPerSecond: number;
    decodeTokensPerSecond: number;
  };
  /** The state of each group of tensors: the embedding, every layer in order, the output head. */
  groups: GroupState[];
}

/** Answers chats. */
export interface ChatCompletions {
  create(body: ChatCompletionRequest & { stream: true }, options?: WritingOptions): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(body: ChatCompletionRequest & { stream?: false }, options?: WritingOptions): Promise<ChatCompletion>;
  create(body: ChatCompletionRequest, options?: WritingOptions): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
}

/** Continues texts. */
export interface Completions {
  create(body: CompletionRequest & { stream: true }, options?: WritingOptions): Promise<AsyncIterable<CompletionChunk>>;
  create(body: CompletionRequest & { stream?: false }, options?: WritingOptions): Promise<Completion>;
  create(body: CompletionRequest, options?: WritingOptions): Promise<Completion | AsyncIterable<CompletionChunk>>;
}

/** Embeds texts. */
export interface Embeddings {
  /** One embedding for each input. */
  create(body: EmbeddingRequest & { encoding_format: 'base64' }, options?: CallOptions): Promise<EmbeddingResponse<string>>;
  create(body: EmbeddingRequest & { encoding_format?: 'float' }, options?: CallOptions): Promise<EmbeddingResponse>;
  create(body: EmbeddingRequest, options?: CallOptions): Promise<EmbeddingResponse<number[] | string>>;
}

/** Ranks documents. */
export interface Rerank {
  /** The documents by how well they answer the query. Needs a model made for that, such as bge-reranker or Qwen3-Reranker. */
  create(body: RerankRequest, options?: CallOptions): Promise<RerankResponse>;
}

/** How a text becomes tokens. */
export interface TokenizeOptions {
  /** Adds the tokens that the model's file asks for. Default false. */
  addSpecial?: boolean;
  /** Reads control tokens in the text. Default false. */
  parseSpecial?: boolean;
}

/**
 * A model that answers. Generations begin in order, and so many run at a time as `stats().sequences.most` says; the other
 * calls are answered at once. Every failure is a `ChordError`.
 */
export interface Engine extends AsyncDisposable {
  /** What is known of the model. */
  readonly model: ModelInfo;
  /**
   * Resolves when every byte of the model is local; where layers pass through memory from a server, when memory has what it
   * can hold.
   */
  readonly loaded: Promise<void>;
  /**
   * With `stream: true` an AsyncIterable: leaving the loop cancels. A stream that nobody reads keeps
   * its place until another call has waited for five seconds; then it ends with `Aborted`.
   */
  readonly chat: { readonly completions: ChatCompletions };
  /** Continues texts. */
  readonly completions: Completions;
  /** Embeds texts. */
  readonly embeddings: Embeddings;
  /** Ranks documents. */
  readonly rerank: Rerank;
  /** Conversations that outlive the page. */
  readonly sessions: Sessions;
  /** The tokens of a text. */
  tokenize(text: string, options?: TokenizeOptions): Promise<number[]>;
  /** The text of tokens. */
  detokenize(tokens: number[]): Promise<string>;
  /** The prompt that a chat comes to. */
  applyChatTemplate(messages: ChatMessage[], options?: TemplateOptions): Promise<string>;
  /** Tokens of a text, or of messages rendered through the chat template. */
  countTokens(input: string | ChatMessage[]): Promise<number>;
  /**
   * Computes a text, or messages that others will follow, such as a long system prompt, and gives what was computed as
   * bytes, for the `prefix` of engines of the same model.
   */
  exportPrefix(input: string | ChatMessage[], options?: PrefixOptions): Promise<Blob>;
  /** What the engine takes and has done. */
  stats(): Promise<EngineStats>;
  /** Ends the workers and frees everything, as happens to an engine that nobody holds any more; calls that have not ended reject with `Disposed`. */
  dispose(): Promise<void>;
}

/** A model in the durable store. */
export interface StoredModel {
  /** The source it was fetched from. */
  source: string;
  /** Bytes of the model. */
  bytes: number;
  /** Bytes of the model that are stored. */
  storedBytes: number;
  /** Whether all of its bytes are stored. */
  complete: boolean;
  /** Bytes of its saved sessions, beside those. */
  sessionBytes: number;
  /** Milliseconds since 1970. */
  lastUsed: number;
}

/** Where names of the hub lead, as in `EngineOptions`. */
export interface HubOptions {
  /** As in `EngineOptions`. */
  hub?: EngineOptions['hub'];
}

/** What is kept on this device. */
export interface ModelStore {
  /** The models in the store. */
  list(): Promise<StoredModel[]>;
  /** Whether every stored byte of the model is intact and all are there. */
  verify(model: ModelSource, options?: HubOptions): Promise<boolean>;
  /** Whether something was deleted. Rejects with `StoreFailed` while the model is in use. */
  delete(model: ModelSource, options?: HubOptions): Promise<boolean>;
  /** Asks the browser to keep what is stored when space gets scarce, which it may ask the person. Whether it will. */
  persist(): Promise<boolean>;
  /** What is in use and what is granted of storage; `persisted`: the browser deletes nothing by itself. */
  estimate(): Promise<{ usageBytes: number; quotaBytes: number; persisted: boolean }>;
}
