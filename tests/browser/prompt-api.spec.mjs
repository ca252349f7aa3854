// The Prompt API before an engine in the page.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStage, root } from './support.mjs';

/** The entry beside an engine that answers what `window.turns` says, and keeps what it was asked. */
const SCRIPTED = `
  export { ChordError, plan } from '/pkg/index.js';
  window.asked = [];
  const create = async ({ messages, tools }) => {
    window.asked.push({ messages, tools });
    const deltas = window.turns.shift();
    return (async function* () {
      for (const delta of deltas) yield { choices: [{ delta }] };
      yield { choices: [], usage: { total_tokens: messages.length } };
    })();
  };
  export const createEngine = async () => ({
    model: { contextLength: 256 }, chat: { completions: { create } }, countTokens: async (messages) => messages.length, dispose: async () => undefined,
  });`;
const stage = await openStage({
  files: {
    '/scripted/index.js': Buffer.from(SCRIPTED),
    '/scripted/prompt-api.js': await readFile(join(root, 'pkg/prompt-api.js')),
  },
});

/** Runs `body` in a page where `model` is the bundled one, `opened` the engine of its sessions, and `own` what an engine answers to messages. */
const inPage = (body) => stage.visit({}, async (page) => {
  await page.evaluate(async () => {
    const { createEngine } = await import('/pkg/index.js');
    const { languageModel } = await import('/pkg/prompt-api.js');
    const options = { model: '/models/chord-tiny.gguf', store: 'none', device: 'cpu', contextLength: 256 };
    const own = async (messages, fields = {}) => {
      const engine = await createEngine(options);
      const { choices: [{ message }] } = await engine.chat.completions.create({ messages, temperature: 0, ...fields });
      await engine.dispose();
      return message.content;
    };
    const collected = async (stream) => {
      const pieces = [];
      for await (const piece of stream) pieces.push(piece);
      return pieces;
    };
    Object.assign(window, { model: languageModel(options), own, collected });
  });
  return page.evaluate(body);
});

/** A short answer, whatever the model would like to say. */
const SHORT = '[a-z ]{8,12}';

test('a session remembers, streams, clones, and is the engine’s', async () => {
  const result = await inPage(async () => {
    const initial = [{ role: 'system', content: 'You tell stories.' }];
    const session = await model.create({ initialPrompts: initial, temperature: 0, topK: 1 });
    const before = session.contextUsage;
    const responseConstraint = new RegExp('[a-z ]{8,12}');
    const first = await session.prompt('Tell me of a fox.', { responseConstraint });
    const usage = session.contextUsage;
    const clone = await session.clone();
    const pieces = await collected(session.promptStreaming('And a dog?', { responseConstraint }));
    const again = await clone.prompt([{ role: 'user', content: [{ type: 'text', value: 'And a dog?' }] }], { responseConstraint });
    const regex = '[a-z ]{8,12}';
    const asked = [...initial, { role: 'user', content: 'Tell me of a fox.' }];
    const result = {
      before, first, usage, text: pieces.join(''), again, cost: await session.measureContextUsage('One more?'), window: session.contextWindow,
      own: [await own(asked, { regex }), await own([...asked, { role: 'assistant', content: first }, { role: 'user', content: 'And a dog?' }], { regex })],
    };
    session.destroy();
    clone.destroy();
    return { ...result, after: await model.availability() };
  });
  assert.match(result.first, new RegExp(`^${SHORT}$`));
  assert.deepEqual([result.first, result.text, result.again], [result.own[0], result.own[1], result.own[1]]);
  assert.ok(result.before > 0 && result.usage > result.before && result.cost > 3, JSON.stringify(result));
  assert.deepEqual([result.window, result.after], [256, 'downloadable']);
});

test('availability and progress are told', async () => {
  const { states, loaded } = await inPage(async () => {
    const states = [await model.availability()];
    const loaded = [];
    const creating = model.create({ monitor: (monitor) => monitor.addEventListener('downloadprogress', (event) => loaded.push(event.loaded / event.total)) });
    states.push(await model.availability());
    const session = await creating;
    states.push(await model.availability());
    await session.prompt('Hello', { responseConstraint: /a/ });
    session.destroy();
    return { states, loaded };
  });
  assert.deepEqual(states, ['downloadable', 'downloading', 'available']);
  assert.ok(loaded.length > 0 && loaded.every((share, index) => share >= (loaded[index - 1] ?? 0) && share <= 1), String(loaded));
});

test('a full context loses its oldest messages, and what never fits is refused', async () => {
  const { overflows, usage, names } = await inPage(async () => {
    const session = await model.create({ initialPrompts: [{ role: 'system', content: 'Be brief.' }] });
    let overflows = 0;
    session.oncontextoverflow = () => { overflows += 1; };
    const name = (promise) => promise.then(() => 'none', (error) => error.name);
    for (let round = 0; round < 12; round += 1) await session.prompt(`Say something of number ${round}, and of a fox and a dog.`, { responseConstraint: /[a-z]{4}/ });
    const usage = session.contextUsage;
    const long = 'word '.repeat(600);
    const names = [await name(session.prompt(long)), await name(model.create({ initialPrompts: [{ role: 'system', content: long }] }))];
    names.push(await name(session.prompt([{ role: 'user', content: [{ type: 'image', value: 'x' }] }])));
    session.destroy();
    names.push(await name(session.prompt('Hello')));
    return { overflows, usage, names };
  });
  assert.ok(overflows > 0 && usage <= 256, `${overflows} overflows, ${usage} tokens`);
  assert.deepEqual(names, ['QuotaExceededError', 'QuotaExceededError', 'NotSupportedError', 'InvalidStateError']);
});

test('prompts wait for each other, and one that is cancelled is forgotten', async () => {
  const { both, names, usage, after } = await inPage(async () => {
    const session = await model.create({ temperature: 0, topK: 1 });
    const responseConstraint = /[a-z ]{8,12}/;
    const both = await Promise.all([session.prompt('One', { responseConstraint }), session.prompt('Two', { responseConstraint })]);
    const usage = [session.contextUsage];
    const stop = new AbortController();
    const cancelled = session.prompt('Three', { signal: stop.signal, responseConstraint: /[a-z]{150}/ });
    setTimeout(() => stop.abort(), 10);
    const names = [await cancelled.then(() => 'none', (error) => error.name)];
    const reader = session.promptStreaming('Four', { responseConstraint: /[a-z]{150}/ }).getReader();
    await reader.read();
    await reader.cancel();
    await session.append([{ role: 'user', content: 'Five' }]);
    usage.push(session.contextUsage);
    const running = session.prompt('Six', { responseConstraint: /[a-z]{100}/ }).then(() => 'none', (error) => error.name);
    session.destroy();
    names.push(await running);
    return { both, names, usage, after: await model.availability() };
  });
  assert.equal(both.length, 2);
  assert.deepEqual(names, ['AbortError', 'AbortError']);
  assert.ok(usage[1] > usage[0] && usage[1] < usage[0] + 40, String(usage));
  assert.equal(after, 'downloadable');
});

/** Runs `body` in a page with a session whose engine answers by script, and that has the tool `weather`. */
const withTools = (body) => stage.visit({}, async (page) => {
  await page.evaluate(async () => {
    const { languageModel } = await import('/scripted/prompt-api.js');
    const weather = {
      name: 'weather', description: 'The weather of a town', inputSchema: { type: 'object', properties: { town: { type: 'string' } } },
      async execute({ town }) {
        if (town === 'Nowhere') throw new RangeError('no such town');
        return `rain in ${town}`;
      },
    };
    const call = (index, id, name, ...pieces) => [
      { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] },
      ...pieces.map((more) => ({ tool_calls: [{ index, function: { arguments: more } }] })),
    ];
    Object.assign(window, { call, session: await languageModel({ model: 'any' }).create({ tools: [weather] }) });
  });
  return page.evaluate(body);
});

test('the functions of a session are called for the model, and it hears what they give', async () => {
  const { text, asked, next, usage } = await withTools(async () => {
    window.turns = [
      [{ content: 'I ask. ' }, ...call(0, 'a', 'weather', '{"town":', '"Bonn"}'), ...call(1, 'b', 'moon', '{}'), ...call(2, 'c', 'weather', '{"town"')],
      [{ content: 'It ' }, { content: 'rains.' }],
      [{ content: 'Yes.' }],
    ];
    const text = await session.prompt('Does it rain?');
    const next = await session.prompt('Still?');
    return { text, asked: window.asked, next, usage: session.contextUsage };
  });
  const question = { role: 'user', content: 'Does it rain?' };
  const made = (id, name, given) => ({ id, type: 'function', function: { name, arguments: given } });
  const called = {
    role: 'assistant', content: 'I ask. ', tool_calls: [made('a', 'weather', '{"town":"Bonn"}'), made('b', 'moon', '{}'), made('c', 'weather', '{"town"')],
  };
  const heard = [
    { role: 'tool', tool_call_id: 'a', name: 'weather', content: 'rain in Bonn' },
    { role: 'tool', tool_call_id: 'b', name: 'moon', content: 'there is no tool moon' },
    { role: 'tool', tool_call_id: 'c', name: 'weather', content: 'the arguments are no JSON' },
  ];
  const said = [question, called, ...heard, { role: 'assistant', content: 'It rains.' }, { role: 'user', content: 'Still?' }];
  assert.deepEqual([text, next], ['I ask. It rains.', 'Yes.']);
  assert.deepEqual(asked.map(({ messages }) => messages), [said.slice(0, 1), said.slice(0, 5), said]);
  const described = [{ type: 'function', function: { name: 'weather', description: 'The weather of a town', parameters: { type: 'object', properties: { town: { type: 'string' } } } } }];
  for (const { tools } of asked) assert.deepEqual(tools, described);
  assert.equal(usage, said.length);
});

test('a function that fails ends the prompt, and one that is called for ever does too', async () => {
  const { failed, after, circles } = await withTools(async () => {
    const told = (error) => [error.name, error.code, error.message];
    window.turns = [call(0, 'a', 'weather', '{"town":"Nowhere"}')];
    const failed = await session.prompt('Where?').catch(told);
    window.turns = [[{ content: 'Here.' }]];
    await session.prompt('And now?');
    const after = window.asked.at(-1).messages;
    window.turns = Array.from({ length: 40 }, (_, round) => call(0, String(round), 'weather', '{}'));
    return { failed, after, circles: [await session.prompt('Again?').catch(told), 40 - window.turns.length] };
  });
  assert.deepEqual(failed, ['RangeError', undefined, 'no such town']);
  // Nothing of what failed is remembered.
  assert.deepEqual(after, [{ role: 'user', content: 'And now?' }]);
  assert.equal(circles[0][1], 'Internal');
  assert.equal(circles[1], 16);
});
