/**
 * OpenAI's HTTP interface before an engine: a `fetch` for clients of that interface, the official one among them. What they
 * send is answered in the page, and no request leaves it.
 */

import { RequestError, described, statusOf } from './openai/failures.js';
import { hasFunctions, withFunctionCall, withTools } from './openai/functions.js';
import { roleOf, type Fields } from './openai/input.js';
import { Responses } from './openai/responses.js';
import type { Engine } from './wire/types.js';

/** One engine, which answers whatever model a request names, or several by the names that requests call them by. */
export type Engines = Engine | Readonly<Record<string, Engine>>;

/** Creates the answer to a request's body. */
type Create = (body: Fields, options: { signal: AbortSignal }) => Promise<object>;

/** The end of an address, and what of it names a model. */
const ROUTE = /\/(chat\/completions|completions|responses|embeddings|rerank|models)(?:\/(.+?))?\/?$/;

/**
 * A `fetch` that `engines` answer: `POST` of `chat/completions`, `responses`, `completions`, `embeddings` and `rerank`, streams
 * included, and `GET` of `models` and of one of them, below any address. A message of the role `developer` is a system's.
 * `functions`, which tools have replaced, are called one at a time. `previous_response_id` names one of the last 64 responses
 * of the same `fetch`. Failures are answers with OpenAI's `error` and a status; only a cancelled request rejects, as that of
 * any `fetch` does.
 *
 *     new OpenAI({ baseURL: 'http://page/v1', apiKey: 'none', dangerouslyAllowBrowser: true, fetch: createFetch(engine) })
 */
export function createFetch(engines: Engines): typeof fetch {
  const responses = new Responses();
  return async (input, init) => {
    const request = new Request(input, init);
    request.signal.throwIfAborted();
    try {
      return await respond(request, engines, responses);
    } catch (error) {
      request.signal.throwIfAborted();
      return Response.json({ error: described(error) }, { status: statusOf(error) });
    }
  };
}

async function respond(request: Request, engines: Engines, responses: Responses): Promise<Response> {
  const { pathname } = new URL(request.url);
  const [, route, model] = ROUTE.exec(pathname) ?? [];
  const isModels = route === 'models';
  if (route === undefined || (model !== undefined && !isModels)) throw new RequestError(404, 'not_found', `${pathname} is not supported`);
  const method = isModels ? 'GET' : 'POST';
  if (request.method !== method) throw new RequestError(405, 'method_not_allowed', `${pathname} takes ${method}`);
  if (isModels) return Response.json(model === undefined ? { object: 'list', data: modelsOf(engines) } : modelOf(engines, decodeURIComponent(model)));
  const given = withRoles(await parsed(request));
  const isOfFunctions = route === 'chat/completions' && hasFunctions(given);
  const body = isOfFunctions ? withTools(given) : given;
  const shape = isOfFunctions ? withFunctionCall : (answer: object) => answer;
  const engine = chosen(engines, body['model']);
  const { chat, completions, embeddings, rerank } = engine;
  const creates: Record<string, unknown> = {
    'chat/completions': chat.completions.create, completions: completions.create, embeddings: embeddings.create, rerank: rerank.create,
    responses: (given: Fields, options: { signal: AbortSignal }) => responses.create(engine, given, options),
  };
  const answer = await (creates[route] as Create)(body, { signal: request.signal });
  if (Symbol.asyncIterator in answer) {
    const events = eventStream(answer as AsyncIterable<object>, shape, request.signal);
    return new Response(events, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } });
  }
  return Response.json(shape(answer));
}

/** The request's JSON object. The engine checks its fields. */
async function parsed(request: Request): Promise<Fields> {
  const body: unknown = await request.json().catch(() => undefined);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new RequestError(400, 'invalid_json', 'the body is not a JSON object');
  return body as Fields;
}

/** The request with roles that chat templates have. */
function withRoles(body: Fields): Fields {
  const { messages } = body;
  if (!Array.isArray(messages)) return body;
  return { ...body, messages: messages.map((message: Fields) => ({ ...message, role: roleOf(message?.['role']) })) };
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

/** Chunks, each in its shape, as server-sent events, one at a time as they are read. A reader that cancels ends the generation. */
function eventStream(chunks: AsyncIterable<object>, shape: (chunk: object) => object, signal: AbortSignal): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const event = (data: string, type?: unknown): Uint8Array => encoder.encode(`${typeof type === 'string' ? `event: ${type}\n` : ''}data: ${data}\n\n`);
  let hasTypes = false;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await iterator.next();
        if (!done) {
          const { type } = value as { type?: unknown };
          hasTypes ||= type !== undefined;
          controller.enqueue(event(JSON.stringify(shape(value)), type));
          return;
        }
        // Events with types of their own say themselves that they are the last.
        if (!hasTypes) controller.enqueue(event('[DONE]'));
        controller.close();
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
