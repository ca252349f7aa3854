/**
 * OpenAI's HTTP interface before an engine: a `fetch` for clients of that interface, the official one among them. What they
 * send is answered in the page, and no request leaves it.
 */

import type { ChordErrorCode } from './wire/errors.js';
import type { Engine } from './wire/types.js';

/** One engine, which answers whatever model a request names, or several by the names that requests call them by. */
export type Engines = Engine | Readonly<Record<string, Engine>>;

/** Creates the answer to a request's body. */
type Create = (body: Body, options: { signal: AbortSignal }) => Promise<object>;

/** A request's JSON. The engine checks its fields. */
type Body = Record<string, unknown>;

/** Codes of errors that are the caller's, with their HTTP status. */
const STATUS: Partial<Record<ChordErrorCode, number>> = {
  InvalidParameter: 400, ContextOverflow: 400, TemplateFailed: 400, InvalidSource: 400, NotFound: 404, QueueFull: 429, Disposed: 503,
};

/** What OpenAI calls them, where programs look for that. */
const CODES: Partial<Record<ChordErrorCode, string>> = { ContextOverflow: 'context_length_exceeded', QueueFull: 'rate_limit_exceeded' };

/** The end of an address, and what of it names a model. */
const ROUTE = /\/(chat\/completions|completions|embeddings|rerank|models)(?:\/(.+?))?\/?$/;

/**
 * A `fetch` that `engines` answer: `POST` of `chat/completions`, `completions`, `embeddings` and `rerank`, streams included,
 * and `GET` of `models` and of one of them, below any address. Failures are answers with OpenAI's `error` and a status; only
 * a cancelled request rejects, as that of any `fetch` does.
 *
 *     new OpenAI({ baseURL: 'http://page/v1', apiKey: 'none', dangerouslyAllowBrowser: true, fetch: createFetch(engine) })
 */
export function createFetch(engines: Engines): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    request.signal.throwIfAborted();
    try {
      return await respond(request, engines);
    } catch (error) {
      request.signal.throwIfAborted();
      return Response.json({ error: described(error) }, { status: statusOf(error) });
    }
  };
}

/** An error of this interface, rather than of an engine. */
class RequestError extends Error {
  constructor(readonly status: number, readonly code: string, message: string) {
    super(message);
  }
}

async function respond(request: Request, engines: Engines): Promise<Response> {
  const { pathname } = new URL(request.url);
  const [, route, model] = ROUTE.exec(pathname) ?? [];
  const isModels = route === 'models';
  if (route === undefined || (model !== undefined && !isModels)) throw new RequestError(404, 'not_found', `${pathname} is not supported`);
  const method = isModels ? 'GET' : 'POST';
  if (request.method !== method) throw new RequestError(405, 'method_not_allowed', `${pathname} takes ${method}`);
  if (isModels) return Response.json(model === undefined ? { object: 'list', data: modelsOf(engines) } : modelOf(engines, decodeURIComponent(model)));
  const body = await parsed(request);
  const engine = chosen(engines, body['model']);
  const { chat, completions, embeddings, rerank } = engine;
  const creates: Record<string, unknown> = {
    'chat/completions': chat.completions.create, completions: completions.create, embeddings: embeddings.create, rerank: rerank.create,
  };
  const answer = await (creates[route] as Create)(body, { signal: request.signal });
  if (Symbol.asyncIterator in answer) {
    const events = eventStream(answer as AsyncIterable<object>, request.signal);
    return new Response(events, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } });
  }
  return Response.json(answer);
}

/** The request's JSON object. */
async function parsed(request: Request): Promise<Body> {
  const body: unknown = await request.json().catch(() => undefined);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new RequestError(400, 'invalid_json', 'the body is not a JSON object');
  return body as Body;
}

function isEngine(engines: Engines): engines is Engine {
  return typeof engines.dispose === 'function';
}

/** The engine that a request's `model` means. */
function chosen(engines: Engines, model: unknown): Engine {
  if (isEngine(engines)) return engines;
  const engine = typeof model === 'string' && Object.hasOwn(engines, model) ? engines[model] : undefined;
  if (engine) return engine;
  throw new RequestError(404, 'model_not_found', `there is no model ${JSON.stringify(model)}, only ${Object.keys(engines).join(', ')}`);
}

/** The models there are, under the names that requests call them by. */
function modelsOf(engines: Engines): object[] {
  const names = isEngine(engines) ? [engines.model.name] : Object.keys(engines);
  return names.map((name) => modelOf(engines, name));
}

function modelOf(engines: Engines, name: string): object {
  chosen(engines, name);
  return { id: name, object: 'model', created: 0, owned_by: 'page' };
}

/** Chunks as server-sent events, one at a time as they are read. A reader that cancels ends the generation. */
function eventStream(chunks: AsyncIterable<object>, signal: AbortSignal): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const event = (data: string): Uint8Array => encoder.encode(`data: ${data}\n\n`);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await iterator.next();
        controller.enqueue(event(done ? '[DONE]' : JSON.stringify(value)));
        if (done) controller.close();
      } catch (error) {
        if (signal.aborted) return controller.error(signal.reason);
        // The status has been sent: clients look for an error among the chunks.
        controller.enqueue(event(JSON.stringify({ error: described(error) })));
        controller.close();
      }
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

/** The engine's errors come from another bundle, so that their class is not ours: they are known by their fields. */
interface Failure {
  message: string;
  code?: ChordErrorCode;
  details?: { name?: unknown };
}

function statusOf(error: unknown): number {
  if (error instanceof RequestError) return error.status;
  return STATUS[(error as Failure).code ?? 'Internal'] ?? 500;
}

/** An error in OpenAI's fields. */
function described(error: unknown): { message: string; type: string; param: string | null; code: string } {
  const { message, code = 'Internal', details } = error as Failure;
  const type = statusOf(error) < 500 ? 'invalid_request_error' : 'server_error';
  return { message, type, param: typeof details?.name === 'string' ? details.name : null, code: CODES[code] ?? code };
}
