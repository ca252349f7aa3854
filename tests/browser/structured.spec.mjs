// Answers that are held to a grammar, by the bundled model.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { withEngine } from './engine-page.mjs';
import { gpuTest, openStage } from './support.mjs';

const MODEL = '/models/chord-tiny.gguf';
const MODULE = '/pkg/wasm/chord-constrain.wasm';
const stage = await openStage({ gpu: true });

const messages = [{ role: 'user', content: 'Tell me a story about a fox.' }];
const schema = {
  type: 'object',
  properties: {
    title: { type: 'string', maxLength: 30 },
    animal: { enum: ['fox', 'dog', 'cat'] },
    age: { type: 'integer', minimum: 0, maximum: 20 },
    tags: { type: 'array', items: { type: 'boolean' }, minItems: 1, maxItems: 3 },
  },
  required: ['title', 'animal', 'age', 'tags'],
  additionalProperties: false,
};
const responseFormat = { type: 'json_schema', json_schema: { name: 'story', strict: true, schema } };

const inPage = (body, argument, options = {}) => withEngine(stage, { model: MODEL, device: 'cpu', ...options }, (page) => page.evaluate(body, argument));

/** An answer's text, and why it ended. */
const chat = (request) => inPage(async (body) => {
  const { choices, usage } = await engine.chat.completions.create(body);
  return { choices: choices.map(({ message, finish_reason: reason }) => ({ content: message.content, reason })), usage };
}, { messages, temperature: 0.8, seed: 1, max_tokens: 300, ...request });

function assertStory(text) {
  const { title, animal, age, tags, ...others } = JSON.parse(text);
  assert.ok(typeof title === 'string' && [...title].length <= 30, text);
  assert.ok(['fox', 'dog', 'cat'].includes(animal), text);
  assert.ok(Number.isInteger(age) && age >= 0 && age <= 20, text);
  assert.ok(tags.length >= 1 && tags.length <= 3 && tags.every((tag) => typeof tag === 'boolean'), text);
  assert.deepEqual(others, {});
}

describe('an answer is held to', () => {
  test('a schema, whatever computes and whatever is guessed', async () => {
    const texts = [];
    for (const extra of [{}, { draft_max: 15 }, { logprobs: true }]) {
      const { choices: [{ content, reason }] } = await chat({ response_format: responseFormat, ...extra });
      assertStory(content);
      assert.equal(reason, 'stop');
      texts.push(content);
    }
    assert.equal(new Set(texts).size, 1, JSON.stringify(texts));
    for (const options of [{ threads: 2 }, { memory64: true }]) {
      const text = await inPage(async (body) => (await engine.chat.completions.create(body)).choices[0].message.content,
        { messages, response_format: responseFormat, temperature: 0.8, seed: 1, max_tokens: 300 }, options);
      assert.equal(text, texts[0], JSON.stringify(options));
    }
  });

  gpuTest('a schema, on a GPU', async () => {
    const told = await inPage(async (body) => {
      const { choices: [{ message, finish_reason: reason }] } = await engine.chat.completions.create(body);
      return { content: message.content, reason, device: (await engine.stats()).device };
    }, { messages, response_format: responseFormat, temperature: 0.8, seed: 1, max_tokens: 300 }, { device: 'webgpu' });
    assertStory(told.content);
    assert.deepEqual([told.reason, told.device], ['stop', 'webgpu']);
  });

  test('JSON, and says when it was cut', async () => {
    const { choices: [{ content, reason }] } = await chat({ response_format: { type: 'json_object' }, max_tokens: 40 });
    assert.match(content, /^\{/);
    if (reason === 'stop') assert.equal(typeof JSON.parse(content), 'object');
    else assert.equal(reason, 'length');
  });

  test('a regular expression', async () => {
    const { choices: [{ content, reason }] } = await chat({ regex: '[A-Z][a-z]{2,8}, aged [1-9][0-9]?' });
    assert.match(content, /^[A-Z][a-z]{2,8}, aged [1-9][0-9]?$/);
    assert.equal(reason, 'stop');
  });

  test('a grammar, in GBNF and in Lark, of a completion too', async () => {
    const gbnf = 'root ::= "The " animal " " verb "s."\nanimal ::= "fox" | "dog"\nverb ::= "run" | "sleep"';
    const lark = 'start: "The " ANIMAL " " VERB "s."\nANIMAL: "fox" | "dog"\nVERB: "run" | "sleep"';
    for (const grammar of [gbnf, lark]) {
      const { choices: [{ content }] } = await chat({ grammar });
      assert.match(content, /^The (fox|dog) (run|sleep)s\.$/);
      const text = await inPage(async (body) => (await engine.completions.create(body)).choices[0].text, { prompt: 'Once upon a time', grammar, seed: 2 });
      assert.match(text, /^The (fox|dog) (run|sleep)s\.$/);
    }
  });

  test('what it is to be, in each of several choices', async () => {
    const { choices } = await chat({ response_format: responseFormat, n: 2 });
    assert.equal(choices.length, 2);
    choices.forEach(({ content }) => assertStory(content));
  });

  test('what it is to be, streamed', async () => {
    const streamed = await inPage(async (body) => {
      let text = '';
      let reason;
      let chunks = 0;
      for await (const { choices: [choice] } of await engine.chat.completions.create({ ...body, stream: true })) {
        text += choice.delta.content ?? '';
        reason ??= choice.finish_reason ?? undefined;
        chunks += 1;
      }
      return { text, reason, chunks };
    }, { messages, response_format: responseFormat, temperature: 0.8, seed: 1, max_tokens: 300 });
    assertStory(streamed.text);
    assert.equal(streamed.reason, 'stop');
    assert.ok(streamed.chunks > 3);
  });
});

describe('a call of a tool', () => {
  const city = { type: 'object', properties: { city: { enum: ['Bern', 'Genf'] }, days: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['city', 'days'], additionalProperties: false };
  const tools = [
    { type: 'function', function: { name: 'look_up', description: 'Looks up the weather.', parameters: city } },
    { type: 'function', function: { name: 'time' } },
  ];
  const named = { type: 'function', function: { name: 'look_up' } };
  const ask = (body, options) => inPage(async (given) => {
    const deltas = [];
    let reason;
    for await (const { choices: [choice] } of await engine.chat.completions.create({ ...given, stream: true })) {
      deltas.push(choice.delta);
      reason ??= choice.finish_reason ?? undefined;
    }
    const { choices: [{ message, finish_reason: whole }] } = await engine.chat.completions.create(given);
    return { deltas, reason, message, whole };
  }, { messages, tools, temperature: 1, max_tokens: 200, ...body }, options);

  const assertCall = ({ function: { name, arguments: given } }) => {
    if (name === 'time') return assert.deepEqual(JSON.parse(given), {});
    assert.equal(name, 'look_up');
    const { city: place, days, ...others } = JSON.parse(given);
    assert.ok(['Bern', 'Genf'].includes(place) && Number.isInteger(days) && days >= 1 && days <= 9, given);
    return assert.deepEqual(others, {});
  };

  /** Checks what was streamed against what came at once; the calls. */
  const assertCalls = ({ deltas, reason, message, whole }) => {
    assert.deepEqual([reason, whole], ['tool_calls', 'tool_calls']);
    assert.equal(message.content, null);
    const streamed = [];
    for (const { index, function: { name, arguments: more } } of deltas.flatMap((delta) => delta.tool_calls ?? [])) {
      if (name !== undefined) streamed[index] = { name, arguments: '' };
      streamed[index].arguments += more;
    }
    assert.equal(deltas.map((delta) => delta.content ?? '').join(''), '');
    assert.ok(deltas.filter((delta) => delta.tool_calls).length > 1, 'the name comes first, and then the arguments');
    assert.deepEqual(streamed, message.tool_calls.map(({ function: called }) => called));
    message.tool_calls.forEach(assertCall);
    return streamed;
  };

  test('comes where it is required, at once and streamed', async () => {
    for (const seed of [1, 2, 3]) assert.ok(assertCalls(await ask({ tool_choice: 'required', seed })).length > 0);
  });

  test('is of the tool that is named, and the only one', async () => {
    for (const seed of [1, 2]) {
      const calls = assertCalls(await ask({ tool_choice: named, seed }));
      assert.deepEqual(calls.map(({ name }) => name), ['look_up']);
    }
  });

  gpuTest('comes where it is required, on a GPU', async () => {
    assertCalls(await ask({ tool_choice: 'required', seed: 1 }, { device: 'webgpu' }));
  });

  test('leaves text alone where it may come', async () => {
    const strict = tools.map(({ function: given }) => ({ type: 'function', function: { ...given, strict: true } }));
    const [free, held] = [await ask({ seed: 1, max_tokens: 20 }), await ask({ seed: 1, max_tokens: 20, tools: strict })];
    assert.equal(typeof free.message.content, 'string');
    assert.deepEqual(held.message, free.message);
  });

  test('is refused for a schema that is not supported', async () => {
    const bad = [{ type: 'function', function: { name: 'x', parameters: { type: 'object', not: {} } } }];
    const failure = await inPage((body) => engine.chat.completions.create(body).then(() => ({ code: 'accepted' }), chord.failure), { messages, tools: bad, tool_choice: 'required' });
    assert.deepEqual([failure.code, failure.details.name, failure.details.keyword], ['InvalidParameter', 'tools', 'not']);
  });
});

describe('a page', () => {
  test('downloads what reads grammars once, and only if a request names one', async () => {
    const count = () => stage.server.requests(MODULE).length;
    const before = count();
    const counts = await withEngine(stage, { model: MODEL, device: 'cpu' }, async (page) => {
      const ask = (body) => page.evaluate(async (given) => (await engine.chat.completions.create(given)).choices[0].message.content, { messages, max_tokens: 5, ...body });
      const wasmBytes = () => page.evaluate(async () => (await engine.stats()).memory.wasmBytes);
      await ask({});
      await ask({ response_format: { type: 'text' } });
      const none = count() - before;
      const without = await wasmBytes();
      await ask({ regex: 'yes|no' });
      await ask({ grammar: 'root ::= "a"' });
      return { none, once: count() - before, grows: await wasmBytes() > without };
    });
    assert.deepEqual(counts, { none: 0, once: 1, grows: true });
  });

  test('stops an answer, and asks for another', async () => {
    const outcome = await inPage(async (body) => {
      const stop = new AbortController();
      const stream = await engine.chat.completions.create({ ...body, stream: true }, { signal: stop.signal });
      let code;
      try {
        for await (const { choices: [choice] } of stream) if (choice.delta.content) stop.abort();
      } catch (error) {
        ({ code } = error);
      }
      const { choices: [{ message }] } = await engine.chat.completions.create(body);
      return { code, text: message.content };
    }, { messages, response_format: responseFormat, temperature: 0.8, seed: 3, max_tokens: 300 });
    assert.equal(outcome.code, 'Aborted');
    assertStory(outcome.text);
  });

  test('hears what is wrong with a grammar', async () => {
    const format = (within) => ({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema: within } } });
    const cases = [
      [format({ type: 'array', uniqueItems: true }), 'response_format', 'uniqueItems'],
      [format({ properties: { a: { not: {} } } }), 'response_format', 'not'],
      [format({ type: 'string', format: 'iri' }), 'response_format', 'format'],
      [{ response_format: { type: 'xml' } }, 'response_format', undefined],
      [{ grammar: 'root ::= nothing' }, 'grammar', undefined],
      [{ regex: '(' }, 'regex', undefined],
      [{ regex: 'a', grammar: 'root ::= "a"' }, 'regex', undefined],
      [{ regex: 'a', ignore_eos: true }, 'ignore_eos', undefined],
      [{ regex: 'a', tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools', undefined],
      [{ regexp: 'a' }, 'regexp', undefined],
    ];
    const told = await inPage(async ([asked, bodies]) => {
      const failures = [];
      for (const body of bodies) failures.push(await engine.chat.completions.create({ messages: asked, ...body }).then(() => ({ code: 'accepted' }), chord.failure));
      const { choices: [{ message }] } = await engine.chat.completions.create({ messages: asked, regex: 'fine' });
      return { failures, text: message.content };
    }, [messages, cases.map(([body]) => body)]);
    assert.deepEqual(told.failures.map(({ code, details }) => [code, details?.name, details?.keyword]), cases.map(([, name, keyword]) => ['InvalidParameter', name, keyword]));
    assert.equal(told.text, 'fine');
  });

  test('hears that what reads grammars did not come', async () => {
    stage.server.fault(MODULE, [{ status: 404 }]);
    const told = await inPage(async (body) => {
      const failure = await engine.chat.completions.create({ ...body, regex: 'yes' }).then(() => ({ code: 'accepted' }), chord.failure);
      const { choices: [{ message }] } = await engine.chat.completions.create({ ...body, regex: 'yes' });
      return { code: failure.code, text: message.content };
    }, { messages });
    assert.deepEqual(told, { code: 'WorkerFailed', text: 'yes' });
  });
});
