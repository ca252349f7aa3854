/** OpenAI's Responses API before an engine's chats: requests, answers, their events, and conversations that go on. */

import { newIdentity } from '../page/openai.js';
import type { ChatCompletionChunk, ChatLogprobs, ChatMessage, Engine } from '../wire/types.js';
import { RequestError, described } from './failures.js';
import { chatOf, type Fields } from './input.js';

/** Conversations that `previous_response_id` can name, the newest ones. */
const KEPT_MAX = 64;

/** A response, or an item of its output, in OpenAI's fields. */
type Item = Fields & { id: string; type: string };

/** What comes of a response while it is made. */
export type ResponseEvent = Fields & { type: string; sequence_number: number };

/** How the names of items begin, by their type. */
const PREFIXES: Record<string, string> = { message: 'msg', reasoning: 'rs', function_call: 'fc' };

/** Fields of a request that a response repeats, with what they are where the request does not have them. */
const REPEATED: Fields = {
  instructions: null, max_output_tokens: null, metadata: {}, parallel_tool_calls: true, previous_response_id: null, reasoning: { effort: null, summary: null },
  temperature: null, text: { format: { type: 'text' } }, tool_choice: 'auto', tools: [], top_p: null, truncation: 'disabled',
};

/** The responses of one `fetch`. */
export class Responses {
  /** Messages of conversations by the id of their last response, the oldest first. */
  readonly #kept = new Map<string, readonly ChatMessage[]>();

  /** Begins a response. Resolves with it when it is whole, or, with `stream: true`, with its events at once. */
  readonly create = async (engine: Engine, body: Fields, options: { signal: AbortSignal }): Promise<object> => {
    const { stream, previous_response_id: previous } = body;
    const before = typeof previous === 'string' ? this.#kept.get(previous) : [];
    if (!before) throw new RequestError(400, 'previous_response_not_found', `there is no response ${JSON.stringify(previous)} here`, 'previous_response_id');
    const { chat, messages } = chatOf(body, before);
    const request = { ...chat, stream: true as const, stream_options: { include_usage: true } };
    const chunks = await engine.chat.completions.create(request as unknown as Parameters<typeof engine.chat.completions.create>[0] & { stream: true }, options);
    const making = new Making(body, engine.model.name);
    const events = making.events(chunks, options.signal, () => {
      if (body['store'] !== false) this.#keep(making.id, [...messages, making.message]);
    });
    if (stream === true) return events;
    for await (const event of events) if (event.type === 'error') throw making.error;
    return making.response();
  };

  #keep(id: string, messages: readonly ChatMessage[]): void {
    this.#kept.set(id, messages);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_MAX) break;
      this.#kept.delete(oldest);
    }
  }
}

/** One response while it is made. */
class Making {
  readonly id: string;
  readonly #created: number;
  readonly #output: Item[] = [];
  readonly #logprobs: ChatLogprobs['content'] = [];
  #status = 'in_progress';
  #cut: string | undefined;
  /** Why it failed. */
  error: unknown;
  #usage: Fields | null = null;
  #sequence = 0;
  /** Text, thought or arguments of the item that is being written. */
  #text = '';

  constructor(readonly request: Fields, readonly model: string) {
    ({ id: this.id, created: this.#created } = newIdentity('resp', model));
  }

  /** The response as it is now. */
  response(): Fields {
    const repeated = Object.entries(REPEATED).map(([name, missing]) => [name, this.request[name] ?? missing] as const);
    const usage = this.#usage;
    const failure = this.error === undefined ? null : described(this.error);
    return {
      id: this.id, object: 'response', created_at: this.#created, status: this.#status, background: false,
      error: failure && { code: failure.code, message: failure.message },
      incomplete_details: this.#cut === undefined ? null : { reason: this.#cut },
      model: this.model, output: [...this.#output], usage, ...Object.fromEntries(repeated),
    };
  }

  /** What the model said, as a message of the conversation that goes on. */
  get message(): ChatMessage {
    const of = (type: string): Item[] => this.#output.filter((item) => item.type === type);
    const text = (items: Item[]): string => items.flatMap((item) => item['content'] as { text: string }[]).map((part) => part.text).join('');
    const calls = of('function_call').map(({ call_id: id, name, arguments: given }) => ({ id: id as string, type: 'function' as const, function: { name: name as string, arguments: given as string } }));
    const [said, thought] = [text(of('message')), text(of('reasoning'))];
    return {
      role: 'assistant', content: said === '' && calls.length > 0 ? null : said,
      ...thought === '' ? {} : { reasoning_content: thought },
      ...calls.length === 0 ? {} : { tool_calls: calls },
    };
  }

  /** The events of a chat's chunks. `done` is called when the response is whole, before that is told. */
  async* events(chunks: AsyncIterable<ChatCompletionChunk>, signal: AbortSignal, done: () => void): AsyncGenerator<ResponseEvent> {
    yield this.#event('response.created', { response: this.response() });
    yield this.#event('response.in_progress', { response: this.response() });
    try {
      for await (const chunk of chunks) yield* this.#take(chunk);
    } catch (error) {
      if (signal.aborted) throw error;
      this.error = error;
      this.#status = 'failed';
      const { code, message, param } = described(error);
      yield this.#event('error', { code, message, param });
      yield this.#event('response.failed', { response: this.response() });
      return;
    }
    this.#status = this.#cut === undefined ? 'completed' : 'incomplete';
    done();
    yield this.#event(`response.${this.#status}`, { response: this.response() });
  }

  *#take({ choices, usage }: ChatCompletionChunk): Generator<ResponseEvent> {
    if (usage) {
      const { prompt_tokens: input, completion_tokens: output, total_tokens: total, prompt_tokens_details: inputs, completion_tokens_details: outputs } = usage;
      this.#usage = { input_tokens: input, input_tokens_details: inputs, output_tokens: output, output_tokens_details: outputs, total_tokens: total };
    }
    for (const { delta, logprobs, finish_reason: finish } of choices) {
      if (delta.reasoning_content) yield* this.#add('reasoning', delta.reasoning_content);
      if (delta.content) yield* this.#add('message', delta.content, logprobs?.content);
      for (const { id, function: { name, arguments: text } } of delta.tool_calls ?? []) {
        if (name !== undefined) yield* this.#begin('function_call', { call_id: id, name, arguments: '' });
        if (text !== '') yield* this.#add('function_call', text);
      }
      if (finish === null) continue;
      if (finish === 'length') this.#cut = 'max_output_tokens';
      yield* this.#end();
    }
  }

  /** The item that is being written. */
  get #open(): Item | undefined {
    const last = this.#output.at(-1);
    return last?.['status'] === 'in_progress' ? last : undefined;
  }

  *#begin(type: string, fields: Fields): Generator<ResponseEvent, Item> {
    yield* this.#end();
    const index = this.#output.length;
    const item: Item = { id: `${PREFIXES[type]}-${this.id.slice(5)}-${index}`, type, status: 'in_progress', ...fields };
    this.#output.push(item);
    yield this.#event('response.output_item.added', { output_index: index, item: { ...item } });
    if (type !== 'function_call') yield this.#of(item, 'response.content_part.added', { content_index: 0, part: this.#part(type) });
    return item;
  }

  /** Adds text to the open item of that type, which begins if another one is open. */
  *#add(type: string, delta: string, logprobs?: ChatLogprobs['content']): Generator<ResponseEvent> {
    const open = this.#open;
    const fields = type === 'message' ? { role: 'assistant', content: [] } : { summary: [], content: [] };
    const item = open?.type === type ? open : yield* this.#begin(type, fields);
    this.#text += delta;
    if (type === 'function_call') yield this.#of(item, 'response.function_call_arguments.delta', { delta });
    else if (type === 'reasoning') yield this.#of(item, 'response.reasoning_text.delta', { content_index: 0, delta });
    else {
      this.#logprobs.push(...logprobs ?? []);
      yield this.#of(item, 'response.output_text.delta', { content_index: 0, delta, logprobs: logprobs ?? [] });
    }
  }

  *#end(): Generator<ResponseEvent> {
    const item = this.#open;
    if (!item) return;
    const text = this.#text;
    const part = this.#part(item.type);
    this.#text = '';
    this.#logprobs.length = 0;
    item['status'] = this.#cut === undefined ? 'completed' : 'incomplete';
    if (item.type === 'function_call') {
      item['arguments'] = text;
      yield this.#of(item, 'response.function_call_arguments.done', { arguments: text, name: item['name'] });
    } else {
      item['content'] = [part];
      if (item.type === 'reasoning') yield this.#of(item, 'response.reasoning_text.done', { content_index: 0, text });
      else yield this.#of(item, 'response.output_text.done', { content_index: 0, text, logprobs: part['logprobs'] });
      yield this.#of(item, 'response.content_part.done', { content_index: 0, part });
    }
    yield this.#event('response.output_item.done', { output_index: this.#output.length - 1, item: { ...item } });
  }

  /** The one part of a message's or a thought's content, as it is now. */
  #part(type: string): Fields {
    if (type === 'reasoning') return { type: 'reasoning_text', text: this.#text };
    return { type: 'output_text', text: this.#text, annotations: [], logprobs: [...this.#logprobs] };
  }

  /** An event about an item, which is the last one. */
  #of(item: Item, type: string, fields: Fields): ResponseEvent {
    return this.#event(type, { item_id: item.id, output_index: this.#output.length - 1, ...fields });
  }

  #event(type: string, fields: Fields): ResponseEvent {
    const event = { type, sequence_number: this.#sequence, ...fields };
    this.#sequence += 1;
    return event;
  }
}
