// What the examples of the official `openai` client do (the folder `examples/` of openai/openai-node, and the client's README),
// in words of our own: the same calls, helpers and events, before an engine in the page. Each test has the names of those that
// it stands for. Examples of the README that ask for responses run as they are printed: responses.spec.mjs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asker, caller, speaker, thinker } from '../support/talking-models.mjs';
import { bundled, openStage } from './support.mjs';

const CONTEXT = 1024;
/** The client with the only options that a page changes: where requests go. */
const client = await bundled(`
  import Official from 'openai';
  export default class OpenAI extends Official {
    constructor(options) {
      super({ maxRetries: 0, ...options, apiKey: 'none', baseURL: 'http://page.invalid/v1', dangerouslyAllowBrowser: true, fetch: window.answer });
    }
  }
  export { APIError, BadRequestError, NotFoundError } from 'openai';
  export { ChatCompletionStream } from 'openai/lib/ChatCompletionStream';
  export { zodFunction, zodResponseFormat, zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
  export { z } from 'zod';`);

const HELLO = 'Hello there.';
const ANSWER = { steps: [{ explanation: 'Take 31 away.', output: '8x = -29' }], final_answer: 'x = -29/8' };
const QUERY = { table: 'orders', columns: ['id', 'status'], conditions: [{ column: 'id', operator: '=', value: 7 }], order: 'asc' };
const FORM = { type: 'form', label: 'Profile', children: [{ type: 'field', label: 'Name', children: [], attributes: [{ name: 'a', value: 'b' }] }], attributes: [] };
const models = {
  speaker: speaker(HELLO, CONTEXT), thinker: thinker(CONTEXT), caller: caller(CONTEXT),
  solver: speaker(JSON.stringify(ANSWER), CONTEXT), form: speaker(JSON.stringify(FORM), CONTEXT),
  query: asker('query', QUERY, 'These are they.', CONTEXT), books: asker('search', { name: 'Fox' }, 'Read The Fox.', CONTEXT),
};
const stage = await openStage({ files: { '/client.js': client, ...Object.fromEntries(Object.entries(models).map(([name, bytes]) => [`/${name}.gguf`, bytes])) } });

/** Runs `body` in a page where `client` asks `engine`, a model of that name, and what the client exports is in `window`. */
const inPage = (model, body) => stage.visit({}, async (page) => {
  await page.evaluate(async (address) => {
    const { createEngine } = await import('/pkg/index.js');
    const { createFetch } = await import('/pkg/openai.js');
    const { default: OpenAI, ...helpers } = await import('/client.js');
    const engine = await createEngine({ model: address, store: 'none', device: 'cpu', threads: 1 });
    Object.assign(window, { engine, OpenAI, ...helpers, answer: createFetch({ page: engine }) });
    window.client = new OpenAI();
    window.messages = [{ role: 'user', content: 'Say this is a test' }];
    // Schemas as the examples have them.
    const { z } = helpers;
    window.Answer = z.object({ steps: z.array(z.object({ explanation: z.string(), output: z.string() })), final_answer: z.string() });
    const Column = z.enum(['id', 'status', 'ordered_at']);
    const Condition = z.object({ column: Column, operator: z.enum(['=', '<', '>']), value: z.union([z.string(), z.number().min(-99).max(99), z.object({ column: Column })]) });
    window.Query = z.object({ table: z.enum(['orders', 'products']), columns: z.array(Column), conditions: z.array(Condition), order: z.enum(['asc', 'desc']) });
  }, `/${model}.gguf`);
  const result = await page.evaluate(body);
  await page.evaluate(() => engine.dispose());
  return result;
});

test('demo, types, chat-params-types: a chat, whole and streamed', async () => {
  const { whole, streamed } = await inPage('speaker', async () => {
    const whole = await client.chat.completions.create({ model: 'page', messages });
    let streamed = '';
    for await (const chunk of await client.chat.completions.create({ model: 'page', messages, stream: true })) streamed += chunk.choices[0]?.delta?.content || '';
    return { whole: whole.choices[0].message.content, streamed };
  });
  assert.deepEqual([whole, streamed], [HELLO, HELLO]);
});

test('stream: the helper tells deltas, the message and the whole', async () => {
  const { deltas, final, message, chunks } = await inPage('speaker', async () => {
    const deltas = [];
    let message;
    const runner = client.chat.completions.stream({ model: 'page', messages })
      .on('message', (told) => { message = told.content; })
      .on('content', (delta) => deltas.push(delta));
    let chunks = 0;
    for await (const _ of runner) chunks += 1;
    const { choices } = await runner.finalChatCompletion();
    return { deltas: deltas.join(''), final: choices[0].message.content, message, chunks };
  });
  assert.deepEqual([deltas, final, message], [HELLO, HELLO, HELLO]);
  assert.ok(chunks >= 2);
});

test('stream-to-client-express, -raw, -next and -browser: a stream that goes on to another reader', async () => {
  const told = await inPage('speaker', async () => {
    const stream = client.chat.completions.stream({ model: 'page', messages });
    const received = new Response(stream.toReadableStream());
    let text = '';
    const runner = ChatCompletionStream.fromReadableStream(received.body).on('content', (delta) => { text += delta; });
    return [text === '' && (await runner.finalChatCompletion()).choices[0].message.content, text];
  });
  assert.deepEqual(told, [HELLO, HELLO]);
});

test('logprobs: of chats as they stream, and of responses', async () => {
  const { streamed, final, response } = await inPage('speaker', async () => {
    const streamed = [];
    const stream = client.chat.completions.stream({ model: 'page', messages, logprobs: true }).on('logprobs.content.delta', ({ content }) => streamed.push(...content.map(({ token }) => token)));
    const { choices } = await stream.finalChatCompletion();
    const result = await client.responses.create({ model: 'page', input: 'a', include: ['message.output_text.logprobs'], top_logprobs: 5 });
    return { streamed, final: choices[0].logprobs.content.map(({ token }) => token), response: result.output[0].content[0].logprobs.map(({ token, top_logprobs: top }) => [token, top.length]) };
  });
  assert.equal(streamed.join(''), HELLO);
  assert.deepEqual(final, streamed);
  assert.deepEqual(response[0], [streamed[0], 5]);
});

test('parsing, responses/structured-outputs: an object of a Zod schema', async () => {
  const told = await inPage('solver', async () => {
    const ask = [{ role: 'system', content: 'You are a tutor.' }, { role: 'user', content: 'solve 8x + 31 = 2' }];
    const chat = await client.chat.completions.parse({ model: 'page', messages: ask, response_format: zodResponseFormat(Answer, 'math_response') });
    const response = await client.responses.parse({ model: 'page', input: ask, text: { format: zodTextFormat(Answer, 'math_response') } });
    return [chat.choices[0].message.parsed, response.output_parsed];
  });
  assert.deepEqual(told, [ANSWER, ANSWER]);
});

test('parsing-stream: an object that is told while it grows', async () => {
  const { done, final, snapshots } = await inPage('solver', async () => {
    let done;
    let snapshots = 0;
    const stream = client.chat.completions.stream({ model: 'page', messages, response_format: zodResponseFormat(Answer, 'math_response') })
      .on('refusal.delta', () => { throw new Error('nothing is refused'); })
      .on('content.delta', () => { snapshots += 1; })
      .on('content.done', ({ parsed }) => { done = parsed; });
    await stream.done();
    return { done, final: (await stream.finalChatCompletion()).choices[0].message.parsed, snapshots };
  });
  assert.deepEqual([done, final], [ANSWER, ANSWER]);
  assert.ok(snapshots >= 1);
});

test('ui-generation: a schema that has itself in it', async () => {
  const form = await inPage('form', async () => {
    const UI = z.lazy(() => z.object({
      type: z.enum(['div', 'button', 'field', 'form']), label: z.string(), children: z.array(UI),
      attributes: z.array(z.object({ name: z.string(), value: z.string() })),
    }));
    const completion = await client.chat.completions.parse({ model: 'page', messages, response_format: zodResponseFormat(UI, 'ui') });
    return completion.choices[0].message.parsed;
  });
  assert.deepEqual(form, FORM);
});

test('parsing-tools, responses/structured-outputs-tools: arguments of a Zod schema', async () => {
  const told = await inPage('query', async () => {
    const chat = await client.chat.completions.parse({ model: 'page', messages, tools: [zodFunction({ name: 'query', parameters: Query })] });
    const response = await client.responses.parse({ model: 'page', input: 'a', tools: [zodResponsesFunction({ name: 'query', parameters: Query })] });
    const call = response.output.find(({ type }) => type === 'function_call');
    return [chat.choices[0].message.tool_calls[0].function.parsed_arguments, call.parsed_arguments].map((query) => Query.safeParse(query).success);
  });
  // What begins each call is forced, and the model that recites one loses its way there: what follows is any query.
  assert.deepEqual(told, [true, true]);
});

test('parsing-tools-stream, responses/streaming-tools: arguments that are told while they grow', async () => {
  const { deltas, done, kinds } = await inPage('query', async () => {
    let deltas = '';
    let done;
    const stream = client.chat.completions.stream({ model: 'page', messages, tools: [zodFunction({ name: 'query', parameters: Query })] })
      .on('tool_calls.function.arguments.delta', ({ arguments_delta: delta }) => { deltas += delta; })
      .on('tool_calls.function.arguments.done', ({ parsed_arguments: parsed }) => { done = parsed; });
    await stream.done();
    const kinds = new Set();
    for await (const { type } of client.responses.stream({ model: 'page', input: 'a', tools: [zodResponsesFunction({ name: 'query', parameters: Query })] })) kinds.add(type);
    return { deltas, done: Query.parse(done), kinds: [...kinds] };
  });
  assert.deepEqual(JSON.parse(deltas), done);
  for (const kind of ['response.function_call_arguments.delta', 'response.function_call_arguments.done', 'response.completed']) assert.ok(kinds.includes(kind), `${kinds}`);
});

test('tool-call-helpers, tool-call-helpers-zod, parsing-run-tools, function-call-stream: tools that are run until the model answers', async () => {
  const told = await inPage('books', async () => {
    const all = [];
    const asked = [];
    const search = ({ name }) => { asked.push(name); return [{ id: 'a1', name: 'The Fox' }]; };
    const plain = { type: 'function', function: { name: 'search', description: 'Finds books', function: search, parse: JSON.parse, parameters: { type: 'object', properties: { name: { type: 'string' } } } } };
    const zod = zodFunction({ name: 'search', function: search, parameters: z.object({ name: z.string() }) });
    for (const [tool, stream] of [[plain, false], [plain, true], [zod, false], [zod, true]]) {
      const events = [];
      const runner = client.chat.completions.runTools({ model: 'page', messages, tools: [tool], stream })
        .on('message', ({ role }) => events.push(role))
        .on('functionToolCall', ({ name }) => events.push(name))
        .on('functionToolCallResult', (result) => events.push(JSON.parse(result)[0].id));
      const content = await runner.finalContent();
      all.push([content, events, (await runner.finalChatCompletion()).choices[0].finish_reason, tool === zod ? typeof asked.at(-1) : asked.at(-1)]);
    }
    return all;
  });
  for (const [number, [content, events, reason, name]] of told.entries()) {
    assert.deepEqual([content, reason, name], ['Read The Fox.', 'stop', number < 2 ? 'Fox' : 'string']);
    assert.deepEqual(events.filter((event) => event !== 'user').sort(), ['a1', 'assistant', 'assistant', 'search', 'tool']);
  }
});

test('tool-calls-stream, function-call-diy: calls put together from their deltas, and answered by hand', async () => {
  const { calls, content } = await inPage('books', async () => {
    const tools = [{ type: 'function', function: { name: 'search', parameters: { type: 'object', properties: { name: { type: 'string' } } } } }];
    const calls = [];
    for await (const { choices } of await client.chat.completions.create({ model: 'page', messages, tools, stream: true })) {
      for (const { index, function: { arguments: text }, ...more } of choices[0].delta.tool_calls ?? []) {
        calls[index] = { ...calls[index], ...more, text: (calls[index]?.text ?? '') + text };
      }
    }
    const asked = { role: 'assistant', content: null, tool_calls: calls.map(({ id, text }) => ({ id, type: 'function', function: { name: 'search', arguments: text } })) };
    const results = calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: '[]' }));
    const next = await client.chat.completions.create({ model: 'page', messages: [...messages, asked, ...results], tools });
    return { calls: calls.map(({ text }) => JSON.parse(text)), content: next.choices[0].message.content };
  });
  assert.deepEqual([calls, content], [[{ name: 'Fox' }], 'Read The Fox.']);
});

test('function-call, function-call-stream-raw: functions as they were before tools, called until the model answers', async () => {
  const told = await inPage('books', async () => {
    const functions = [{ name: 'search', description: 'Finds books', parameters: { type: 'object', properties: { name: { type: 'string' } } } }];
    const joined = (message, delta) => {
      const { function_call: call, ...rest } = delta;
      const content = (message.content ?? '') + (rest.content ?? '');
      const before = message.function_call;
      const calls = call ? { function_call: { name: call.name ?? before?.name, arguments: (before?.arguments ?? '') + call.arguments } } : {};
      return { ...message, ...rest, content, ...calls };
    };
    const all = [];
    for (const stream of [false, true]) {
      const history = [...messages];
      for (;;) {
        const request = { model: 'page', messages: history, functions, ...stream ? { stream, function_call: 'auto' } : {} };
        const answer = await client.chat.completions.create(request);
        let message = {};
        let reason;
        if (!stream) ({ message, finish_reason: reason } = answer.choices[0]);
        else for await (const { choices: [choice] } of answer) [message, reason] = [joined(message, choice.delta), choice.finish_reason ?? reason];
        history.push(message);
        all.push([reason, message.function_call ? [message.function_call.name, JSON.parse(message.function_call.arguments).name] : message.content]);
        if (!message.function_call) break;
        history.push({ role: 'function', name: message.function_call.name, content: '[]' });
      }
    }
    const forced = await client.chat.completions.create({ model: 'page', messages, functions, function_call: { name: 'search' } });
    return [...all, forced.choices[0].message.function_call.name];
  });
  const called = ['function_call', ['search', 'Fox']];
  const answered = ['stop', 'Read The Fox.'];
  assert.deepEqual(told, [called, answered, called, answered, 'search']);
});

test('responses/stream, responses/manual-conversation-state: events, and a conversation that is kept by hand', async () => {
  const { deltas, final, again } = await inPage('thinker', async () => {
    let deltas = '';
    const runner = client.responses.stream({ model: 'page', input: 'solve 8x + 31 = 2' }).on('response.output_text.delta', ({ delta }) => { deltas += delta; });
    for await (const _ of runner);
    const result = await runner.finalResponse();
    const history = [{ role: 'user', content: 'knock knock.' }, ...result.output, { role: 'user', content: 'orange.' }];
    return { deltas, final: result.output_text, again: (await client.responses.create({ model: 'page', input: history, store: false })).output_text };
  });
  assert.deepEqual([deltas, final, again], ['Hello.', 'Hello.', 'Hello.']);
});

test('raw-response: a completion’s HTTP answer, and its JSON', async () => {
  const { status, type, text, whole } = await inPage('speaker', async () => {
    const request = { model: 'page', prompt: 'a\n', max_tokens: 3 };
    const response = await client.completions.create(request).asResponse();
    const { choices } = await response.json();
    return { status: response.status, type: response.headers.get('content-type'), text: choices[0].text, whole: (await client.completions.create(request)).choices[0].text };
  });
  assert.deepEqual([status, type, text], [200, 'application/json', whole]);
});

test('errors, the README’s errors, pages, uploads and vision: what is not served is an error of the client’s', async () => {
  const told = await inPage('speaker', async () => {
    const failure = (error) => [error.constructor.name.replace(/^_+|\d+$/g, ''), error.status, error instanceof APIError, error.code];
    const tries = {
      model: () => client.completions.create({ model: 'unknown-model', prompt: 'Say this is a test' }),
      'a fine-tuning': () => client.fineTuning.jobs.create({ model: 'page', training_file: 'file-abc123' }),
      'a list of pages': async () => { for await (const _ of client.fineTuning.jobs.list({ limit: 20 })); },
      upload: () => client.files.create({ file: new File(['my bytes'], 'input.jsonl'), purpose: 'fine-tune' }),
      speech: () => client.audio.speech.create({ model: 'page', voice: 'alloy', input: 'a' }),
      transcription: () => client.audio.transcriptions.create({ model: 'page', file: new File(['a'], 'a.wav') }),
      image: () => client.images.generate({ model: 'page', prompt: 'a fox' }),
      batch: () => client.batches.create({ input_file_id: 'a', endpoint: '/v1/chat/completions', completion_window: '24h' }),
      moderation: () => client.moderations.create({ input: 'a' }),
      assistant: () => client.beta.assistants.create({ model: 'page' }),
      'an undocumented path': () => client.post('/some/path', { body: { some_prop: 'foo' } }),
      vision: () => client.responses.create({ model: 'page', input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] }] }),
      'vision in a chat': () => client.chat.completions.create({ model: 'page', messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }] }] }),
      background: () => client.responses.create({ model: 'page', input: 'a', background: true, stream: true }),
    };
    const told = {};
    for (const [name, attempt] of Object.entries(tries)) told[name] = await attempt().then(() => 'answered', failure);
    return told;
  });
  const { model, vision, 'vision in a chat': chat, background, ...others } = told;
  assert.deepEqual(model, ['NotFoundError', 404, true, 'model_not_found']);
  for (const refused of [vision, chat, background]) assert.deepEqual(refused?.slice(0, 3), ['BadRequestError', 400, true]);
  for (const [name, failure] of Object.entries(others)) assert.deepEqual(failure, ['NotFoundError', 404, true, 'not_found'], name);
});
