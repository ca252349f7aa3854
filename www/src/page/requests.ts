/** Turns the caller's request bodies into JSON for the core, refusing what JSON would distort. */

import { ChordError, invalidParameter } from '../wire/errors.js';
import { checkFields, knownFields, type Holder } from './fields.js';
import { chosenTools } from './tool-choice.js';
import type { ChatCompletionRequest, ChatMessage, CompletionRequest, EmbeddingRequest, PrefixOptions, RerankRequest, StreamOptions, TemplateOptions } from '../wire/types.js';

/** A request ready to be queued. */
export interface Prepared {
  json: string;
  stream: boolean;
  includeUsage: boolean;
}

/** Fields that the page handles. */
const NOT_FOR_CORE: ReadonlySet<string> = new Set(['stream', 'stream_options']);

export function prepareChat(body: ChatCompletionRequest): Prepared {
  const fields = checkBody('a chat request', body);
  if (!Array.isArray(fields['messages']) || fields['messages'].length === 0) {
    throw invalidParameter('messages', 'messages must be a list with at least one message');
  }
  const { tools, isRequired, isNamed } = chosenTools(fields['tools'], fields['tool_choice']);
  const parallel = fields['parallel_tool_calls'];
  if (typeof (parallel ?? true) !== 'boolean') throw invalidParameter('parallel_tool_calls', 'parallel_tool_calls must be true or false');
  const choice = { tools, tool_choice: isRequired ? 'required' : undefined, parallel_tool_calls: isNamed ? false : parallel };
  return prepare('chat', { ...fields, ...choice });
}

export function prepareCompletion(body: CompletionRequest): Prepared {
  const fields = checkBody('a completion request', body);
  const { prompt } = fields;
  if (typeof prompt !== 'string' && !isTokenIds(prompt)) {
    throw invalidParameter('prompt', 'prompt must be a string or a list of token ids');
  }
  return prepare('completion', fields);
}

/** Inputs of one request of the core, which computes as many of them at a time as it has room for. */
const INPUTS_MAX = 128;

/** Requests that have all inputs, in their order, and what is done to each vector. */
export function prepareEmbeddings(body: EmbeddingRequest): { requests: Prepared[]; shape: (vector: number[]) => number[] | string } {
  const { input, encoding_format: format, dimensions, adapters } = checkBody('an embedding request', body);
  if (format !== undefined && format !== 'float' && format !== 'base64') {
    throw invalidParameter('encoding_format', 'encoding_format must be "float" or "base64"');
  }
  if (dimensions !== undefined && !(Number.isInteger(dimensions) && (dimensions as number) > 0)) {
    throw invalidParameter('dimensions', 'dimensions must be a whole number above 0');
  }
  const single = typeof input === 'string' || isTokenIds(input);
  const inputs: unknown[] = single ? [input] : Array.isArray(input) ? input : [];
  const isSound = inputs.length > 0 && inputs.every((one) => typeof one === 'string' || isTokenIds(one));
  if (!isSound) throw invalidParameter('input', 'input must be a string, a list of token ids, or a list of those');
  const requests = inTurns(inputs).map((several) => prepare('embedding', { input: several, adapters }));
  const shape = (vector: number[]): number[] | string => {
    const cut = shortened(vector, dimensions as number | undefined);
    return format === 'base64' ? base64(cut) : cut;
  };
  return { requests, shape };
}

/** As many of them for each request as one has. */
function inTurns<Input>(inputs: Input[]): Input[][] {
  return Array.from({ length: Math.ceil(inputs.length / INPUTS_MAX) }, (_, turn) => inputs.slice(turn * INPUTS_MAX, (turn + 1) * INPUTS_MAX));
}

/** The beginning of a vector, scaled to length 1 again. */
function shortened(vector: number[], dimensions = vector.length): number[] {
  if (dimensions > vector.length) {
    throw invalidParameter('dimensions', `dimensions is ${dimensions}, and embeddings of this model have ${vector.length}`);
  }
  if (dimensions === vector.length) return vector;
  const beginning = vector.slice(0, dimensions);
  const length = Math.hypot(...beginning);
  return length > 0 ? beginning.map((value) => value / length) : beginning;
}

/** The bytes of 32-bit floats, little-endian, in Base64. */
function base64(vector: number[]): string {
  const bytes = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((value, index) => bytes.setFloat32(4 * index, value, true));
  let text = '';
  for (let at = 0; at < bytes.byteLength; at += 1) text += String.fromCharCode(bytes.getUint8(at));
  return btoa(text);
}

/** Requests that have all documents, in their order, the documents' texts, and how many results are wanted. */
export function prepareRerank(body: RerankRequest): { requests: Prepared[]; texts: string[]; count: number } {
  const { query, documents, top_n: most, return_documents: returns, adapters } = checkBody('a rerank request', body);
  if (typeof query !== 'string') throw invalidParameter('query', 'query must be a string');
  const text = (document: unknown): unknown => (typeof document === 'object' && document !== null && 'text' in document ? document.text : document);
  const texts: unknown[] = Array.isArray(documents) ? documents.map(text) : [];
  const areTexts = (all: unknown[]): all is string[] => all.length > 0 && all.every((one) => typeof one === 'string');
  if (!areTexts(texts)) throw invalidParameter('documents', 'documents must be a list of strings, or of objects with a text');
  if (most !== undefined && !(Number.isInteger(most) && (most as number) > 0)) {
    throw invalidParameter('top_n', 'top_n must be a whole number above 0');
  }
  if (typeof (returns ?? true) !== 'boolean') throw invalidParameter('return_documents', 'return_documents must be true or false');
  const requests = inTurns(texts).map((several) => prepare('score', { query, documents: several, adapters }));
  return { requests, texts, count: Math.min(texts.length, (most as number | undefined) ?? texts.length) };
}

export function prepareTemplate(messages: ChatMessage[], options: TemplateOptions = {}): string {
  if (!Array.isArray(messages)) throw invalidParameter('messages', 'messages must be a list');
  checkFields('the options of applyChatTemplate', options);
  const { tool_choice: choice, ...others } = options;
  return toJson({ ...others, tools: chosenTools(options.tools, choice).tools, messages }, 'messages');
}

/** The beginning of prompts, for the core. */
export function preparePrefix(input: string | ChatMessage[], options: PrefixOptions): string {
  checkFields('the options of exportPrefix', options);
  if (typeof input === 'string') {
    const [given] = Object.entries(options).find(([name, value]) => name !== 'signal' && value !== undefined) ?? [];
    if (given !== undefined) throw invalidParameter(given, `${given} is of messages, and the prefix is a text`);
    if (input === '') throw invalidParameter('input', 'input must not be empty');
    return toJson(input, 'input');
  }
  if (!Array.isArray(input) || input.length === 0) throw invalidParameter('input', 'input must be a string or a list with at least one message');
  const { signal: _, ...others } = options;
  return toJson({ ...others, tools: chosenTools(options.tools, undefined).tools, messages: input }, 'messages');
}

export function prepareCount(input: string | ChatMessage[]): string {
  if (typeof input !== 'string' && !Array.isArray(input)) throw invalidParameter('input', 'input must be a string or a list of messages');
  return toJson(input, 'input');
}

/** Text without lone surrogates, which UTF-8 cannot hold. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

function prepare(kind: 'chat' | 'completion' | 'embedding' | 'score', fields: Record<string, unknown>): Prepared {
  const own = Object.entries(fields).filter(([name, value]) => !NOT_FOR_CORE.has(name) && value !== undefined);
  const json = [['kind', kind] as const, ...own].map(([name, value]) => `${JSON.stringify(name)}:${toJson(value, name)}`);
  return {
    json: `{${json.join(',')}}`,
    stream: fields['stream'] === true,
    includeUsage: (fields['stream_options'] as StreamOptions | undefined)?.include_usage === true,
  };
}

/** The fields of a request; numbers that mean "no limit" elsewhere are left out or become ours. */
function checkBody(holder: Holder, body: unknown): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalidParameter('body', 'the request must be an object');
  }
  const fields = knownFields(holder, body as Record<string, unknown>);
  if (typeof (fields['stream'] ?? true) !== 'boolean') throw invalidParameter('stream', 'stream must be true or false');
  checkFields('stream_options', fields['stream_options']);
  // llama.cpp's: until the end, and until the context is full. Both end there.
  if (fields['max_tokens'] === -1 || fields['max_tokens'] === -2) delete fields['max_tokens'];
  if (fields['top_k'] === -1) fields['top_k'] = 0;
  return fields;
}

function isTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id));
}

/** JSON whose strings are well-formed and whose numbers are all finite; errors name the field. */
function toJson(value: unknown, name: string): string {
  try {
    return JSON.stringify(value, (_, inner: unknown) => {
      if (typeof inner === 'string') return wellFormed(inner);
      if (typeof inner === 'number' && !Number.isFinite(inner)) throw invalidParameter(name, `${name} must hold finite numbers`);
      return inner;
    }) ?? 'null';
  } catch (cause) {
    if (cause instanceof ChordError) throw cause;
    throw new ChordError('InvalidParameter', `${name} cannot be written as JSON`, { cause, details: { name } });
  }
}
