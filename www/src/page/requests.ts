/** Turns the caller's request bodies into JSON for the core, refusing what JSON would distort. */

import { ChordError, invalidParameter } from '../wire/errors.js';
import type { ChatCompletionRequest, ChatMessage, CompletionRequest, TemplateOptions } from '../wire/types.js';

/** A request ready to be queued. */
export interface Prepared {
  json: string;
  stream: boolean;
  includeUsage: boolean;
}

/** Fields of OpenAI's API that would change the answer and are not supported. */
const UNSUPPORTED = ['echo', 'suffix', 'functions', 'function_call', 'response_format'] as const;

/** Fields that the page handles or that have no effect. */
const NOT_FOR_CORE: ReadonlySet<string> = new Set(['stream', 'stream_options', 'model', 'user', 'max_completion_tokens', ...UNSUPPORTED]);

export function prepareChat(body: ChatCompletionRequest): Prepared {
  const fields = checkBody(body);
  if (!Array.isArray(fields['messages']) || fields['messages'].length === 0) {
    throw invalidParameter('messages', 'messages must be a list with at least one message');
  }
  const maxTokens = fields['max_tokens'] ?? fields['max_completion_tokens'];
  return prepare('chat', { ...fields, max_tokens: maxTokens });
}

export function prepareCompletion(body: CompletionRequest): Prepared {
  const fields = checkBody(body);
  const { prompt } = fields;
  if (typeof prompt !== 'string' && !isTokenIds(prompt)) {
    throw invalidParameter('prompt', 'prompt must be a string or a list of token ids');
  }
  return prepare('completion', fields);
}

/** One request for each input. */
export function prepareEmbeddings(body: { input: unknown; encoding_format?: unknown }): Prepared[] {
  const { input, encoding_format: format } = checkBody(body);
  if (format !== undefined && format !== 'float') throw invalidParameter('encoding_format', 'only "float" is supported');
  const single = typeof input === 'string' || isTokenIds(input);
  const inputs: unknown[] = single ? [input] : Array.isArray(input) ? input : [];
  const isSound = inputs.length > 0 && inputs.every((one) => typeof one === 'string' || isTokenIds(one));
  if (!isSound) throw invalidParameter('input', 'input must be a string, a list of token ids, or a list of those');
  return inputs.map((one) => prepare('embedding', { input: one }));
}

export function prepareTemplate(messages: ChatMessage[], options: TemplateOptions = {}): string {
  if (!Array.isArray(messages)) throw invalidParameter('messages', 'messages must be a list');
  return toJson({ ...options, messages }, 'messages');
}

export function prepareCount(input: string | ChatMessage[]): string {
  if (typeof input !== 'string' && !Array.isArray(input)) throw invalidParameter('input', 'input must be a string or a list of messages');
  return toJson(input, 'input');
}

/** Text without lone surrogates, which UTF-8 cannot hold. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

function prepare(kind: 'chat' | 'completion' | 'embedding', fields: Record<string, unknown>): Prepared {
  const own = Object.entries(fields).filter(([name, value]) => !NOT_FOR_CORE.has(name) && value !== undefined && value !== null);
  const options = fields['stream_options'] as { include_usage?: unknown } | null | undefined;
  const json = [['kind', kind] as const, ...own].map(([name, value]) => `${JSON.stringify(name)}:${toJson(value, name)}`);
  return {
    json: `{${json.join(',')}}`,
    stream: fields['stream'] === true,
    includeUsage: options?.include_usage === true,
  };
}

function checkBody(body: unknown): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalidParameter('body', 'the request must be an object');
  }
  const fields = body as Record<string, unknown>;
  for (const name of UNSUPPORTED) {
    const value = fields[name];
    const isDefault = value === undefined || value === null || value === false
      || (name === 'response_format' && (value as { type?: unknown }).type === 'text');
    if (!isDefault) throw invalidParameter(name, `${name} is not supported`);
  }
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
