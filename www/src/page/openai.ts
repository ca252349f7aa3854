/** Objects in OpenAI's shapes, made of the events of a call. */

import type { Call } from './calls.js';
import { ChordError } from '../wire/errors.js';
import type { CallDelta, CoreLogprob } from '../wire/generated.js';
import type { CallEvent } from '../wire/protocol.js';
import type {
  ChatCompletion, ChatCompletionChunk, ChatLogprobs, ChatToolCall, ChatToolCallDelta, Completion, CompletionChunk, CompletionLogprobs,
  FinishReason, Timings, TokenLogprob, Usage,
} from '../wire/types.js';

type TextEvent = Extract<CallEvent, { type: 'token' | 'finish' }>;

/** What a choice has come to. */
interface ChoiceState {
  text: string;
  reasoning: string;
  calls: ChatToolCall[];
  /** Where the next text starts. */
  offset: number;
  logprobs: CoreLogprob[];
  offsets: number[];
  finishReason: FinishReason | undefined;
}

/** The fields that all objects of one response share. */
export interface Identity {
  id: string;
  created: number;
  model: string;
}

export function newIdentity(prefix: string, model: string): Identity {
  const random = crypto.getRandomValues(new Uint8Array(12));
  const hex = Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return { id: `${prefix}-${hex}`, created: Math.floor(Date.now() / 1000), model };
}

/** How chat and plain completions differ. */
export interface Shape<Whole, Chunk> {
  /** Chunks of a stream for one event; `isFirst` for the first event of its choice. */
  chunks(identity: Identity, event: TextEvent, offsets: number[], isFirst: boolean): Chunk[];
  /** The last chunk, with nothing but figures. */
  usage(identity: Identity, usage: Usage): Chunk;
  whole(identity: Identity, choices: ChoiceState[], usage: Usage, timings: Timings): Whole;
}

export const chatShape: Shape<ChatCompletion, ChatCompletionChunk> = {
  chunks(identity, event, _offsets, isFirst) {
    const object = 'chat.completion.chunk' as const;
    const index = event.choice;
    const chunk = (delta: ChatCompletionChunk['choices'][number]['delta'], logprobs: ChatLogprobs | null, finish: FinishReason | null): ChatCompletionChunk => (
      { ...identity, object, choices: [{ index, delta, logprobs, finish_reason: finish }] }
    );
    const chunks: ChatCompletionChunk[] = [];
    if (isFirst) chunks.push(chunk({ role: 'assistant', content: '' }, null, null));
    const logprobs = event.logprobs ? chatLogprobs(event.logprobs) : null;
    if (event.reasoning) chunks.push(chunk({ reasoning_content: event.reasoning }, null, null));
    if (event.text !== '' || logprobs) chunks.push(chunk({ content: event.text }, logprobs, null));
    if (event.calls) chunks.push(chunk({ tool_calls: event.calls.map(callDelta) }, null, null));
    if (event.type === 'finish') chunks.push(chunk({}, null, event.finish_reason));
    return chunks;
  },
  usage: (identity, usage) => ({ ...identity, object: 'chat.completion.chunk', choices: [], usage }),
  whole: (identity, choices, usage, timings) => ({
    ...identity,
    object: 'chat.completion',
    choices: choices.map((choice, index) => ({
      index,
      message: message(choice),
      logprobs: choice.logprobs.length > 0 ? chatLogprobs(choice.logprobs) : null,
      finish_reason: choice.finishReason ?? 'stop',
    })),
    usage,
    timings,
  }),
};

export const completionShape: Shape<Completion, CompletionChunk> = {
  chunks(identity, event, offsets) {
    const logprobs = event.logprobs ? completionLogprobs(event.logprobs, offsets) : null;
    const finish = event.type === 'finish' ? event.finish_reason : null;
    return [{ ...identity, object: 'text_completion', choices: [{ index: event.choice, text: event.text, logprobs, finish_reason: finish }] }];
  },
  usage: (identity, usage) => ({ ...identity, object: 'text_completion', choices: [], usage }),
  whole: (identity, choices, usage, timings) => ({
    ...identity,
    object: 'text_completion',
    choices: choices.map((choice, index) => ({
      index,
      text: choice.text,
      logprobs: choice.logprobs.length > 0 ? completionLogprobs(choice.logprobs, choice.offsets) : null,
      finish_reason: choice.finishReason ?? 'stop',
    })),
    usage,
    timings,
  }),
};

/** An id that every template takes: some want nine letters and digits. */
function newCallId(): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => letters[byte % letters.length]).join('');
}

function callDelta({ index, id, name, arguments: text }: CallDelta): ChatToolCallDelta {
  if (name === undefined) return { index, function: { arguments: text } };
  return { index, id: id ?? newCallId(), type: 'function', function: { name, arguments: text } };
}

/** Adds what an event brings to the calls of its choice. */
function addCalls(calls: ChatToolCall[], deltas: CallDelta[]): void {
  for (const { index, id, name, arguments: text } of deltas) {
    const call = calls[index];
    if (call) call.function.arguments += text;
    else calls[index] = { id: id ?? newCallId(), type: 'function', function: { name: name ?? '', arguments: text } };
  }
}

function message({ text, reasoning, calls }: ChoiceState): ChatCompletion['choices'][number]['message'] {
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    ...reasoning === '' ? {} : { reasoning_content: reasoning },
    ...calls.length === 0 ? {} : { tool_calls: calls },
  };
}

function chatLogprobs(entries: CoreLogprob[]): ChatLogprobs {
  return { content: entries.map((entry) => ({ ...tokenLogprob(entry), top_logprobs: entry.top.map(tokenLogprob) })) };
}

function tokenLogprob({ token, id, logprob, bytes }: TokenLogprob): TokenLogprob {
  return { token, id, logprob, bytes };
}

function completionLogprobs(entries: CoreLogprob[], offsets: number[]): CompletionLogprobs {
  return {
    tokens: entries.map((entry) => entry.token),
    token_ids: entries.map((entry) => entry.id),
    token_logprobs: entries.map((entry) => entry.logprob),
    // The alternatives are sorted, best first: written in reverse, the best of equal texts stays.
    top_logprobs: entries.map((entry) => Object.fromEntries(entry.top.map(({ token, logprob }) => [token, logprob] as const).reverse())),
    top_token_ids: entries.map((entry) => entry.top.map(({ id }) => id)),
    top_token_logprobs: entries.map((entry) => entry.top.map(({ logprob }) => logprob)),
    text_offset: offsets,
  };
}

/** Where in the text each token of an event begins; the event's text starts at `start`. */
function tokenOffsets(entries: CoreLogprob[], start: number, length: number): number[] {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let position = 0;
  return entries.map((entry) => {
    const offset = start + Math.min(position, length);
    position += decoder.decode(Uint8Array.from(entry.bytes), { stream: true }).length;
    return offset;
  });
}

/** Follows the choices of one response. */
class Choices {
  readonly states: ChoiceState[] = [];

  /** The offsets of the event's tokens, and whether it is the first of its choice. */
  add(event: TextEvent, keep: boolean): { offsets: number[]; isFirst: boolean } {
    const before = this.states[event.choice];
    const state = before ?? { text: '', reasoning: '', calls: [], offset: 0, logprobs: [], offsets: [], finishReason: undefined };
    this.states[event.choice] = state;
    const offsets = tokenOffsets(event.logprobs ?? [], state.offset, event.text.length);
    state.offset += event.text.length;
    if (keep) {
      state.text += event.text;
      state.reasoning += event.reasoning ?? '';
      addCalls(state.calls, event.calls ?? []);
      state.logprobs.push(...event.logprobs ?? []);
      state.offsets.push(...offsets);
    }
    if (event.type === 'finish') state.finishReason = event.finish_reason;
    return { offsets, isFirst: before === undefined };
  }
}

function isText(event: CallEvent): event is TextEvent {
  return event.type === 'token' || event.type === 'finish';
}

/** Waits for the whole response. */
export async function collect<Whole, Chunk>(call: Call, shape: Shape<Whole, Chunk>, identity: Identity): Promise<Whole> {
  const choices = new Choices();
  for (;;) {
    const event = await call.next();
    if (!event) throw new ChordError('Internal', 'the response ended without its usage');
    if (event.type === 'done') return shape.whole(identity, choices.states, event.usage, event.timings);
    if (isText(event)) choices.add(event, true);
  }
}

/** Calls whose stream was dropped without being read to its end stop computing. */
const dropped = typeof FinalizationRegistry === 'undefined' ? undefined : new FinalizationRegistry<Call>((call) => call.cancel());

/** The response as a stream of chunks. Leaving the loop, or forgetting the stream, cancels the call. */
export function stream<Whole, Chunk extends { usage?: Usage | null; timings?: Timings }>(
  call: Call, shape: Shape<Whole, Chunk>, identity: Identity, includeUsage: boolean,
): AsyncIterableIterator<Chunk> {
  const choices = new Choices();
  const ready: Chunk[] = [];
  let held: Chunk | undefined;
  let isLeft = false;
  let turn: Promise<unknown> = Promise.resolve();

  // A chunk that ends a choice waits for the next event, because the very last one carries the timings.
  const release = (): void => {
    if (held) ready.push(held);
    held = undefined;
  };
  const take = (event: CallEvent): void => {
    if (event.type === 'done') {
      if (includeUsage) {
        release();
        held = shape.usage(identity, event.usage);
      }
      if (held) held.timings = event.timings;
      release();
      return;
    }
    if (!isText(event)) return;
    release();
    const { offsets, isFirst } = choices.add(event, false);
    const chunks = shape.chunks(identity, event, offsets, isFirst);
    if (includeUsage) for (const chunk of chunks) chunk.usage = null;
    if (event.type === 'finish') held = chunks.pop();
    ready.push(...chunks);
  };
  const next = async (): Promise<IteratorResult<Chunk>> => {
    while (ready.length === 0 && !isLeft) {
      const event = await call.next();
      if (!event) break;
      take(event);
    }
    const chunk = isLeft ? undefined : ready.shift();
    return chunk ? { done: false, value: chunk } : { done: true, value: undefined };
  };

  const iterator: AsyncIterableIterator<Chunk> = {
    next: () => {
      const result = turn.then(next);
      turn = result.catch(() => undefined);
      return result;
    },
    return: (value?: unknown) => {
      isLeft = true;
      call.cancel();
      return Promise.resolve({ done: true, value: value as undefined });
    },
    [Symbol.asyncIterator]: () => iterator,
  };
  dropped?.register(iterator, call);
  return iterator;
}
