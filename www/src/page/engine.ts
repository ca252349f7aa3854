/** The engine as the page sees it. */

import { CallQueue } from './calls.js';
import { EngineClient } from './engine-client.js';
import { ChordError, aborted, fromWire, invalidParameter, throwIfAborted } from '../wire/errors.js';
import { chatShape, collect, completionShape, newIdentity, stream, type Shape } from './openai.js';
import { checkFields } from './fields.js';
import { held, type PlainEngine } from './held-engine.js';
import { openRequest } from './options.js';
import type { FromEngine, OpenRequest, Queries, QueryName, Task } from '../wire/protocol.js';
import { prepareChat, prepareCompletion, prepareCount, prepareEmbeddings, preparePrefix, prepareRerank, prepareTemplate, wellFormed, type Prepared } from './requests.js';
import type {
  CallOptions, ChatCompletions, ChatMessage, Completions, EmbeddingRequest, EmbeddingResponse, Embeddings,
  Engine, EngineOptions, EngineStats, ModelInfo, PrefixOptions, Progress, Rerank, RerankRequest, RerankResponse, Sessions, StoredSession, TemplateOptions, Timings, TokenizeOptions,
  Usage, WritingOptions,
} from '../wire/types.js';

/** A promise and the means to settle it. A rejection that nobody awaits is not reported. */
class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: ChordError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => undefined);
  }
}

/** What a request without a text comes to. */
interface Result {
  embeddings?: number[][];
  scores?: number[];
}

/** The name of a session. */
function checkName(field: string, name: unknown): string {
  if (typeof name !== 'string' || name === '') throw invalidParameter(field, `${field} must be the name of a session, a string that is not empty`);
  return wellFormed(name);
}

class WorkerEngine implements PlainEngine {
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: Completions;
  readonly embeddings: Embeddings;
  readonly rerank: Rerank;
  readonly sessions: Sessions;
  /** Resolves when the header and tokeniser are in. */
  readonly opened = new Deferred<void>();
  #loaded = new Deferred<void>();
  #isLoaded = false;
  /** Whether bytes are on their way, so that `loaded` will settle. */
  #isLoading = true;
  #model: ModelInfo | undefined;
  /** Why nothing works any more. */
  #ended: ChordError | undefined;
  readonly #client: EngineClient;
  readonly #queue: CallQueue;
  #onProgress: ((progress: Progress) => void) | undefined;
  #unlisten: () => void = () => undefined;

  constructor(request: OpenRequest, options: EngineOptions) {
    this.#onProgress = options.onProgress;
    this.#client = new EngineClient({
      message: (message) => this.#receive(message),
      isAwaited: () => this.#isLoading || this.#queue.isBusy,
      died: (error) => this.#end(error),
    });
    this.#queue = new CallQueue((message) => this.#client.send(message));
    this.chat = { completions: { create: this.#creator(chatShape, 'chatcmpl', prepareChat) as ChatCompletions['create'] } };
    this.completions = { create: this.#creator(completionShape, 'cmpl', prepareCompletion) as Completions['create'] };
    this.embeddings = { create: ((body, callOptions) => this.#embed(body, callOptions)) as Embeddings['create'] };
    this.rerank = { create: (body, callOptions) => this.#rank(body, callOptions) };
    this.sessions = {
      save: (name, callOptions) => this.#keep('save', name, callOptions),
      list: () => this.#ask('listSessions', {}),
      restore: (name, callOptions) => this.#keep('restore', name, callOptions),
      delete: async (name) => this.#ask('deleteSession', { name: checkName('name', name) }),
    };
    this.#follow(options.signal);
    this.#client.send({ type: 'open', request });
  }

  get model(): ModelInfo {
    if (!this.#model) throw new ChordError('Internal', 'the model is not open');
    return this.#model;
  }

  get loaded(): Promise<void> {
    return this.#loaded.promise;
  }

  async tokenize(text: string, options: TokenizeOptions = {}): Promise<number[]> {
    if (typeof text !== 'string') throw invalidParameter('text', 'text must be a string');
    checkFields('the options of tokenize', options);
    const { addSpecial = false, parseSpecial = false } = options;
    return this.#ask('tokenize', { text: wellFormed(text), addSpecial, parseSpecial });
  }

  async detokenize(tokens: number[]): Promise<string> {
    const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >= 0 && (id as number) < this.model.vocabularySize;
    if (!Array.isArray(tokens) || !tokens.every(isId)) throw invalidParameter('tokens', 'tokens must be ids of the vocabulary');
    return this.#ask('detokenize', { tokens });
  }

  async applyChatTemplate(messages: ChatMessage[], options?: TemplateOptions): Promise<string> {
    return this.#ask('applyChatTemplate', { json: prepareTemplate(messages, options) });
  }

  async countTokens(input: string | ChatMessage[]): Promise<number> {
    return this.#ask('countTokens', { json: prepareCount(input) });
  }

  async exportPrefix(input: string | ChatMessage[], options: PrefixOptions = {}): Promise<Blob> {
    this.#throwIfEnded();
    const event = await this.#queue.submit({ kind: 'export', input: preparePrefix(input, options) }, options.signal).next();
    if (event?.type !== 'prefix') throw new ChordError('Internal', 'the engine worker gave no prefix');
    return event.prefix;
  }

  async stats(): Promise<EngineStats> {
    return this.#ask('stats', {});
  }

  dispose(): Promise<void> {
    this.#end(new ChordError('Disposed', 'the engine was disposed'));
    return Promise.resolve();
  }

  async #ask<Name extends QueryName>(name: Name, ask: Queries[Name]['ask']): Promise<Queries[Name]['answer']> {
    this.#throwIfEnded();
    return this.#client.query(name, ask);
  }

  /** Saves or restores a session, in its turn among the calls. */
  async #keep(kind: 'save' | 'restore', name: string, options: CallOptions = {}): Promise<StoredSession> {
    this.#throwIfEnded();
    checkFields('the options of a call', options);
    const event = await this.#queue.submit({ kind, name: checkName('name', name) }, options.signal).next();
    if (event?.type !== 'session') throw new ChordError('Internal', 'the engine worker gave no session');
    return event.session;
  }

  #creator<Body, Whole, Chunk extends { usage?: Usage | null; timings?: Timings }>(
    shape: Shape<Whole, Chunk>, prefix: string, prepare: (body: Body) => Prepared,
  ): (body: Body, options?: WritingOptions) => Promise<Whole | AsyncIterable<Chunk>> {
    return async (body, options = {}) => {
      this.#throwIfEnded();
      checkFields('the options of a call that writes', options);
      const { session } = options;
      const prepared = prepare(body);
      const identity = newIdentity(prefix, this.model.name);
      const task: Task = { kind: 'request', request: prepared.json, ...session === undefined ? {} : { session: checkName('session', session) } };
      const call = this.#queue.submit(task, options.signal);
      if (!prepared.stream) return collect(call, shape, identity);
      await call.begun;
      return stream(call, shape, identity, prepared.includeUsage);
    };
  }

  async #embed(body: EmbeddingRequest, options: CallOptions = {}): Promise<EmbeddingResponse<number[] | string>> {
    this.#throwIfEnded();
    const { requests, shape } = prepareEmbeddings(body);
    const data: EmbeddingResponse<number[] | string>['data'] = [];
    const usage = await this.#each(requests, options, ({ embeddings }) => {
      if (!embeddings) throw new ChordError('Internal', 'the core gave no embeddings');
      for (const vector of embeddings) data.push({ object: 'embedding', index: data.length, embedding: shape(vector) });
    });
    return { object: 'list', data, model: this.model.name, usage };
  }

  async #rank(body: RerankRequest, options: CallOptions = {}): Promise<RerankResponse> {
    this.#throwIfEnded();
    const { requests, texts, count } = prepareRerank(body);
    const results: RerankResponse['results'] = [];
    const usage = await this.#each(requests, options, ({ scores }) => {
      if (!scores) throw new ChordError('Internal', 'the core gave no scores');
      for (const score of scores) {
        const index = results.length;
        const document = body.return_documents ? { document: { text: texts[index] ?? '' } } : {};
        results.push({ index, relevance_score: score, ...document });
      }
    });
    // Sorting keeps the order of equal scores.
    results.sort((a, b) => b.relevance_score - a.relevance_score);
    return { object: 'list', model: this.model.name, results: results.slice(0, count), usage };
  }

  /** Makes requests one after the other, takes what each came to, and gives the tokens of all. */
  async #each(requests: Prepared[], options: CallOptions, take: (result: Result) => void): Promise<EmbeddingResponse['usage']> {
    checkFields('the options of a call', options);
    const usage = { prompt_tokens: 0, total_tokens: 0 };
    for (const prepared of requests) {
      const event = await this.#queue.submit({ kind: 'request', request: prepared.json }, options.signal).next();
      if (event?.type !== 'done') throw new ChordError('Internal', 'the core gave no result');
      take(event);
      usage.prompt_tokens += event.usage.prompt_tokens;
      usage.total_tokens += event.usage.total_tokens;
      this.#throwIfEnded();
    }
    return usage;
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case 'progress':
        this.#progress(message.progress);
        break;
      case 'opened':
        this.#model = message.model;
        this.#queue.allow(message.requestsMax);
        this.opened.resolve();
        break;
      case 'refused':
        this.#end(fromWire(message.error));
        break;
      case 'loaded':
        this.#finishLoading();
        break;
      case 'loadFailed':
        this.#isLoading = false;
        this.#loaded.reject(fromWire(message.error));
        break;
      case 'warning':
        this.#model?.warnings.push(message.message);
        break;
      case 'loadResumed':
        // Who asks from now on waits for the new attempt.
        this.#isLoading = true;
        this.#loaded = new Deferred();
        break;
      case 'accepted':
        this.#queue.accepted(message.call);
        break;
      case 'event':
        this.#queue.event(message.call, message.event);
        break;
      case 'callFailed':
        this.#queue.failed(message.call, fromWire(message.error));
        break;
    }
  }

  #progress(progress: Progress): void {
    try {
      this.#onProgress?.(progress);
    } catch (thrown) {
      // A defect of the caller's function must not stop the engine, nor go unseen.
      reportError(thrown);
    }
  }

  #finishLoading(): void {
    this.#isLoaded = true;
    this.#isLoading = false;
    // It may hold the engine.
    this.#onProgress = undefined;
    this.#unlisten();
    this.#loaded.resolve();
  }

  /** Cancels start and loading when `signal` aborts. */
  #follow(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const stop = (): void => this.#end(aborted(signal));
    signal.addEventListener('abort', stop, { once: true });
    this.#unlisten = () => signal.removeEventListener('abort', stop);
  }

  #throwIfEnded(): void {
    if (!this.#ended) return;
    const { code, message, retryable, details } = this.#ended;
    throw new ChordError(code, message, { cause: this.#ended, retryable, details });
  }

  /** Ends everything with `error`: the worker, its connections, and every promise that is pending. */
  #end(error: ChordError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#unlisten();
    this.#client.close(error);
    this.#queue.failAll(error);
    this.opened.reject(error);
    if (!this.#isLoaded) this.#loaded.reject(error);
  }
}

/**
 * Opens a model. Resolves when its header and tokeniser are in; the weights stream on, and a call may
 * be made at once. Rejects with `ChordError`. An engine that nobody holds any more is disposed.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const request = openRequest(options);
  throwIfAborted(options.signal);
  const engine = new WorkerEngine(request, options);
  await engine.opened.promise;
  return held(engine);
}
