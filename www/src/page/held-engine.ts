/**
 * The engine that the caller holds. It stands before the one that the workers' messages reach, and nothing in the
 * page refers to it: once nobody holds it any more, the engine behind it is disposed.
 */

import type { ChatCompletions, ChatMessage, Completions, Embeddings, Engine, EngineStats, ModelInfo, PrefixOptions, Rerank, Sessions, TemplateOptions, TokenizeOptions } from '../wire/types.js';

/** What the holder stands before: an engine that only `dispose` ends. */
export type PlainEngine = Omit<Engine, typeof Symbol.asyncDispose>;

const forgotten = typeof FinalizationRegistry === 'undefined' ? undefined : new FinalizationRegistry<PlainEngine>((engine) => void engine.dispose());

/** Engines by the streams that they feed, and live as long as. */
const feeding = new WeakMap<object, HeldEngine>();

/** `engine` for the caller: it is disposed when that is forgotten, and every answer that it owes. */
export function held(engine: PlainEngine): Engine {
  const holder = new HeldEngine(engine);
  forgotten?.register(holder, engine);
  return holder;
}

class HeldEngine implements Engine {
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: Completions;
  readonly embeddings: Embeddings;
  readonly rerank: Rerank;
  readonly sessions: Sessions;

  /** Defined below, where the browser has the symbol; without it `dispose` is called by name. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;

  constructor(private readonly engine: PlainEngine) {
    this.chat = { completions: { create: this.#creator(engine.chat.completions.create) } };
    this.completions = { create: this.#creator(engine.completions.create) };
    this.embeddings = { create: this.#creator(engine.embeddings.create) };
    this.rerank = { create: (body, options) => this.#hold(engine.rerank.create(body, options)) };
    const { sessions } = engine;
    this.sessions = {
      save: (name, options) => this.#hold(sessions.save(name, options)),
      list: () => this.#hold(sessions.list()),
      restore: (name, options) => this.#hold(sessions.restore(name, options)),
      delete: (name) => this.#hold(sessions.delete(name)),
    };
  }

  get model(): ModelInfo {
    return this.engine.model;
  }

  get loaded(): Promise<void> {
    const loaded = this.#hold(this.engine.loaded);
    // Who does not wait for it hears of a failure from the first call.
    loaded.catch(() => undefined);
    return loaded;
  }

  tokenize(text: string, options?: TokenizeOptions): Promise<number[]> {
    return this.#hold(this.engine.tokenize(text, options));
  }

  detokenize(tokens: number[]): Promise<string> {
    return this.#hold(this.engine.detokenize(tokens));
  }

  applyChatTemplate(messages: ChatMessage[], options?: TemplateOptions): Promise<string> {
    return this.#hold(this.engine.applyChatTemplate(messages, options));
  }

  countTokens(input: string | ChatMessage[]): Promise<number> {
    return this.#hold(this.engine.countTokens(input));
  }

  exportPrefix(input: string | ChatMessage[], options?: PrefixOptions): Promise<Blob> {
    return this.#hold(this.engine.exportPrefix(input, options));
  }

  stats(): Promise<EngineStats> {
    return this.#hold(this.engine.stats());
  }

  dispose(): Promise<void> {
    return this.engine.dispose();
  }

  /** `create` of one of the interfaces. Its streams hold this engine. */
  #creator<Create extends (...given: never[]) => Promise<object>>(create: Create): Create {
    const creating = (...given: Parameters<Create>): Promise<object> => this.#hold(create(...given).then((answer) => {
      if (Symbol.asyncIterator in answer) feeding.set(answer, this);
      return answer;
    }));
    return creating as Create;
  }

  /** `promise`, which holds this engine until it settles. */
  #hold<Result>(promise: Promise<Result>): Promise<Result> {
    return promise.finally(() => this);
  }
}

if (typeof Symbol.asyncDispose === 'symbol') {
  Object.defineProperty(HeldEngine.prototype, Symbol.asyncDispose, {
    value(this: HeldEngine): Promise<void> {
      return this.dispose();
    },
  });
}
