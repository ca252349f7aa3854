// Stands in for the package in tests of the demo page: an engine that says what the test tells it to.
// The test sets `globalThis.script` before the page loads:
//   answer      what the engine says (default "Hello there.")
//   reasoning   what it thinks first, told apart by the package
//   pieceLength how many characters of it come at once (default 1)
//   paceMs      the pause before each piece (default 0)
//   name        the model's name
//   planBytes   what `plan` says would be downloaded (default 1000)
//   failures    errors thrown by successive calls of `create`, as { code, message, details }
//   groups      what stats() says of the groups
//   traffic     its fetchedBytes and storeBytes
//   loadFailure the same for `createEngine`
//   planFailure the same for `plan`
//   layers, quantization, contextLength, totalBytes   facts of the model
//   hold        the share of the bytes at which loading stays until it is cancelled
//   storedBytes what `plan` says is on the disk already
//   stored      what modelStore.list() gives
//   unsound     what verify() says is not sound, by its source
//   inUse       what delete() refuses, by its source

const script = globalThis.script ?? {};
const seen = (globalThis.seen = { requests: [], engines: [], disposed: 0, stored: [...(script.stored ?? [])] });

export class ChordError extends Error {
  constructor({ code, message, details, retryable = false }) {
    super(message);
    Object.assign(this, { code, details, retryable });
  }
}

const model = {
  architecture: 'llama',
  name: script.name ?? 'Stub',
  layers: script.layers ?? 4,
  contextLength: script.contextLength ?? 512,
  trainedContextLength: 512,
  vocabularySize: 100,
  quantization: script.quantization ?? 'Q8_0',
  metadata: {},
  warnings: [],
  hasText: true,
  hasChatTemplate: true,
};

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const cancel = () => reject(new ChordError({ code: 'Aborted', message: 'the call was cancelled' }));
    if (signal?.aborted) return cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    setTimeout(resolve, milliseconds);
  });
}

export async function plan() {
  if (script.planFailure) throw new ChordError(script.planFailure);
  const downloadBytes = script.planBytes ?? 1000;
  return {
    model, downloadBytes, storedBytes: script.storedBytes ?? 0, leastBytes: 1000, budgetBytes: downloadBytes + 2000, weightBytes: downloadBytes, kvBytes: 1000, scratchBytes: 1000, contextLength: 512,
    device: 'cpu', build: 'wasm32', simd: 'simd128', fits: true, reasons: [],
  };
}

async function* stream(signal) {
  const { answer = 'Hello there.', reasoning, pieceLength = 1, paceMs = 0 } = script;
  if (reasoning) yield { choices: [{ index: 0, delta: { reasoning_content: reasoning }, finish_reason: null }] };
  for (let at = 0; at < answer.length; at += pieceLength) {
    await pause(paceMs, signal);
    yield { choices: [{ index: 0, delta: { content: answer.slice(at, at + pieceLength) }, finish_reason: null }] };
  }
  yield {
    choices: [{ index: 0, delta: {}, finish_reason: 'stop' }],
    timings: { predicted_n: 12, predicted_per_second: 20, prompt_n: 5, prompt_ms: 50, prompt_per_second: 100 },
  };
}

export const modelStore = {
  async list() {
    return seen.stored;
  },
  async verify(source) {
    return source !== script.unsound;
  },
  async delete(source) {
    if (source === script.inUse) throw new ChordError({ code: 'StoreFailed', message: 'in use', details: { reason: 'in use' } });
    seen.stored = seen.stored.filter((model) => model.source !== source);
    return true;
  },
  async persist() {
    return (seen.persisted = true);
  },
  async estimate() {
    return { usageBytes: 1.1e9, quotaBytes: 12e9, persisted: seen.persisted ?? false };
  },
};

export async function createEngine({ model: source, onProgress, signal, ...options }) {
  if (script.loadFailure) throw new ChordError(script.loadFailure);
  seen.engines.push({ source: String(source), ...options });
  const speed = options.maxResidentBytes ? 5 : 20;
  const { totalBytes = 1000 } = script;
  const { layers } = model;
  let answered = false;
  // It is held at its share once only: who loads again gets all of it.
  const share = seen.engines.length === 1 ? script.hold ?? 1 : 1;
  for (let layer = 0; layer <= layers * share; layer += 1) {
    onProgress({ phase: 'download', fraction: layer / layers, loadedBytes: (totalBytes * layer) / layers, totalBytes, layer, layers });
  }
  if (share < 1) onProgress({ phase: 'download', fraction: share, loadedBytes: totalBytes * share, totalBytes, layer: Math.floor(layers * share), layers });
  const loaded = share < 1 ? new Promise((_, reject) => {
    const end = (error) => reject(new ChordError(error));
    globalThis.failLoading = end;
    signal?.addEventListener('abort', () => end({ code: 'Aborted', message: 'cancelled' }), { once: true });
  }) : Promise.resolve();
  loaded.catch(() => undefined);
  return {
    model,
    loaded,
    chat: {
      completions: {
        async create(body, { signal }) {
          seen.requests.push(structuredClone(body));
          const failure = script.failures?.shift();
          if (failure) throw new ChordError(failure);
          answered = true;
          return stream(signal);
        },
      },
    },
    async stats() {
      return {
        device: 'cpu', build: 'wasm32', simd: 'simd128', threads: 1,
        memory: { residentBytes: 1e6, peakResidentBytes: 1e6, budgetBytes: 1e9, wasmBytes: 2e6, gpuBytes: 0, kvBytes: 1e5 },
        layers: { total: 4, pinned: 4, ring: 0, hits: 0, syncLoads: 0, prefetched: 0, evictions: 0 },
        source: { requests: 1, fetchedBytes: 1000, storeBytes: 0, retries: 0, ...script.traffic },
        groups: script.groups ?? Array(layers + 2).fill('pinned'),
        ...answered ? { last: { promptTokens: 5, completionTokens: 12, timeToFirstTokenMs: 50, prefillTokensPerSecond: 100, decodeTokensPerSecond: speed } } : {},
      };
    },
    async dispose() {
      seen.disposed += 1;
    },
  };
}
