/**
 * The web platform's Prompt API before a model of one's own: what {@link languageModel} gives stands where `LanguageModel` does
 * in browsers that bring a model, so that a page has one code for both. The names are those of
 * https://webmachinelearning.github.io/prompt-api; what a page is told of languages and kinds of input is taken as it is, since
 * the model decides that, and inputs are text.
 */

import { ChordError, createEngine, plan } from './index.js';
import { joined } from './page/joined.js';
import type { ChatCompletionChunk, ChatCompletionRequest, ChatMessage, ChatTool, ChatToolCall, Engine, EngineOptions } from './wire/types.js';

/** Rounds of calls of tools for one prompt, after which the model is taken to be going in circles. */
const TOOL_ROUNDS_MAX = 16;

/** A message of a prompt. */
export interface LanguageModelMessage {
  role: 'system' | 'user' | 'assistant';
  content: string | { type: 'text'; value: string }[];
  /** With the last message, of the assistant: the answer goes on where it ends. */
  prefix?: boolean;
}

/** What is asked: text of the user, or messages. */
export type LanguageModelPrompt = string | LanguageModelMessage[];

/** A function that the model may call; it is called for it. */
export interface LanguageModelTool {
  name: string;
  description: string;
  /** The JSON Schema of what it takes. */
  inputSchema: Record<string, unknown>;
  execute(input: unknown): Promise<string> | string;
}

/** What a session is made with. */
export interface LanguageModelCreateOptions {
  /** What the session begins with; a `system` message stands first. They are kept when the context overflows. */
  initialPrompts?: LanguageModelMessage[];
  tools?: LanguageModelTool[];
  temperature?: number;
  topK?: number;
  /** Hears `downloadprogress` events, whose `loaded` goes from 0 to 1. */
  monitor?: (monitor: EventTarget) => void;
  /** Ends the creation and, later on, the session. */
  signal?: AbortSignal;
  expectedInputs?: unknown;
  expectedOutputs?: unknown;
}

/** What one prompt is given. */
export interface LanguageModelPromptOptions {
  /** A JSON Schema, or a regular expression for the whole answer. The prompt itself does not mention it. */
  responseConstraint?: Record<string, unknown> | RegExp;
  omitResponseConstraintInput?: boolean;
  signal?: AbortSignal;
}

/** Whether a session can be made at once, after a download, or not at all. */
export type Availability = 'available' | 'downloadable' | 'downloading' | 'unavailable';

/** What stands for `LanguageModel`. */
export interface LanguageModelFactory {
  availability(options?: unknown): Promise<Availability>;
  /** A session. All sessions share one engine, which is disposed with the last of them. */
  create(options?: LanguageModelCreateOptions): Promise<LanguageModelSession>;
}

/** A model for the Prompt API: the options are those of `createEngine`. */
export function languageModel(options: Omit<EngineOptions, 'signal' | 'onProgress'>): LanguageModelFactory {
  const shared = new SharedEngine(options);
  return {
    async availability() {
      if (shared.state !== undefined) return shared.state;
      const { model, ...others } = options;
      const { fits, downloadBytes } = await plan(model, others);
      return !fits ? 'unavailable' : downloadBytes > 0 ? 'downloadable' : 'available';
    },
    async create({ initialPrompts = [], tools = [], temperature, topK, monitor, signal } = {}) {
      signal?.throwIfAborted();
      initialPrompts.forEach(({ role }, index) => {
        if (role === 'system' && index > 0) throw new TypeError('a system message stands first');
      });
      const engine = await shared.join(monitor, signal);
      const fields: Fields = { ...temperature === undefined ? {} : { temperature }, ...topK === undefined ? {} : { top_k: topK } };
      const setting = { engine, leave: () => shared.leave(), hold: () => shared.hold(), fields, tools };
      const session = new LanguageModelSession(setting, initialPrompts.map(messageOf), [], await sizeOf(engine, initialPrompts).catch((error: unknown) => {
        shared.leave();
        throw error;
      }));
      signal?.addEventListener('abort', () => session.destroy());
      return session;
    },
  };
}

/** An engine on its way, and who hears how far it is. */
interface Opening {
  engine: Promise<Engine>;
  stop: AbortController;
  monitor: EventTarget;
}

/** The engine of all sessions of one model. */
class SharedEngine {
  state: 'available' | 'downloading' | undefined;
  readonly #options: Omit<EngineOptions, 'signal' | 'onProgress'>;
  #users = 0;
  #opening: Opening | undefined;

  constructor(options: Omit<EngineOptions, 'signal' | 'onProgress'>) {
    this.#options = options;
  }

  hold(): void {
    this.#users += 1;
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    const opening = this.#opening;
    this.#opening = undefined;
    this.state = undefined;
    opening?.stop.abort();
    opening?.engine.then((engine) => engine.dispose(), () => undefined);
  }

  async join(monitor: LanguageModelCreateOptions['monitor'], signal: AbortSignal | undefined): Promise<Engine> {
    this.hold();
    this.#opening ??= this.#open();
    const { engine, monitor: events } = this.#opening;
    monitor?.(events);
    try {
      const aborted = new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
      return await Promise.race([engine, aborted]);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  #open(): Opening {
    const stop = new AbortController();
    const monitor = new EventTarget();
    this.state = 'downloading';
    const onProgress = ({ fraction }: { fraction: number }): void => {
      monitor.dispatchEvent(new ProgressEvent('downloadprogress', { lengthComputable: true, loaded: fraction, total: 1 }));
    };
    const engine = createEngine({ ...this.#options, signal: stop.signal, onProgress });
    engine.then(() => { if (!stop.signal.aborted) this.state = 'available'; }, () => undefined);
    return { engine, stop, monitor };
  }
}

type Fields = Pick<ChatCompletionRequest, 'temperature' | 'top_k'>;

/** What sessions and their clones share. */
interface Setting {
  engine: Engine;
  leave(): void;
  hold(): void;
  fields: Fields;
  tools: LanguageModelTool[];
}

/** A conversation. */
export class LanguageModelSession extends EventTarget {
  /** Called when the oldest messages were dropped because the context was full. */
  oncontextoverflow: ((event: Event) => void) | null = null;
  readonly #setting: Setting;
  readonly #initial: readonly ChatMessage[];
  #messages: readonly ChatMessage[];
  #usage = 0;
  readonly #stop = new AbortController();
  /** Prompts are answered one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** Sessions are made by `create` and `clone`. */
  constructor(setting: Setting, initial: readonly ChatMessage[], messages: readonly ChatMessage[], usage = 0) {
    super();
    this.#setting = setting;
    this.#initial = initial;
    this.#messages = messages;
    this.#usage = usage;
  }

  /** Tokens that the conversation takes so far. */
  get contextUsage(): number {
    return this.#usage;
  }

  /** Tokens that it may take. */
  get contextWindow(): number {
    return this.#setting.engine.model.contextLength;
  }

  /** Answers, and remembers both. */
  async prompt(input: LanguageModelPrompt, options: LanguageModelPromptOptions = {}): Promise<string> {
    let text = '';
    for await (const piece of this.#answer(input, options)) text += piece;
    return text;
  }

  /** The same in pieces. A stream that is cancelled ends the answer, and nothing of it is remembered. */
  promptStreaming(input: LanguageModelPrompt, options: LanguageModelPromptOptions = {}): ReadableStream<string> {
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
    const pieces = this.#answer(input, { ...options, signal });
    return new ReadableStream<string>({
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel(reason) {
        stop.abort(reason);
        await pieces.return();
      },
    }, { highWaterMark: 0 });
  }

  /** Adds to the conversation without an answer. */
  async append(input: LanguageModelPrompt): Promise<void> {
    this.#throwIfDestroyed();
    await this.#inTurn(async () => {
      this.#messages = [...this.#messages, ...messagesOf(input)];
      this.#usage = await this.#setting.engine.countTokens([...this.#initial, ...this.#messages]);
    });
  }

  /** Tokens that a prompt would add to the conversation. */
  async measureContextUsage(input: LanguageModelPrompt): Promise<number> {
    this.#throwIfDestroyed();
    const before = [...this.#initial, ...this.#messages];
    const count = (messages: ChatMessage[]): Promise<number> | number => (messages.length > 0 ? this.#setting.engine.countTokens(messages) : 0);
    return await count([...before, ...messagesOf(input)]) - await count(before);
  }

  /** Another session that begins where this one is. */
  clone({ signal }: { signal?: AbortSignal } = {}): Promise<LanguageModelSession> {
    return this.#inTurn(() => {
      signal?.throwIfAborted();
      this.#throwIfDestroyed();
      this.#setting.hold();
      return new LanguageModelSession(this.#setting, this.#initial, this.#messages, this.#usage);
    });
  }

  /** Ends the session; what is being answered rejects with `AbortError`. */
  destroy(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(new DOMException('the session was destroyed', 'AbortError'));
    this.#setting.leave();
  }

  #throwIfDestroyed(): void {
    if (this.#stop.signal.aborted) throw new DOMException('the session was destroyed', 'InvalidStateError');
  }

  /** Runs `work` when what was asked before has ended. */
  #inTurn<Result>(work: () => Promise<Result> | Result): Promise<Result> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async *#answer(input: LanguageModelPrompt, { responseConstraint, signal }: LanguageModelPromptOptions): AsyncGenerator<string, void> {
    this.#throwIfDestroyed();
    const added = messagesOf(input);
    const before = this.#last;
    let end: () => void = () => undefined;
    this.#last = new Promise<void>((done) => { end = done; });
    try {
      await before;
      const signals = AbortSignal.any(signal ? [signal, this.#stop.signal] : [this.#stop.signal]);
      signals.throwIfAborted();
      const continues = typeof input !== 'string' && input.at(-1)?.prefix === true;
      let said = [...this.#messages, ...added];
      for (let round = 0; round < TOOL_ROUNDS_MAX; round += 1) {
        let answer: ChatMessage = { role: 'assistant', content: '' };
        const request = { ...this.#setting.fields, ...this.#toolFields(), ...constraint(responseConstraint), ...continues && round === 0 ? { continue_final_message: true } : {} };
        const { chunks, kept } = await this.#begin(said, added.length, request, signals);
        said = kept;
        for await (const { choices, usage } of chunks) {
          const delta = choices[0]?.delta ?? {};
          answer = joined(answer, delta);
          if (usage) this.#usage = usage.total_tokens;
          if (delta.content) yield delta.content;
        }
        const last = said.at(-1);
        if (continues && round === 0 && last) said = [...said.slice(0, -1), { ...last, content: `${last.content as string}${answer.content as string}` }];
        else said = [...said, answer];
        if (!answer.tool_calls) {
          this.#messages = said;
          return;
        }
        said = [...said, ...await Promise.all(answer.tool_calls.map((call) => this.#run(call)))];
      }
      throw new ChordError('Internal', `the model called tools ${TOOL_ROUNDS_MAX} times without an answer`);
    } finally {
      end();
    }
  }

  /** Asks the engine. What does not fit the context loses its oldest messages, but for the initial ones and the `newest`. */
  async #begin(messages: ChatMessage[], newest: number, request: Partial<ChatCompletionRequest>, signal: AbortSignal): Promise<{ chunks: AsyncIterable<ChatCompletionChunk>; kept: ChatMessage[] }> {
    const kept = [...messages];
    for (let isFirst = true; ; isFirst = false) {
      try {
        const body = { ...request, messages: [...this.#initial, ...kept], stream: true as const, stream_options: { include_usage: true } };
        const chunks = await this.#setting.engine.chat.completions.create(body, { signal });
        return { chunks, kept };
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ChordError) || error.code !== 'ContextOverflow') throw error;
        if (kept.length <= newest) throw new DOMException(error.message, 'QuotaExceededError');
        // A question goes with its answer.
        do kept.shift(); while (kept.length > newest && kept[0]?.role !== 'user');
        if (isFirst) this.#overflow();
      }
    }
  }

  #overflow(): void {
    const event = new Event('contextoverflow');
    this.dispatchEvent(event);
    this.oncontextoverflow?.(event);
  }

  #toolFields(): { tools?: ChatTool[] } {
    const { tools } = this.#setting;
    const described = tools.map(({ name, description, inputSchema }): ChatTool => ({ type: 'function', function: { name, description, parameters: inputSchema } }));
    return described.length > 0 ? { tools: described } : {};
  }

  /** The message that answers a call of a tool. */
  async #run({ id, function: { name, arguments: given } }: ChatToolCall): Promise<ChatMessage> {
    const answer = (content: string): ChatMessage => ({ role: 'tool', tool_call_id: id, name, content });
    const tool = this.#setting.tools.find((one) => one.name === name);
    if (!tool) return answer(`there is no tool ${name}`);
    let input: unknown;
    try {
      input = JSON.parse(String(given));
    } catch {
      // The model wrote them, and may write them again.
      return answer('the arguments are no JSON');
    }
    return answer(String(await tool.execute(input)));
  }
}

/** Tokens of what a session begins with. */
async function sizeOf(engine: Engine, initial: LanguageModelMessage[]): Promise<number> {
  if (initial.length === 0) return 0;
  const tokens = await engine.countTokens(initial.map(messageOf));
  if (tokens >= engine.model.contextLength) throw new DOMException(`the initial prompts are ${tokens} tokens, and the context is ${engine.model.contextLength}`, 'QuotaExceededError');
  return tokens;
}

function constraint(given: LanguageModelPromptOptions['responseConstraint']): Partial<ChatCompletionRequest> {
  if (given === undefined) return {};
  if (given instanceof RegExp) return { regex: given.source };
  return { response_format: { type: 'json_schema', json_schema: { name: 'response', schema: given } } };
}

function messagesOf(input: LanguageModelPrompt): ChatMessage[] {
  return typeof input === 'string' ? [{ role: 'user', content: input }] : input.map(messageOf);
}

function messageOf({ role, content }: LanguageModelMessage): ChatMessage {
  if (typeof content === 'string') return { role, content };
  return { role, content: content.map(({ type, value }) => {
    if (type !== 'text') throw new DOMException(`the model takes text, not ${String(type)}`, 'NotSupportedError');
    return value;
  }).join('') };
}
