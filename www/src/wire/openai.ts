/** Requests and answers, in OpenAI's names and shapes. */

import type { AdapterScale, FinishReason, TokenLogprob, Usage } from './generated.js';

/** A step from logits to a token. */
export type SamplerName =
  | 'penalties' | 'dry' | 'top_n_sigma' | 'top_k' | 'typ_p' | 'typical_p' | 'top_p' | 'min_p' | 'xtc' | 'temperature';

/** Fields that steer the choice of tokens. */
export interface SamplingParams {
  /** 0 is greedy and deterministic. */
  temperature?: number;
  /** 0 or -1 keeps all tokens. */
  top_k?: number;
  /** Keeps the most probable tokens that together reach this probability; 1 keeps all. */
  top_p?: number;
  /** Keeps tokens that are at least this share as probable as the most probable one; 0 keeps all. */
  min_p?: number;
  /** 0 to 1: keeps the tokens that are about as surprising as the model expects, up to this probability; 1, the default, keeps all. */
  typical_p?: number;
  /** -1 to 100: keeps tokens whose logits are within so many standard deviations of the largest; 0 and below, the default, keep all. */
  top_n_sigma?: number;
  /** 0 to 1: how often the likeliest tokens are left out ("XTC"), but for the last of those above `xtc_threshold`. Default 0. */
  xtc_probability?: number;
  /** 0 to 1: how probable a token must be to be left out; above 0.5 none is. Default 0.1. */
  xtc_threshold?: number;
  /** 0 to 100: taken from the logit of a token that goes on with a repetition ("DRY"); 0, the default, takes nothing. */
  dry_multiplier?: number;
  /** 1 to 100: each further token that repeats multiplies the penalty by this. Default 1.75. */
  dry_base?: number;
  /** So many tokens may repeat at no cost. Default 2. */
  dry_allowed_length?: number;
  /** How many tokens back repetitions are looked for; -1, the default, for all, 0 for none. */
  dry_penalty_last_n?: number;
  /** Up to 16 texts that repetitions are not followed across. Default `["\n", ":", "\"", "*"]`. */
  dry_sequence_breakers?: string[];
  /** 2: mirostat, which keeps the surprise of tokens near `mirostat_tau`, takes the place of all that cuts. Default 0. */
  mirostat?: 0 | 2;
  /** 0 to 100: the surprise that mirostat steers to, in bits. Default 5. */
  mirostat_tau?: number;
  /** 0 to 1: how fast mirostat does. Default 0.1. */
  mirostat_eta?: number;
  /** 0 to 2: how far the temperature goes down where the model is sure, and up where it is not. Default 0. */
  dynatemp_range?: number;
  /** 0 to 10: how the temperature grows with the entropy within that range. Default 1. */
  dynatemp_exponent?: number;
  /** `top_p`, `min_p`, `typical_p` and XTC leave at least so many tokens. Default 0, which leaves one. */
  min_keep?: number;
  /**
   * The steps that are made, in order; those that are not named are left out. Default: all, in this order: `penalties`, `dry`,
   * `top_n_sigma`, `top_k`, `typ_p`, `top_p`, `min_p`, `xtc`, `temperature`.
   */
  samplers?: SamplerName[];
  /** 0.1 to 10: makes the last tokens of prompt and answer less probable, below 1 more so; 1 changes nothing. */
  repeat_penalty?: number;
  /** -2 to 2: taken from the logit of every token of the answer so far. */
  presence_penalty?: number;
  /** -2 to 2: taken from the logit of a token for each time that it came in the answer so far. */
  frequency_penalty?: number;
  /** Token id to a number added to its logit. */
  logit_bias?: Record<string, number>;
  /** The same seed draws the same tokens. By default each request has another. */
  seed?: number;
  /** Texts that end the answer and do not appear in it. */
  stop?: string | string[];
  /** By default, and at -1, the context is the limit. */
  max_tokens?: number;
  /** Answers to the same prompt. */
  n?: number;
  /** Go on past end tokens, for benchmarks. */
  ignore_eos?: boolean;
  /**
   * Most tokens that are guessed for one pass through the layers, 0 to 127. The guesses are what followed the same
   * words in what the engine has read and written so far; those that are right save a pass, and the answer is the same with or
   * without. The default guesses only where layers do not all stay in memory. On the GPU nothing is guessed.
   */
  draft_max?: number;
}

/** What a stream may be given. */
export interface StreamOptions {
  /** Sends a last chunk without choices that carries `usage`. */
  include_usage?: boolean;
  /** Without effect: nothing is padded. */
  include_obfuscation?: boolean;
}

/** Fields that are accepted because callers have them, and that change nothing: no service stands behind the engine. */
export interface IgnoredFields {
  /** The engine has one model. */
  model?: string;
  /** Of a service that counts its callers. */
  user?: string;
  /** Of a service that watches its callers. */
  safety_identifier?: string;
  /** Of a service that stores answers. */
  metadata?: Record<string, string> | null;
  /** Of a service with several prices. */
  service_tier?: string | null;
  /** Of a service that shares its cache. */
  prompt_cache_key?: string;
  /** Of a service that shares its cache. */
  prompt_cache_retention?: string | null;
  /** What the answer may be: a hint that only saves time. */
  prediction?: unknown;
  /** The cache is used wherever the prompt begins as the last one did; answers are the same. */
  cache_prompt?: boolean;
}

/**
 * Which tools the model hears of, and whether it has to call one. Where it has to, its answer is calls and nothing else, in the
 * format of its chat template, with arguments that are valid for the tools' schemas; a thought before it stays free. A model
 * whose template writes calls as a program would, or in frames, cannot be made to: `InvalidParameter` names `tool_choice`.
 */
export type ToolChoice =
  /** It calls those that it likes. */
  | 'auto'
  /** It hears of none. */
  | 'none'
  /** It calls one or several. */
  | 'required'
  /** It hears of this one, and calls it once. */
  | { type: 'function'; function: { name: string } }
  /** It hears of these. */
  | { type: 'allowed_tools'; allowed_tools: { mode: 'auto' | 'required'; tools: { type: 'function'; function: { name: string } }[] } };

/** What an answer is to be, in OpenAI's words. */
export type ResponseFormat =
  /** Text, as without it. */
  | { type: 'text' }
  /** A JSON object. The model does best where the messages ask for one, too. */
  | { type: 'json_object' }
  /**
   * JSON that a JSON Schema describes. Properties come in the order in which the schema has them. A schema is always kept to
   * the letter, `strict` or not; a keyword that is not supported is refused, with its name in `details.keyword`.
   */
  | { type: 'json_schema'; json_schema: { name: string; description?: string | null; schema: Record<string, unknown>; strict?: boolean | null } };

/**
 * What holds an answer to a grammar: one of these fields, or `response_format`. Tokens that would leave the grammar are never
 * drawn, and the answer ends only where the grammar is satisfied, or is cut. `logprobs` are those of the model, over all tokens.
 */
export interface GrammarParams {
  /**
   * A grammar for the answer: GBNF, as llama.cpp has it, where there is a `::=` in it, and otherwise Lark, as llguidance has
   * it. Its first rule is `root`, in Lark `start`.
   */
  grammar?: string;
  /** A regular expression for the whole answer, in the syntax of Rust's `regex`: without look-around and back-references. */
  regex?: string;
  /**
   * How much of each of the engine's adapters is in what is computed; of those that are not named, none. Default: what the
   * engine was opened with. What was computed with other scales is not reused.
   */
  adapters?: AdapterScale[];
}

/** One message of a chat. Fields beyond these go to the chat template as they are. */
export interface ChatMessage {
  /** Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows. */
  role: string;
  /** What is said. */
  content?: string | null | { type: 'text'; text: string }[];
  /** What an assistant thought before it answered, as an answer tells it. Whether it is shown to the model again is the template's decision. */
  reasoning_content?: string | null;
  /** Who speaks, by name, where the template shows that. */
  name?: string;
  /** Calls of tools that an assistant made, as an answer tells them. */
  tool_calls?: ChatToolCall[] | null;
  /** The call that a message of a tool answers. */
  tool_call_id?: string;
  [field: string]: unknown;
}

/** A function the model may call, as OpenAI describes it. */
export interface ChatTool {
  /** The only kind there is. */
  type: 'function';
  /**
   * Its name, what it does, and the JSON Schema of its arguments. `strict: true` holds calls to that schema also where the model
   * may choose to call: text is free, and from the mark that opens a call on nothing is written that would not be a valid one.
   * The first such request loads what reads grammars, as one with `response_format` does. A keyword of a schema that is not
   * supported is refused, with its name in `details.keyword`; `strict: false` asks for a JSON object only, also where a call
   * is required.
   */
  function: { name: string; description?: string; parameters?: Record<string, unknown>; strict?: boolean | null };
}

/** A call of a tool, in an answer and in the messages that follow it. */
export interface ChatToolCall {
  /** The model's own where it gives one. The message with the result names it as `tool_call_id`. */
  id: string;
  /** The only kind there is. */
  type: 'function';
  /** What is called, and with what. */
  function: {
    name: string;
    /** JSON, as the model wrote it: where it is not held to a schema, or was cut off, it can be invalid. */
    arguments: string;
  };
}

/** A call that begins, with its id and name, or more of the arguments of one. */
export interface ChatToolCallDelta {
  /** Which call of the answer. */
  index: number;
  /** Where the call begins. */
  id?: string;
  /** Where the call begins. */
  type?: 'function';
  /** The name where the call begins, and more of its arguments. */
  function: { name?: string; arguments: string };
}

/** What a chat is to be answered with. */
export interface ChatCompletionRequest extends SamplingParams, GrammarParams, TemplateOptions, IgnoredFields {
  /** The chat so far. */
  messages: ChatMessage[];
  /**
   * What the answer is to be. Where the model thinks first, the thought is free and the answer behind it is not. It does not go
   * together with `tools`, `grammar`, `regex` or `ignore_eos`.
   */
  response_format?: ResponseFormat;
  /** `false`: at most one call of a tool, which ends the answer. Default true. */
  parallel_tool_calls?: boolean;
  /** Reports the log probability of every token. */
  logprobs?: boolean;
  /** Alternatives to report per token, with `logprobs`. */
  top_logprobs?: number;
  /** The newer name of `max_tokens`. */
  max_completion_tokens?: number;
  /** Whether the answer comes in chunks, as it is made. */
  stream?: boolean;
  /** With `stream: true`. */
  stream_options?: StreamOptions;
}

/** What a text is to be continued with. */
export interface CompletionRequest extends SamplingParams, GrammarParams, IgnoredFields {
  /** Text, or token ids that are used as they are. */
  prompt: string | number[];
  /** Alternatives to report per token, up to 50. */
  logprobs?: number;
  /** Whether the text comes in chunks, as it is made. */
  stream?: boolean;
  /** With `stream: true`. */
  stream_options?: StreamOptions;
}

/** What is to be embedded. */
export interface EmbeddingRequest {
  /** One text or several, or token ids that are used as they are. */
  input: string | string[] | number[] | number[][];
  /** `float`, the default: lists of numbers. `base64`: the same as little-endian 32-bit floats in Base64. */
  encoding_format?: 'float' | 'base64';
  /** The first so many numbers, scaled to length 1, for models that were trained to be cut ("Matryoshka"). Default: all. */
  dimensions?: number;
  /** As in other requests. */
  adapters?: AdapterScale[];
  /** Accepted without effect, as `user` is. */
  model?: string;
  /** Accepted without effect. */
  user?: string;
}

/** Measured times of one call, under the names of llama.cpp's server. */
export interface Timings {
  /** Prompt tokens taken from the cache. */
  cache_n: number;
  /** Prompt tokens computed. */
  prompt_n: number;
  /** From the start of the call to its first token, waiting for bytes included. */
  prompt_ms: number;
  /** `prompt_ms` by `prompt_n`. */
  prompt_per_token_ms: number;
  /** Prompt tokens computed in a second. */
  prompt_per_second: number;
  /** Tokens of the answer. */
  predicted_n: number;
  /** From the first token to the last. */
  predicted_ms: number;
  /** `predicted_ms` by the tokens after the first. */
  predicted_per_token_ms: number;
  /** Tokens after the first, in a second. */
  predicted_per_second: number;
  /** Tokens that were guessed, and those of them that were right. */
  draft_n: number;
  draft_n_accepted: number;
}

/** Log probabilities of a chat's tokens. */
export interface ChatLogprobs {
  /** Of each token, with the alternatives that were asked for. */
  content: (TokenLogprob & { top_logprobs: TokenLogprob[] })[];
}

/** Log probabilities of a completion's tokens, in lists of one entry per token. */
export interface CompletionLogprobs {
  /** The texts. */
  tokens: string[];
  /** The ids. */
  token_ids: number[];
  /** The log probabilities. */
  token_logprobs: number[];
  /** By text; where several ids share a text the best one counts. */
  top_logprobs: Record<string, number>[];
  /** Best first, beside `top_token_logprobs`. */
  top_token_ids: number[][];
  /** Best first, beside `top_token_ids`. */
  top_token_logprobs: number[][];
  /** Where each token begins in the completion's text, in UTF-16 code units. */
  text_offset: number[];
}

/** What answers have in common. */
interface Envelope<Kind extends string> {
  /** Another for each request. */
  id: string;
  /** What kind of answer it is. */
  object: Kind;
  /** Seconds since 1970. */
  created: number;
  /** The name that the model's file gives it. */
  model: string;
}

/** The answer to a chat. */
export interface ChatCompletion extends Envelope<'chat.completion'> {
  /** One answer for each of `n`. */
  choices: {
    index: number;
    message: {
      role: 'assistant';
      /** Null where the model only calls tools. */
      content: string | null;
      /** What the model thought before it answered, where it thinks aloud. */
      reasoning_content?: string;
      tool_calls?: ChatToolCall[];
    };
    /** Of every token, those of reasoning and calls too. */
    logprobs: ChatLogprobs | null;
    finish_reason: FinishReason;
  }[];
  /** Tokens of the request. */
  usage: Usage;
  /** How long it took. */
  timings: Timings;
}

/** A piece of the answer to a chat. */
export interface ChatCompletionChunk extends Envelope<'chat.completion.chunk'> {
  /** More of one answer; none in the chunk that carries `usage`. */
  choices: {
    index: number;
    delta: { role?: 'assistant'; content?: string; reasoning_content?: string; tool_calls?: ChatToolCallDelta[] };
    logprobs: ChatLogprobs | null;
    finish_reason: FinishReason | null;
  }[];
  /** With `stream_options.include_usage`: null but in the last chunk. */
  usage?: Usage | null;
  /** In the last chunk. */
  timings?: Timings;
}

/** The continuation of a text. */
export interface Completion extends Envelope<'text_completion'> {
  /** One continuation for each of `n`. */
  choices: {
    index: number;
    text: string;
    logprobs: CompletionLogprobs | null;
    finish_reason: FinishReason;
  }[];
  /** Tokens of the request. */
  usage: Usage;
  /** How long it took. */
  timings: Timings;
}

/** A piece of the continuation of a text. */
export interface CompletionChunk extends Envelope<'text_completion'> {
  /** More of one continuation; none in the chunk that carries `usage`. */
  choices: {
    index: number;
    text: string;
    logprobs: CompletionLogprobs | null;
    finish_reason: FinishReason | null;
  }[];
  /** With `stream_options.include_usage`: null but in the last chunk. */
  usage?: Usage | null;
  /** In the last chunk. */
  timings?: Timings;
}

/** Embeddings, in the order of the inputs: lists of numbers, or text for `encoding_format: 'base64'`. */
export interface EmbeddingResponse<Vector extends number[] | string = number[]> {
  /** What kind of answer it is. */
  object: 'list';
  /** One embedding for each input, of length 1. */
  data: { object: 'embedding'; index: number; embedding: Vector }[];
  /** The name that the model's file gives it. */
  model: string;
  /** Tokens of all inputs. */
  usage: { prompt_tokens: number; total_tokens: number };
}

/** A request for a ranking, in the fields that Cohere and Jina have. */
export interface RerankRequest {
  /** What is asked. */
  query: string;
  /** What may answer it, as strings or objects with a `text`. */
  documents: (string | { text: string })[];
  /** How many of the best are wanted. Default: all. */
  top_n?: number;
  /** Whether results carry their documents. Default false. */
  return_documents?: boolean;
  /** As in other requests. */
  adapters?: AdapterScale[];
  /** Accepted and ignored: an engine has one model. */
  model?: string;
}

/** Documents by how well they answer the query. */
export interface RerankResponse {
  /** What kind of answer it is. */
  object: 'list';
  /** The name that the model's file gives it. */
  model: string;
  /**
   * The best first. `index` says which of the documents it is. The score is the model's own, and compares documents of one
   * query: for a classifier any number, for models that say yes or no the probability of yes.
   */
  results: { index: number; relevance_score: number; document?: { text: string } }[];
  /** Tokens of all pairs of query and document. */
  usage: { prompt_tokens: number; total_tokens: number };
}

/** How a chat becomes a prompt. */
export interface TemplateOptions {
  /** The tools that the model hears of. */
  tools?: ChatTool[];
  /** Which of them it hears of, and whether it has to call one. Default `auto`: all, as it likes. */
  tool_choice?: ToolChoice;
  /** Ends with the opening of the assistant's turn. Default true, unless the last message is continued. */
  add_generation_prompt?: boolean;
  /** Name of a template in the model's file, such as `rag`. Default: `tool_use` with tools where the file has it, else `default`. */
  chat_template?: string;
  /** Ends within the last message, for the answer to go on there. */
  continue_final_message?: boolean;
  /** Further variables of the template, such as `enable_thinking`. */
  chat_template_kwargs?: Record<string, unknown>;
  /** How much the model is to think, in the words that its template has for it. Refused where the template has none. */
  reasoning_effort?: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh';
}
