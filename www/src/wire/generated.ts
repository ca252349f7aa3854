/**
 * What the scripts have of the core, written by a test of the core from its own definitions. To change it, change those
 * and run `CHORD_UPDATE=1 cargo test --lib typescript`.
 */

/** Stable codes of `ChordError`. */
export type ChordErrorCode =
  /** A GGUF version or byte order that is not supported. */
  | 'UnsupportedGguf'
  /** `general.architecture` names an architecture that is not supported. */
  | 'UnsupportedArchitecture'
  /** A tensor has a type that is not supported. */
  | 'UnsupportedTensorType'
  /** Metadata or tensors contradict each other or the architecture. */
  | 'InvalidModel'
  /** A saved sequence is damaged, or was computed by another model or build; `details.reason` says which. */
  | 'InvalidState'
  /** The weights produce NaN or infinity. */
  | 'NonFinite'
  /** The prompt does not fit the context; `details` has `need` and `have`. */
  | 'ContextOverflow'
  /** The chat template fails, loops, or raises an exception. */
  | 'TemplateFailed'
  /** `maxResidentBytes` cannot work; `details` has `need` and `have`. */
  | 'BudgetTooSmall'
  /** The GPU cannot run this model, and the CPU can. */
  | 'GpuUnsuited'
  /** The GPU was lost, and with it what was asked for. */
  | 'DeviceLost'
  /** The bytes are not a well-formed GGUF file. */
  | 'InvalidGguf'
  /** A request or option has a value that is not allowed; `details.name` says which. */
  | 'InvalidParameter'
  /** Memory could not be allocated; `details.bytes` says how much was asked for, where that is known. */
  | 'OutOfMemory'
  /** What is kept on disk could not be read or written, or is in use. */
  | 'StoreFailed'
  /** A defect of this package: an assertion failed. */
  | 'Internal'
  /** The caller cancelled; `cause` is the signal's reason. */
  | 'Aborted'
  /** The model source cannot be used: its scheme, its name, its number of parts. */
  | 'InvalidSource'
  /** The server, the hub or the store has no such model. */
  | 'NotFound'
  /** The connection failed or broke, more often than is retried. */
  | 'Network'
  /** The server answered with a status or headers that cannot be used; `details.status`. Retryable by the status. */
  | 'Http'
  /** A server hides response headers from this page; `details.headers` names them. */
  | 'CorsHeaders'
  /** The file changed while it was read. */
  | 'SourceChanged'
  /** A server or worker did not answer in time. */
  | 'Timeout'
  /** A worker could not be started or died. */
  | 'WorkerFailed'
  /** The core trapped. The engine is lost; a new one works. */
  | 'EnginePanicked'
  /** The engine was disposed. */
  | 'Disposed'
  /** More calls wait than the queue holds. */
  | 'QueueFull'
  /** The device or build that was asked for is not available here. */
  | 'DeviceUnavailable'
  /** The browser lacks something that is required; `details.feature` says what. */
  | 'UnsupportedBrowser';

/** Codes after which the same call, or a new engine, may succeed later. */
export const RETRYABLE: ReadonlySet<ChordErrorCode> = new Set<ChordErrorCode>([
  'DeviceLost',
  'OutOfMemory',
  'StoreFailed',
  'Network',
  'SourceChanged',
  'Timeout',
  'WorkerFailed',
  'EnginePanicked',
  'QueueFull',
]);

/** The states of groups by the core's numbers. */
export const GROUP_STATES: readonly GroupState[] = ['absent', 'fetching', 'ring', 'pinned', 'computing', 'stored'];

/** What is asked for is not there yet. */
export const PENDING = 0;
/** What is asked for is there. */
export const READY = 1;
/** What is asked for is gone, and will not come. */
export const LOST = 2;

/**
 * Where the bytes of a group of tensors are. `absent`: still to be fetched, or fetched again. `fetching`: on its way
 * into memory, or to the disk from which it is computed. `stored`: not, or of a mixture not all, in memory, but all its
 * bytes are on the person's disk. `ring`: in memory, passing through. `pinned`: in memory, to stay. `computing`: what is computed now,
 * from memory or from disk.
 */
export type GroupState = 'absent' | 'fetching' | 'ring' | 'pinned' | 'computing' | 'stored';

/** Why a choice ended. `tool_calls`: the model has called tools and waits for their results. Only chats end so. */
export type FinishReason = 'stop' | 'length' | 'tool_calls';

/** Tokens of a request, as OpenAI counts them. */
export type Usage = {
  /** Tokens of the prompt. */
  prompt_tokens: number;
  /** Tokens of all choices. */
  completion_tokens: number;
  /** Both together. */
  total_tokens: number;
  /** Prompt tokens whose keys and values were in the cache already. */
  prompt_tokens_details: {
    /** How many they are. */
    cached_tokens: number;
  };
  /** Tokens of all choices that are told apart from their answers. */
  completion_tokens_details: {
    /** How many are of thoughts, with the marks around them. */
    reasoning_tokens: number;
  };
  /** Tokens of older messages, and of the text so far, that were left out because the context was full. */
  dropped_tokens?: number;
};

/** Tokens that were guessed. */
export type Tally = {
  /** All of them. */
  drafted: number;
  /** Those that were right. */
  accepted: number;
};

/** A token and its natural log probability under the untempered softmax. */
export type TokenLogprob = {
  /** The token's number in the vocabulary. */
  id: number;
  /** Its text. */
  token: string;
  /** The bytes of its text, which need not be whole characters. */
  bytes: Array<number>;
  /** The natural logarithm of its probability. */
  logprob: number;
};

/** A chosen token and its best alternatives. */
export type CoreLogprob = {
  /** The alternatives, best first. */
  top: Array<TokenLogprob>;
  /** The token's number in the vocabulary. */
  id: number;
  /** Its text. */
  token: string;
  /** The bytes of its text, which need not be whole characters. */
  bytes: Array<number>;
  /** The natural logarithm of its probability. */
  logprob: number;
};

/** A call that begins, or more of its arguments. */
export type CallDelta = {
  /** Which call of the answer. */
  index: number;
  /** The id that the model gave it, if it did. */
  id?: string;
  /** Where the call begins: the tool's name. */
  name?: string;
  /** More of the arguments, which are JSON. */
  arguments: string;
};

/** What a step came to. */
export type StepEvent = {
  type: 'wait';
  /** Its number. */
  group: number;
} | {
  type: 'device';
} | {
  type: 'lost';
} | {
  type: 'work';
} | {
  type: 'token';
  /** Which of the `n` choices. */
  choice: number;
  /** More of the answer. */
  text: string;
  /** More of the reasoning before the answer. */
  reasoning?: string;
  /** Calls of tools, and more of their arguments. */
  calls?: Array<CallDelta>;
  /** The tokens whose text is released, with the alternatives that were asked for. */
  logprobs?: Array<CoreLogprob>;
} | {
  type: 'finish';
  /** Which of the `n` choices. */
  choice: number;
  /** The last of the answer. */
  text: string;
  /** The last of the reasoning. */
  reasoning?: string;
  /** The last of the calls. */
  calls?: Array<CallDelta>;
  /** Why it has ended. */
  finish_reason: FinishReason;
  /** The last tokens whose text is released. */
  logprobs?: Array<CoreLogprob>;
} | {
  type: 'done';
  /** Tokens of the prompt and of all choices. */
  usage: Usage;
  /** Tokens that were guessed, and those of them that were right. */
  draft: Tally;
  /** What each input came to that was to be embedded. */
  embeddings?: Array<Array<number>>;
  /** What each document came to. */
  scores?: Array<number>;
};

/** How keys and values are kept. */
export type KvFormat = 'f16' | 'q8_0';

/** What becomes of a request that outgrows the context. */
export type ContextOverflow = 'error' | 'shift';

/** An adapter of the engine, or in a request, and how much of it: its change of the weights is multiplied by `scale`. */
export type AdapterScale = {
  /** As the caller calls it. */
  name: string;
  /** 1 where nothing else is said; 0 leaves the model as it is. */
  scale?: number;
};

/** What a model is opened with, as JavaScript names it; each option may be left out. */
export type CoreOptions = {
  /** Tokens of context; without it the model's own, up to a limit. */
  contextLength?: number;
  /** What becomes of a request that outgrows it. */
  contextOverflow?: ContextOverflow;
  /** Ceiling for weights, cache and scratch, in bytes. */
  maxResidentBytes?: number;
  /** Memory of the device, where it is known. */
  deviceBytes?: number;
  /**
   * The caller named the device: a ceiling that is too small for it is an error, and no reason to compute on
   * the CPU.
   */
  isDeviceNamed?: boolean;
  /** How keys and values are kept, in half precision unless something else is asked for. */
  kvCache?: KvFormat;
  /** Groups that the ring holds at most. */
  prefetchDistance?: number;
  /**
   * The source is on disk, in the store or as a file of the person's: matrices that do not fit the ceiling
   * are read from there while they are multiplied, instead of passing through the ring.
   */
  fromDisk?: boolean;
  /**
   * Bytes to read from disk at once where the ceiling has room for them: a browser takes its time to begin
   * with a file of the person's.
   */
  readBytes?: number;
  /**
   * Requests that may run at a time on the CPU, each with a sequence of its own, where that needs no more memory than
   * is allowed; without it there is one.
   */
  maxSequences?: number;
  /** Threads that may compute on the CPU; without it there is one. */
  threads?: number;
  /** Bytes of weights for each of them at least: fewer threads compute a smaller model. */
  threadBytes?: number;
  /** LoRA adapters, whose files follow the model's parts. */
  adapters?: Array<AdapterScale>;
  /** What the memory of this build holds beside the tokenizer, where that is less than its pointers reach. */
  addressableBytes?: number;
};

/** What a model's header says of it. */
export type ModelDescription = {
  /** The architecture, as the file names it. */
  architecture: string;
  /** The model's name, or its architecture where it has none. */
  name: string;
  /** Layers between the embedding and the head. */
  layers: number;
  /** Tokens of context that the engine is opened with. */
  contextLength: number;
  /** Tokens of context that the model was trained for. */
  trainedContextLength: number;
  /** Tokens of the vocabulary. */
  vocabularySize: number;
  /** The tensor type that most of the weights' bytes are of. */
  quantization: string;
  /**
   * Whether the file brings a chat template. Without one, chats go through ChatML if the vocabulary has its tokens,
   * and fail with `TemplateFailed` if not.
   */
  hasChatTemplate: boolean;
  /** The file's metadata; long arrays are left out. */
  metadata: Record<string, unknown>;
};

/** An open model. */
export type ModelInfo = {
  /** What was found odd about the file but can be lived with; more may be found while the engine is open. */
  warnings: Array<string>;
  /** False for a model whose vocabulary has no text: it takes and gives token ids. */
  hasText: boolean;
  /** The architecture, as the file names it. */
  architecture: string;
  /** The model's name, or its architecture where it has none. */
  name: string;
  /** Layers between the embedding and the head. */
  layers: number;
  /** Tokens of context that the engine is opened with. */
  contextLength: number;
  /** Tokens of context that the model was trained for. */
  trainedContextLength: number;
  /** Tokens of the vocabulary. */
  vocabularySize: number;
  /** The tensor type that most of the weights' bytes are of. */
  quantization: string;
  /**
   * Whether the file brings a chat template. Without one, chats go through ChatML if the vocabulary has its tokens,
   * and fail with `TemplateFailed` if not.
   */
  hasChatTemplate: boolean;
  /** The file's metadata; long arrays are left out. */
  metadata: Record<string, unknown>;
};

/** What says how much memory a model may take. */
export type Bound = 'model' | 'caller' | 'device' | 'addressSpace';

/** Bytes by purpose, computed from the header alone. */
export type MemoryPlan = {
  /** Weights that are in memory at once. */
  weightBytes: number;
  /** The KV cache, or what else a sequence keeps. */
  kvBytes: number;
  /** How keys and values are kept: as was asked for, where some of the layers can. */
  kvCache: KvFormat;
  /** Activations and the like. */
  scratchBytes: number;
  /** The ceiling in force. */
  budgetBytes: number;
  /** Where the ceiling comes from. */
  bound: Bound;
  /** The lowest ceiling that works. */
  leastBytes: number;
  /** Slots through which the others pass. */
  ring: number;
  /** Layers that stay in memory. */
  pinnedLayers: number;
  /** Layers of the model. */
  layers: number;
  /** Bytes of the groups that pass through the ring, which every pass takes from the source again. */
  passingBytes: number;
  /** Bytes of experts that stay on disk, of which a token uses few. */
  expertBytes: number;
  /** Memory for those of them that are used most. */
  expertCacheBytes: number;
  /** Threads that compute. Where a part of the model passes through memory, or stays on disk, there is one. */
  threads: number;
};

/** What opening a model would take. */
export type CorePlan = {
  /** What its header says. */
  model: ModelDescription;
  /** Bytes of its tensors. */
  downloadBytes: number;
  /** Bytes by purpose; without the caller's ceiling where that is too low. */
  memory: MemoryPlan;
  /** Why the model cannot be opened under the ceiling that was asked for. */
  reason?: string;
  /** Why the device cannot run it, so that the figures are the CPU's. */
  unsuited?: string;
};

/**
 * Requests that run at a time: each has a sequence of its own, and where they write they go on together, in passes of a
 * token each.
 */
export type SequenceStats = {
  /** How many may run at a time. */
  most: number;
  /** How many run. */
  running: number;
  /** How many had a token in the last pass that was one of several. */
  together: number;
  /** Such passes since the model was opened. */
  passes: number;
  /** Tokens that they computed. */
  tokens: number;
};

/** Bytes of memory that the core takes of whatever computes. */
export type MemoryStats = {
  /** Weights, KV cache and scratch that are there now. */
  residentBytes: number;
  /** The most that they ever were. */
  peakResidentBytes: number;
  /** The ceiling that they stay under. */
  budgetBytes: number;
  /**
   * The KV cache, or what else a sequence keeps, for the whole context: the CPU takes memory for it as the sequence
   * grows, so that `residentBytes` has less of it at first.
   */
  kvBytes: number;
  /** How keys and values are kept. */
  kvCache: KvFormat;
};

/**
 * Visits are those of the layers, of the embedding and of the head: `hits` are those that found it in memory, or all of it
 * but experts, `syncLoads` those that had to wait for it, and `direct` those of one on disk that was read while it was
 * multiplied.
 */
export type LayerStats = {
  /** Layers of the model. */
  total: number;
  /** Layers that stay in memory. */
  pinned: number;
  /** Slots of memory that the other layers pass through. */
  ring: number;
  /** Bytes of the layers that pass through memory, each fetched or read again for every pass. */
  passingBytes: number;
  /** Visits that found their layer in memory. */
  hits: number;
  /** Visits that had to wait for their layer. */
  syncLoads: number;
  /** Visits of a layer on disk that was read while it was multiplied. */
  direct: number;
  /** Layers whose bytes had all come before their visit. */
  prefetched: number;
  /** Layers that left memory for another. */
  evictions: number;
};

/**
 * Experts that stay on disk, and memory for those of them that are used most. What is counted are an expert's matrices,
 * each once for a token, or for the tokens of a batch that chose it.
 */
export type ExpertStats = {
  /** Bytes of all experts. */
  bytes: number;
  /** Memory for some of them. */
  cacheBytes: number;
  /** Matrices that were in memory when they were needed. */
  hits: number;
  /** Matrices that were read. */
  reads: number;
};

/** What a GPU is, what it was asked to do, and what it is not trusted with. One that was given up has figures of 0. */
export type DeviceStats = {
  /** Its name, where it is in use. */
  adapter?: string;
  /** Whether it computes on the CPU. */
  software: boolean;
  /** Whether kernels that use subgroups are in use. */
  subgroups: boolean;
  /** What prompts are multiplied in, where that is done by tiles. */
  arithmetic: string | null;
  /** Bytes of its largest buffer. */
  bufferBytesMax: number;
  /** Dispatches of the last pass of a single token. */
  dispatchesPerToken: number;
  /** Submits of that pass. */
  submitsPerToken: number;
  /** Bytes that came back from that pass. */
  readbackBytesPerToken: number;
  /** Dispatches of that pass's first layer. */
  dispatchesPerLayer: number;
  /** Passes that were sent before the token before them was known. */
  passesAhead: number;
  /** Submits since the device was opened. */
  submits: number;
  /** Dispatches since then. */
  dispatches: number;
  /** Bytes that came back since then. */
  readbackBytes: number;
  /** Bytes that went to the device since then. */
  uploadedBytes: number;
  /** Buffers that were made since then. */
  buffers: number;
  /** Bind groups that were made since then. */
  bindGroups: number;
  /** Kernels that are not used, and why. */
  disabledKernels: Array<string>;
};

/** What an open model takes, and how its passes went. */
export type CoreStats = {
  /** What computes. */
  device: 'webgpu' | 'cpu';
  /** Threads that compute. */
  threads: number;
  /** Requests that run at a time, and what was computed of them together. */
  sequences: SequenceStats;
  /** Bytes of memory. */
  memory: MemoryStats;
  /** The layers and their visits. */
  layers: LayerStats;
  /** Experts that stay on disk, where there are some. */
  experts?: ExpertStats;
  /** The GPU, where one is in use or was given up because its kernels were wrong. */
  gpu?: DeviceStats;
};
