/**
 * The fields of requests and options: which there are, other libraries' names of the same things, and which of
 * OpenAI's and llama.cpp's mean nothing here. Whatever is none of these is refused, with the nearest that is.
 */

import { ChordError, invalidParameter } from '../wire/errors.js';
import type {
  AdapterOptions, CallOptions, ChatCompletionRequest, CompletionRequest, EmbeddingRequest, EngineOptions, IgnoredFields, PrefixOptions, RerankRequest, StreamOptions, TemplateOptions, TokenizeOptions, WritingOptions,
} from '../wire/types.js';

/** Every field of `T`: a field that is added to a type is missing here until it is added, too. */
type FieldsOf<T> = Record<keyof T, true>;

type Sampling = Omit<CompletionRequest, keyof IgnoredFields | 'prompt' | 'logprobs'>;

/** They concern OpenAI's service: they change no answer there, and nothing here. */
const IGNORED: FieldsOf<IgnoredFields> = {
  model: true, user: true, metadata: true, service_tier: true, safety_identifier: true, prompt_cache_key: true, prompt_cache_retention: true,
  prediction: true, cache_prompt: true,
};

const SAMPLING: FieldsOf<Sampling> = {
  temperature: true, top_k: true, top_p: true, min_p: true, typical_p: true, top_n_sigma: true, xtc_probability: true, xtc_threshold: true,
  dry_multiplier: true, dry_base: true, dry_allowed_length: true, dry_penalty_last_n: true, dry_sequence_breakers: true, mirostat: true,
  mirostat_tau: true, mirostat_eta: true, dynatemp_range: true, dynatemp_exponent: true, min_keep: true, samplers: true, repeat_penalty: true, presence_penalty: true, frequency_penalty: true,
  logit_bias: true, seed: true, stop: true, max_tokens: true, n: true, ignore_eos: true, draft_max: true, grammar: true, regex: true, adapters: true, stream: true, stream_options: true,
};

const TEMPLATE: FieldsOf<TemplateOptions> = {
  tools: true, tool_choice: true, add_generation_prompt: true, continue_final_message: true, chat_template: true, chat_template_kwargs: true,
  reasoning_effort: true,
};

/** What may be given, by what it is given to. */
const KNOWN = {
  'a chat request': {
    ...IGNORED, ...SAMPLING, ...TEMPLATE, messages: true, logprobs: true, top_logprobs: true, response_format: true, parallel_tool_calls: true, max_completion_tokens: true,
  } satisfies FieldsOf<ChatCompletionRequest>,
  'a completion request': { ...IGNORED, ...SAMPLING, prompt: true, logprobs: true } satisfies FieldsOf<CompletionRequest>,
  'an embedding request': { input: true, encoding_format: true, dimensions: true, adapters: true, model: true, user: true } satisfies FieldsOf<EmbeddingRequest>,
  'a rerank request': { query: true, documents: true, top_n: true, return_documents: true, adapters: true, model: true } satisfies FieldsOf<RerankRequest>,
  'the engine options': {
    model: true, device: true, contextLength: true, contextOverflow: true, maxResidentBytes: true, prefetchDistance: true, kvCache: true, maxSequences: true, threads: true, memory64: true, store: true,
    adapters: true, prefix: true, hub: true, headers: true, signal: true, onProgress: true,
  } satisfies FieldsOf<EngineOptions>,
  'an adapter': { source: true, name: true, scale: true } satisfies FieldsOf<AdapterOptions>,
  'the options of a call': { signal: true } satisfies FieldsOf<CallOptions>,
  'the options of a call that writes': { signal: true, session: true } satisfies FieldsOf<WritingOptions>,
  'the options of exportPrefix': { tools: true, chat_template: true, chat_template_kwargs: true, reasoning_effort: true, signal: true } satisfies FieldsOf<PrefixOptions>,
  'the options of applyChatTemplate': TEMPLATE,
  'the options of tokenize': { addSpecial: true, parseSpecial: true } satisfies FieldsOf<TokenizeOptions>,
  stream_options: { include_usage: true, include_obfuscation: true } satisfies FieldsOf<StreamOptions>,
} as const;

/** What fields are given to. */
export type Holder = keyof typeof KNOWN;

/** What llama.cpp, vLLM and transformers call the same. */
const ALIASES: Readonly<Record<string, string>> = {
  n_predict: 'max_tokens', max_new_tokens: 'max_tokens', max_completion_tokens: 'max_tokens', repetition_penalty: 'repeat_penalty',
};

/** Names that resemble none of ours but mean one. */
const HINTS: Readonly<Record<string, string>> = {
  maxoutputtokens: 'max_tokens', stopsequences: 'stop', nctx: 'contextLength', cachetypek: 'kvCache', cachetypev: 'kvCache', typek: 'kvCache', typev: 'kvCache', contextsize: 'contextLength', contextwindow: 'contextLength',
  ngpulayers: 'device', nthreads: 'threads', url: 'model', modelurl: 'model', path: 'model', progresscallback: 'onProgress', nprobs: 'logprobs', nparallel: 'maxSequences', maxnumseqs: 'maxSequences', lora: 'adapters', loraadapters: 'adapters',
};

/** Fields that would change the answer and are not supported, with the values that change nothing. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  echo: [false], suffix: [''], best_of: [1], functions: [], function_call: ['none'], response_format: ['text'], store: [false],
  modalities: ['text'], audio: [], web_search_options: [], verbosity: [],
  json_schema: [], repeat_last_n: [64],
};

/**
 * The fields of a request under the names that the core knows, without those that are null or change nothing.
 * Throws `InvalidParameter` for every other field.
 */
export function knownFields(holder: Holder, given: Record<string, unknown>): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    const own = holder.endsWith('request') ? nameOf(holder, name) : name;
    if (own === undefined) {
      if (holder.endsWith('request') && Object.hasOwn(NEUTRAL, name)) refuseUnlessNeutral(name, value);
      else throw unknownField(holder, name);
    } else if (own in fields && fields[own] !== value) {
      throw invalidParameter(name, `${name} and ${own} say different things`);
    } else if (!(own in IGNORED)) {
      fields[own] = value;
    }
  }
  return fields;
}

/** Throws `InvalidParameter` unless every field of `given`, which may be absent, is known. */
export function checkFields(holder: Holder, given: unknown): void {
  if (given === undefined || given === null) return;
  if (typeof given !== 'object' || Array.isArray(given)) throw invalidParameter('options', `${holder} must be an object`);
  const unknown = Object.entries(given).find(([name, value]) => value !== undefined && !Object.hasOwn(KNOWN[holder], name));
  if (unknown) throw unknownField(holder, unknown[0]);
}

function nameOf(holder: Holder, name: string): string | undefined {
  const own = Object.hasOwn(ALIASES, name) ? ALIASES[name] as string : name;
  return Object.hasOwn(KNOWN[holder], own) ? own : undefined;
}

function refuseUnlessNeutral(name: string, value: unknown): void {
  const plain = Array.isArray(value) && value.length === 1 ? value[0] as unknown : (value as { type?: unknown }).type ?? value;
  const isEmpty = Array.isArray(value) && value.length === 0;
  if (!isEmpty && !NEUTRAL[name]?.includes(plain)) throw invalidParameter(name, `${name} is not supported`);
}

function unknownField(holder: Holder, name: string): ChordError {
  // Nobody needs to hear of a field that changes nothing.
  const names = Object.keys(KNOWN[holder]).filter((known) => !(holder.endsWith('request') && known in IGNORED));
  const near = nearest(name, names);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return new ChordError('InvalidParameter', `${name} is no field of ${holder}${hint}`, { details: { name, ...near === undefined ? {} : { nearest: near } } });
}

/** From so many characters on the beginning of a name means it. */
const PREFIX_MIN = 4;

/** The name that `name` is most likely meant to be, if any is near enough. */
function nearest(name: string, names: string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '');
  const wanted = plain(name);
  const hint = Object.hasOwn(HINTS, wanted) ? HINTS[wanted] : undefined;
  if (hint !== undefined && names.includes(hint)) return hint;
  let best: { name: string; distance: number } | undefined;
  for (const candidate of names) {
    const other = plain(candidate);
    const distance = wanted.length >= PREFIX_MIN && other.startsWith(wanted) ? 1 : editDistance(wanted, other);
    if (distance < (best?.distance ?? Math.max(2, wanted.length / 3) + 0.5)) best = { name: candidate, distance };
  }
  return best?.name;
}

/** Characters to insert, delete or replace to turn one text into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [index, char] of [...from].entries()) {
    const next = [index + 1];
    for (let at = 0; at < to.length; at += 1) {
      const replaced = (row[at] ?? 0) + Number(to[at] !== char);
      next.push(Math.min(replaced, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
