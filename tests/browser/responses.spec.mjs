// OpenAI's Responses API, asked by the official client, and the examples of its README as they are printed there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { transform } from 'esbuild';
import { caller, thinker } from '../support/talking-models.mjs';
import { bundled, openStage, root } from './support.mjs';

const CONTEXT = 256;
/** The client with the only options that a page changes: where requests go. */
const client = await bundled(`
  import Official from 'openai';
  export default class OpenAI extends Official {
    constructor(options) {
      super({ maxRetries: 0, ...options, apiKey: 'none', baseURL: 'http://page.invalid/v1', dangerouslyAllowBrowser: true, fetch: window.answer });
    }
  }
  export { BadRequestError, APIError } from 'openai';`);
const stage = await openStage({ files: { '/client.js': client, '/caller.gguf': caller(CONTEXT), '/thinker.gguf': thinker(CONTEXT) } });

/** Runs `body` in a page where `client` asks `engine`. */
const inPage = (model, body, argument) => stage.visit({}, async (page) => {
  await page.evaluate(async (address) => {
    const { createEngine } = await import('/pkg/index.js');
    const { createFetch } = await import('/pkg/openai.js');
    const { default: OpenAI, ...errors } = await import('/client.js');
    const engine = await createEngine({ model: address, store: 'none', device: 'cpu' });
    Object.assign(window, { engine, errors, OpenAI, answer: createFetch(engine) });
    window.client = new OpenAI();
  }, model);
  const result = await page.evaluate(body, argument);
  await page.evaluate(() => engine.dispose());
  return result;
});

const TINY = '/models/chord-tiny.gguf';
/** The caller's tools, in this interface's shape. */
const TOOLS = ['lookup', 'time'].map((name) => ({ type: 'function', name, parameters: { type: 'object', properties: {} }, strict: false }));

test('a response is the answer of the same chat, whole and streamed, and goes on by its id', async () => {
  const { own, whole, followed, again, events, cut } = await inPage(TINY, async () => {
    const limits = { temperature: 0, max_output_tokens: 24 };
    const request = { model: 'any', instructions: 'Be kind.', input: 'Tell me a story about a fox.', ...limits };
    const messages = [{ role: 'system', content: 'Be kind.' }, { role: 'user', content: 'Tell me a story about a fox.' }];
    const said = async (all) => (await engine.chat.completions.create({ messages: all, temperature: 0, max_tokens: 24 })).choices[0].message.content;
    const first = await said(messages);
    const whole = await client.responses.create(request);
    const more = [...messages.slice(1), { role: 'assistant', content: first }, { role: 'user', content: 'And then?' }];
    const events = [];
    for await (const event of await client.responses.create({ ...request, stream: true })) events.push(event);
    const next = { model: 'any', input: 'And then?', previous_response_id: whole.id, ...limits };
    return {
      own: [first, await said(more)], whole, events, cut: whole.incomplete_details,
      followed: (await client.responses.create(next)).output_text,
      // The same conversation, handed over by its items.
      again: (await client.responses.create({ ...next, previous_response_id: null, input: [{ role: 'user', content: request.input }, ...whole.output, { role: 'user', content: 'And then?' }] })).output_text,
    };
  });
  assert.ok(own[0].length > 20, own[0]);
  assert.deepEqual([whole.output_text, followed, again], [own[0], own[1], own[1]]);
  assert.deepEqual([whole.status, cut, whole.usage.output_tokens], ['incomplete', { reason: 'max_output_tokens' }, 24]);
  const { type, response } = events.at(-1);
  assert.equal(type, 'response.incomplete');
  assert.equal(response.output[0].content[0].text, own[0]);
  assert.deepEqual(events.map(({ sequence_number: number }) => number), events.map((_, index) => index));
  assert.deepEqual([...new Set(events.map(({ type: kind }) => kind))], [
    'response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added', 'response.output_text.delta',
    'response.output_text.done', 'response.content_part.done', 'response.output_item.done', 'response.incomplete',
  ]);
  const deltas = events.filter(({ type: kind }) => kind === 'response.output_text.delta');
  assert.ok(deltas.length > 10, `${deltas.length} deltas`);
  assert.equal(deltas.map(({ delta }) => delta).join(''), own[0]);
});

test('thoughts, texts and calls are items of their own, and go back in with the results of the tools', async () => {
  const { output, snapshot, prompts } = await inPage('/caller.gguf', async (tools) => {
    const request = { model: 'any', input: 'Where?', tools, max_output_tokens: 200 };
    const stream = client.responses.stream(request);
    const { output } = await stream.finalResponse();
    const calls = output.filter(({ type }) => type === 'function_call');
    const results = calls.map(({ call_id }, index) => ({ type: 'function_call_output', call_id, output: `result ${index}` }));
    const asChat = [
      { role: 'user', content: 'Where?' },
      {
        role: 'assistant', content: output[1].content[0].text, reasoning_content: output[0].content[0].text,
        tool_calls: calls.map(({ call_id: id, name, arguments: text }) => ({ id, type: 'function', function: { name, arguments: text } })),
      },
      ...results.map(({ call_id, output: content }) => ({ role: 'tool', tool_call_id: call_id, content })),
    ];
    const length = async (messages) => (await engine.chat.completions.create({ messages, tools: tools.map(({ type, ...rest }) => ({ type, function: rest })), max_tokens: 1 })).usage.prompt_tokens;
    const { usage } = await client.responses.create({ ...request, input: [{ role: 'user', content: 'Where?' }, ...output, ...results], max_output_tokens: 1 });
    return { output, snapshot: (await client.responses.create(request)).output, prompts: [usage.input_tokens, await length(asChat)] };
  }, TOOLS);
  const bare = (items) => items.map(({ type, name, arguments: text, content }) => [type, name ?? content[0].text, text]);
  assert.deepEqual(bare(output), [
    ['reasoning', 'They ask of Zürich.', undefined],
    ['message', 'I look.', undefined],
    ['function_call', 'lookup', '{"city": "Zürich"}'],
    ['function_call', 'time', '{}'],
  ]);
  assert.deepEqual(bare(snapshot), bare(output));
  assert.ok(output.every(({ status }) => status === 'completed'));
  assert.equal(prompts[0], prompts[1]);
});

test('formats, efforts and choices of tools reach the engine in its own names', async () => {
  const { object, named, thought } = await inPage(TINY, async () => {
    const schema = { type: 'object', properties: { animal: { enum: ['fox', 'dog'] } }, required: ['animal'], additionalProperties: false };
    const parsed = await client.responses.parse({ model: 'any', input: 'Name one.', text: { format: { type: 'json_schema', name: 'animal', schema, strict: true } } });
    return {
      object: JSON.parse(parsed.output_text),
      named: await client.responses.create({ model: 'any', input: 'a', tools: [], tool_choice: { type: 'function', name: 'missing' } }).catch(({ param }) => param),
      thought: await client.responses.create({ model: 'any', input: 'a', reasoning: { effort: 'high' } }).catch(({ param }) => param),
    };
  });
  assert.ok(['fox', 'dog'].includes(object.animal), JSON.stringify(object));
  assert.deepEqual([named, thought], ['tool_choice', 'reasoning_effort']);
});

test('what is not text, or not known here, is refused by its name', async () => {
  const refused = await inPage('/thinker.gguf', async () => {
    const requests = [
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] }] },
      { input: [{ type: 'item_reference', id: 'x' }] },
      { input: 7 },
      { input: 'a', tools: [{ type: 'web_search' }] },
      { input: 'a', truncation: 'auto' },
      { input: 'a', background: true },
      { input: 'a', n: 2 },
      { input: 'a', conversation: 'x' },
      { input: 'a', previous_response_id: 'resp-0' },
      { input: 'a', temperature: 9 },
    ];
    const params = [];
    for (const request of requests) {
      params.push(await client.responses.create({ model: 'any', ...request }).then(() => 'answered', (error) => [error instanceof errors.BadRequestError, error.param]));
    }
    const forgotten = await client.responses.create({ model: 'any', input: 'a', store: false });
    params.push(await client.responses.create({ model: 'any', input: 'b', previous_response_id: forgotten.id }).catch(({ code }) => code));
    return params;
  });
  assert.deepEqual(refused, [
    ...['input[0].content[0].type', 'input[0].type', 'input', 'tools[0].type', 'truncation', 'background', 'n', 'conversation', 'previous_response_id', 'temperature'].map((name) => [true, name]),
    'previous_response_not_found',
  ]);
});

/** The examples of the client's README that ask for chats and responses of OpenAI's own service, by what they are about. */
const EXAMPLES = {
  'a response': /instructions: 'You are a coding assistant/,
  'a chat': /role: 'developer'/,
  'a stream': /Sheep sleep deep/,
  retries: /maxRetries: 5/,
  'the id of a request': /response\._request_id/,
  'the raw response of a stream': /openai\.responses\n/,
  'raw responses': /asResponse\(\)/,
};
/** What they print of an answer, where they do. */
const PRINTS = ['a response', 'a chat', 'a stream', 'raw responses'];

test('the examples of the client’s README run as they are printed', async () => {
  const blocks = [...readFileSync(join(root, 'node_modules/openai/README.md'), 'utf8').matchAll(/```[jt]s\n(.*?)```/gs)].map(([, code]) => code);
  const examples = await Promise.all(Object.entries(EXAMPLES).map(async ([title, pattern]) => {
    const found = blocks.filter((code) => pattern.test(code));
    assert.equal(found.length, 1, title);
    // As the body of a function that is given the client's class, and a client where the example has none.
    const { code } = await transform(found[0], { loader: 'ts', define: { 'process.env': '{}' } });
    return [title, code.replace(/^import OpenAI from "openai";$/m, '').replace(/^const client = /m, 'client = ')];
  }));
  const printed = await inPage('/thinker.gguf', async (given) => {
    const printed = {};
    for (const [title, code] of given) {
      const lines = printed[title] = [];
      const console = { log: (value) => lines.push(typeof value === 'string' ? value : JSON.stringify(value)) };
      const AsyncFunction = (async () => undefined).constructor;
      await new AsyncFunction('OpenAI', 'client', 'openai', 'console', code)(OpenAI, client, client, console);
    }
    return printed;
  }, examples);
  for (const title of PRINTS) assert.ok(printed[title].some((line) => line?.includes('Hello.')), `${title}: ${printed[title]}`);
});
