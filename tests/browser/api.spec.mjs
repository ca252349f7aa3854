// The shapes of requests and responses, and what becomes of odd input.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { caller, thinker } from '../support/talking-models.mjs';
import { CONTROL, tinyModel } from '../support/tiny-gguf.mjs';
import { withChord, withEngine } from './engine-page.mjs';
import { openStage } from './support.mjs';

const CONTEXT = 256;
const MODEL = '/model.gguf';
/** A model whose template names the tools that it hears of. */
const TOOLS = '/tools.gguf';
const toolTemplate = '{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}';
/** A model that thinks and calls tools, and one whose template begins the thought. */
const CALLER = '/caller.gguf';
const THINKER = '/thinker.gguf';
const stage = await openStage({
  files: {
    [MODEL]: tinyModel({ context: CONTEXT }),
    [CALLER]: caller(CONTEXT),
    [THINKER]: thinker(CONTEXT),
    [TOOLS]: tinyModel({ context: CONTEXT, metadata: [['tokenizer.chat_template', 8, toolTemplate]] }),
  },
});

/** Runs `body` in a page whose `engine` has the model. */
const inPage = (body, argument) => withEngine(stage, { model: MODEL }, (page) => page.evaluate(body, argument));

/** The error codes and parameter names of requests that must be refused, and that the engine works afterwards. */
const refusals = (kind, bodies) => inPage(async ([name, given]) => {
  const api = name === 'chat' ? engine.chat.completions : engine[name];
  const outcomes = [];
  for (const body of given) {
    // JSON has no NaN, so it comes under another name.
    const restored = Object.fromEntries(Object.entries(body).map(([field, value]) => [field, value === 'NaN' ? NaN : value === 'Infinity' ? Infinity : value]));
    outcomes.push(await api.create(restored).then(() => ({ code: 'accepted' }), chord.failure));
  }
  const { usage } = await engine.completions.create({ prompt: 'a', max_tokens: 1 });
  return { outcomes, works: usage.completion_tokens === 1 };
}, [kind, bodies]);

async function assertRefused(kind, bodies, code) {
  const { outcomes, works } = await refusals(kind, bodies);
  outcomes.forEach((outcome, index) => assert.equal(outcome.code, code, `${JSON.stringify(bodies[index]).slice(0, 200)}: ${outcome.message}`));
  assert.ok(works);
  return outcomes;
}

describe('an engine', () => {
  test('describes its model', async () => {
    const model = await inPage(() => engine.model);
    assert.equal(model.architecture, 'llama');
    assert.equal(model.name, 'tiny random');
    assert.equal(model.layers, 2);
    assert.equal(model.contextLength, CONTEXT);
    assert.equal(model.quantization, 'F32');
    assert.equal(model.metadata['llama.block_count'], 2);
    assert.deepEqual(model.warnings, []);
    assert.equal(model.hasText, true);
  });

  test('reports progress up to ready', async () => {
    const progress = await inPage(async () => {
      const reports = [];
      const other = await chord.open({ model: '/model.gguf', onProgress: (report) => reports.push(report) });
      await other.loaded;
      await other.dispose();
      return reports;
    });
    const phases = [...new Set(progress.map(({ phase }) => phase))];
    assert.deepEqual(phases, ['compile', 'header', 'download', 'ready']);
    const last = progress.at(-1);
    assert.equal(last.loadedBytes, last.totalBytes);
    assert.equal(last.layer, 2);
    assert.equal(last.layers, 2);
  });

  test('reports moving bytes often, in the header too, and never backwards', async () => {
    for (const store of ['opfs', 'none']) {
      stage.server.throttle.bytesPerSecond = 300_000;
      const progress = await withChord(stage, (page) => page.evaluate(async (given) => {
        const reports = [];
        const other = await chord.open({ ...given, onProgress: (report) => reports.push(report) });
        await other.loaded;
        await other.dispose();
        return reports;
      }, { model: MODEL, store }));
      stage.server.throttle.bytesPerSecond = Infinity;
      assert.deepEqual([progress[0].fraction, progress.at(-1).fraction], [0, 1], 'whatever is known');
      progress.forEach(({ fraction, loadedBytes, totalBytes }, index) => {
        assert.ok(fraction >= 0 && fraction <= 1 && Number.isFinite(fraction), `${fraction}`);
        const before = progress[index - 1] ?? { fraction: 0, loadedBytes: 0 };
        assert.ok(fraction >= before.fraction && loadedBytes >= before.loadedBytes, JSON.stringify([before, progress[index]]));
        assert.ok(totalBytes === 0 || fraction >= loadedBytes / totalBytes - 1e-9);
      });
      // The server sends 64 KiB at a time, and pieces that reach the core are larger than the whole header.
      const steps = (phase) => new Set(progress.filter((report) => report.phase === phase && report.loadedBytes > 0).map(({ loadedBytes }) => loadedBytes)).size;
      assert.ok(steps('header') >= 2 && steps('header') + steps('download') >= 6, JSON.stringify([steps('header'), steps('download')]));
    }
  });

  test('gives its statistics', async () => {
    const stats = await inPage(async () => {
      await engine.completions.create({ prompt: 'hello', max_tokens: 4, ignore_eos: true });
      return engine.stats();
    });
    assert.equal(stats.device, 'cpu');
    assert.equal(stats.build, 'wasm32');
    assert.match(stats.simd, /^(relaxed|simd128)$/);
    assert.ok(stats.memory.residentBytes > 400_000 && stats.memory.residentBytes <= stats.memory.peakResidentBytes);
    assert.ok(stats.memory.wasmBytes >= stats.memory.residentBytes);
    assert.ok(stats.memory.kvBytes > 0);
    assert.equal(stats.layers.total, 2);
    assert.deepEqual([...new Set(stats.groups)], ['pinned']);
    assert.equal(stats.groups.length, 4);
    assert.equal(stats.last.completionTokens, 4);
    assert.ok(stats.last.timeToFirstTokenMs > 0 && stats.last.decodeTokensPerSecond > 0);
  });

  test('plans a model from its header alone', async () => {
    const from = stage.server.log.length;
    const plan = await inPage(() => chord.plan('/model.gguf', { contextLength: 64 }));
    assert.equal(plan.model.architecture, 'llama');
    assert.equal(plan.fits, true);
    assert.equal(plan.contextLength, 64);
    assert.ok(plan.weightBytes > 400_000 && plan.kvBytes > 0 && plan.downloadBytes + plan.storedBytes > plan.weightBytes);
    assert.ok(plan.leastBytes > 0 && plan.leastBytes <= plan.budgetBytes && plan.quotaBytes > plan.usageBytes, JSON.stringify(plan));
    assert.ok(stage.server.log.length > from);
    const least = await inPage(async (leastBytes) => {
      const attempt = (maxResidentBytes) => chord.createEngine({ model: '/model.gguf', contextLength: 64, maxResidentBytes })
        .then((opened) => opened.dispose().then(() => 'opened'), ({ code, details }) => [code, details.need]);
      return [await attempt(leastBytes), await attempt(leastBytes - 1)];
    }, plan.leastBytes);
    assert.deepEqual(least, ['opened', ['BudgetTooSmall', plan.leastBytes]]);
    const tight = await inPage(() => chord.plan('/model.gguf', { maxResidentBytes: 1000 }));
    assert.equal(tight.fits, false);
    assert.equal(tight.reasons.length, 1);
    const beyond = await inPage(async () => {
      const options = { contextLength: 100_000 };
      const { fits, reasons } = await chord.plan('/model.gguf', options);
      const opened = await chord.createEngine({ model: '/model.gguf', ...options });
      const { warnings } = opened.model;
      await opened.dispose();
      return { fits, reasons, warnings };
    });
    assert.deepEqual(beyond.reasons, beyond.warnings, 'the engine warns in the same words');
    assert.match(beyond.reasons.join(), /^contextLength is 100000, but the model was trained for \d+ tokens/);
    assert.equal(beyond.fits, true);
  });

  test('refuses options that cannot be', async () => {
    const codes = await inPage(async () => {
      const options = [{ contextLength: 0 }, { contextLength: NaN }, { contextLength: 1.5 }, { contextOverflow: 'truncate' }, { maxResidentBytes: -1 }, { threads: 0 }, { device: 'tpu' }, { store: 'x' }, { memory64: 'yes' }, { kvCache: 'q4_0' }, { headers: { 'bad header': 'x' } }, { headers: { Range: 'bytes=0-1' } }];
      const outcomes = [];
      for (const option of options) outcomes.push(await chord.createEngine({ model: '/model.gguf', ...option }).then(() => 'accepted', (error) => error.code));
      outcomes.push(await chord.createEngine({ model: '/model.gguf', maxResidentBytes: 1000 }).catch((error) => error.code));
      return outcomes;
    });
    assert.deepEqual(codes, [...Array(12).fill('InvalidParameter'), 'BudgetTooSmall']);
  });
});

describe('completions', () => {
  test('have OpenAI\'s shape', async () => {
    const completion = await inPage(() => engine.completions.create({ prompt: 'hello', max_tokens: 5, temperature: 0, ignore_eos: true }));
    assert.match(completion.id, /^cmpl-/);
    assert.equal(completion.object, 'text_completion');
    assert.equal(completion.model, 'tiny random');
    assert.ok(Math.abs(completion.created - Date.now() / 1000) < 60);
    assert.equal(completion.choices.length, 1);
    const [choice] = completion.choices;
    assert.equal(choice.index, 0);
    assert.equal(choice.finish_reason, 'length');
    assert.equal(choice.logprobs, null);
    assert.equal(typeof choice.text, 'string');
    const { usage, timings } = completion;
    assert.equal(usage.completion_tokens, 5);
    assert.equal(usage.total_tokens, usage.prompt_tokens + 5);
    assert.equal(timings.predicted_n, 5);
    assert.equal(timings.prompt_n + timings.cache_n, usage.prompt_tokens);
  });

  test('carry logarithms of probabilities with ids', async () => {
    const { choice, ids } = await inPage(async () => {
      const completion = await engine.completions.create({ prompt: 'hello', max_tokens: 12, temperature: 0, logprobs: 50, ignore_eos: true });
      return { choice: completion.choices[0], ids: await engine.tokenize('hello') };
    });
    assert.ok(ids.length > 0);
    const { tokens, token_ids, token_logprobs, top_logprobs, top_token_ids, top_token_logprobs, text_offset } = choice.logprobs;
    for (const list of [tokens, token_ids, token_logprobs, top_logprobs, top_token_ids, top_token_logprobs, text_offset]) assert.equal(list.length, 12);
    token_ids.forEach((id, index) => {
      assert.equal(top_token_ids[index][0], id, 'greedy takes the best');
      assert.equal(top_token_logprobs[index][0], token_logprobs[index]);
      assert.equal(top_token_ids[index].length, 50);
      assert.equal(new Set(top_token_ids[index]).size, 50);
      const probabilities = top_token_logprobs[index].map(Math.exp);
      assert.ok(probabilities.every((value, rank) => rank === 0 || value <= probabilities[rank - 1]), 'best first');
      assert.ok(probabilities.reduce((sum, value) => sum + value) <= 1 + 1e-5);
      assert.ok(tokens[index] in top_logprobs[index]);
    });
    assert.equal(text_offset[0], 0);
    assert.ok(text_offset.every((offset, index) => offset <= choice.text.length && (index === 0 || offset >= text_offset[index - 1])));
  });

  test('stream the same text that they give whole', async () => {
    const { whole, chunks } = await inPage(async () => {
      const body = { prompt: 'hello', max_tokens: 40, temperature: 0, logprobs: 1, ignore_eos: true };
      const collected = [];
      for await (const chunk of await engine.completions.create({ ...body, stream: true, stream_options: { include_usage: true } })) collected.push(chunk);
      return { whole: await engine.completions.create(body), chunks: collected };
    });
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 40);
    assert.equal(last.timings.predicted_n, 40);
    assert.ok(chunks.every(({ object, usage, id }) => object === 'text_completion' && usage === null && id === last.id));
    assert.equal(chunks.map(({ choices }) => choices[0].text).join(''), whole.choices[0].text);
    const logprobs = chunks.map(({ choices }) => choices[0].logprobs).filter(Boolean);
    for (const field of ['tokens', 'token_ids', 'token_logprobs', 'text_offset']) {
      assert.deepEqual(logprobs.flatMap((part) => part[field]), whole.choices[0].logprobs[field], field);
    }
    assert.deepEqual(chunks.map(({ choices }) => choices[0].finish_reason).filter(Boolean), ['length']);
  });

  test('take token ids as they are, and reuse the cache', async () => {
    const [first, second] = await inPage(async () => {
      const prompt = Array.from({ length: 30 }, (_, index) => 263 + (index % 26));
      return [await engine.completions.create({ prompt, max_tokens: 1 }), await engine.completions.create({ prompt: [...prompt, 270], max_tokens: 1 })];
    });
    assert.equal(first.usage.prompt_tokens, 30);
    assert.equal(first.usage.prompt_tokens_details.cached_tokens, 0);
    assert.equal(second.usage.prompt_tokens, 31);
    assert.ok(second.usage.prompt_tokens_details.cached_tokens >= 30);
  });

  test('sample the same text from the same seed, and n choices', async () => {
    const [one, two, three] = await inPage(async () => {
      const body = { prompt: 'hello', max_tokens: 20, temperature: 1, ignore_eos: true, n: 3 };
      const texts = (completion) => completion.choices.map(({ text }) => text);
      return [await engine.completions.create({ ...body, seed: 7 }), await engine.completions.create({ ...body, seed: 7 }), await engine.completions.create({ ...body, seed: 8 })].map(texts);
    });
    assert.equal(one.length, 3);
    assert.deepEqual(one, two);
    assert.notDeepEqual(one, three);
    assert.notEqual(one[0], one[1]);
  });

  test('end at a stop string, which is not part of the text', async () => {
    const { whole, stopped, stop } = await inPage(async () => {
      const body = { prompt: 'hello', max_tokens: 40, temperature: 0, ignore_eos: true };
      const full = (await engine.completions.create(body)).choices[0].text;
      const wanted = full.slice(10, 13);
      return { whole: full, stop: wanted, stopped: (await engine.completions.create({ ...body, stop: wanted })).choices[0] };
    });
    assert.equal(stopped.finish_reason, 'stop');
    assert.equal(stopped.text, whole.slice(0, whole.indexOf(stop)));
  });
});

describe('chat completions', () => {
  const messages = [{ role: 'user', content: 'hello' }];

  test('have OpenAI\'s shape, with logprobs', async () => {
    const completion = await inPage((given) => engine.chat.completions.create({ messages: given, max_tokens: 6, temperature: 0, ignore_eos: true, logprobs: true, top_logprobs: 3 }), messages);
    assert.match(completion.id, /^chatcmpl-/);
    assert.equal(completion.object, 'chat.completion');
    const [choice] = completion.choices;
    assert.equal(choice.message.role, 'assistant');
    assert.equal(choice.finish_reason, 'length');
    assert.equal(choice.logprobs.content.length, 6);
    for (const entry of choice.logprobs.content) {
      assert.equal(entry.top_logprobs.length, 3);
      assert.deepEqual([entry.id, entry.token, entry.logprob], [entry.top_logprobs[0].id, entry.top_logprobs[0].token, entry.top_logprobs[0].logprob]);
      assert.ok(entry.bytes.every((byte) => byte >= 0 && byte < 256));
    }
  });

  test('stream: a role first, then content, then the reason', async () => {
    const { chunks, whole } = await inPage(async (given) => {
      const body = { messages: given, max_tokens: 20, temperature: 0, ignore_eos: true };
      const collected = [];
      for await (const chunk of await engine.chat.completions.create({ ...body, stream: true })) collected.push(chunk);
      return { chunks: collected, whole: await engine.chat.completions.create(body) };
    }, messages);
    assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
    assert.deepEqual(chunks.at(-1).choices[0].delta, {});
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
    assert.equal(chunks.at(-1).timings.predicted_n, 20);
    assert.ok(chunks.slice(0, -1).every(({ object, choices, usage }) => object === 'chat.completion.chunk' && choices[0].finish_reason === null && usage === undefined));
    assert.equal(chunks.map(({ choices }) => choices[0].delta.content ?? '').join(''), whole.choices[0].message.content);
  });

  test('are counted and rendered with the template', async () => {
    const { text, count, usage } = await inPage(async (given) => ({
      text: await engine.applyChatTemplate(given),
      count: await engine.countTokens(given),
      usage: (await engine.chat.completions.create({ messages: given, max_tokens: 1 })).usage,
    }), messages);
    assert.equal(text, `${CONTROL[0]}user\nhello${CONTROL[1]}\n${CONTROL[0]}assistant\n`);
    assert.equal(count, usage.prompt_tokens);
  });

  test('tell the model of the tools that tool_choice leaves', async () => {
    const { texts, counts, refused } = await withEngine(stage, { model: TOOLS }, (page) => page.evaluate(async () => {
      const tools = ['one', 'two', 'six'].map((name) => ({ type: 'function', function: { name } }));
      const messages = [{ role: 'user', content: 'hello' }];
      const [one, , six] = tools;
      const choices = [undefined, 'auto', 'none', one, { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [six, one] } }];
      const rendered = [];
      const counted = [];
      for (const tool_choice of choices) {
        const text = await engine.applyChatTemplate(messages, { tools, tool_choice });
        const { usage } = await engine.chat.completions.create({ messages, tools, tool_choice, parallel_tool_calls: true, max_tokens: 1 });
        rendered.push(text);
        counted.push(usage.prompt_tokens - (await engine.tokenize(text, { addSpecial: true, parseSpecial: true })).length);
      }
      const bad = ['sometimes', 5, {}, { type: 'function', function: { name: 'ten' } }, { type: 'function' }, { type: 'allowed_tools', allowed_tools: { mode: 'always', tools } }, { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [] } }];
      const tries = [...bad.map((tool_choice) => ({ tools, tool_choice })), { tool_choice: one }, { tools, parallel_tool_calls: 1 }];
      const outcomes = await Promise.all(tries.map((body) => engine.chat.completions.create({ messages, ...body }).then(() => 'accepted', ({ code, details }) => `${code} ${details.name}`)));
      return { texts: rendered, counts: counted, refused: outcomes };
    }));
    assert.deepEqual(texts, ['one two six hello', 'one two six hello', 'hello', 'one hello', 'six one hello']);
    assert.deepEqual(counts, [0, 0, 0, 0, 0]);
    assert.deepEqual(refused, [...Array(8).fill('InvalidParameter tool_choice'), 'InvalidParameter parallel_tool_calls']);
  });

  test('tell reasoning and calls of tools apart from content, at once and streamed', async () => {
    const { whole, chunks, plain, single, cut, prompt, brief } = await withEngine(stage, { model: CALLER }, (page) => page.evaluate(async () => {
      const tools = ['lookup', 'time'].map((name) => ({ type: 'function', function: { name, parameters: { type: 'object', properties: { city: { type: 'string' } } } } }));
      const messages = [{ role: 'user', content: 'hello' }];
      const ask = (body) => engine.chat.completions.create({ messages, tools, ...body });
      const streamed = [];
      for await (const { choices: [choice] } of await ask({ stream: true })) streamed.push(choice);
      const answer = await ask({ n: 2 });
      const { message } = answer.choices[0];
      const results = message.tool_calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'done' }));
      return {
        whole: answer.choices,
        chunks: streamed,
        plain: (await ask({ tool_choice: 'none' })).choices[0],
        single: (await ask({ parallel_tool_calls: false })).choices[0],
        cut: (await ask({ max_tokens: 3 })).choices[0],
        prompt: await engine.applyChatTemplate([...messages, message, ...results], { tools }),
        brief: await engine.applyChatTemplate(messages, { reasoning_effort: 'none' }),
      };
    }));
    const ids = whole[0].message.tool_calls.map(({ id }) => id);
    assert.ok(ids.every((id) => /^[A-Za-z0-9]{9}$/.test(id)) && ids[0] !== ids[1], String(ids));
    const functions = [{ name: 'lookup', arguments: '{"city": "Zürich"}' }, { name: 'time', arguments: '{}' }];
    const message = { role: 'assistant', content: 'I look.', reasoning_content: 'They ask of Zürich.' };
    for (const { message: { tool_calls: calls, ...rest }, finish_reason: reason } of whole) {
      assert.deepEqual(rest, message);
      assert.deepEqual(calls.map(({ type, function: named }) => ({ type, function: named })), functions.map((named) => ({ type: 'function', function: named })));
      assert.equal(reason, 'tool_calls');
    }
    const joined = (field) => chunks.map(({ delta }) => delta[field] ?? '').join('');
    assert.equal(joined('content'), message.content);
    assert.equal(joined('reasoning_content'), message.reasoning_content);
    const deltas = chunks.flatMap(({ delta }) => delta.tool_calls ?? []);
    const merged = [];
    for (const { index, id, type, function: { name, arguments: text } } of deltas) {
      // The name comes first, with the id; what follows are arguments.
      assert.equal(id === undefined, index < merged.length);
      if (id === undefined) merged[index].arguments += text;
      else merged.push({ name, arguments: text, type });
    }
    assert.deepEqual(merged, functions.map((named) => ({ ...named, type: 'function' })));
    assert.ok(deltas.length > merged.length, 'arguments come while they are written');
    assert.equal(chunks.at(-1).finish_reason, 'tool_calls');
    assert.equal(plain.message.tool_calls, undefined);
    assert.equal(plain.finish_reason, 'stop');
    assert.ok(plain.message.content.startsWith('I look.') && plain.message.content.includes('{"name": "lookup"') && !plain.message.content.startsWith('<tool_call>'), plain.message.content);
    assert.deepEqual(single.message.tool_calls.map(({ function: named }) => named), functions.slice(0, 1));
    assert.deepEqual([cut.message.content, cut.message.reasoning_content, cut.finish_reason], ['', 'They ask of Zürich.', 'length']);
    assert.ok(prompt.includes('<think>\nThey ask of Zürich.\n</think>\n\nI look.<tool_call>\n{"name": "lookup", "arguments": {"city": "Zürich"}}\n</tool_call>'), prompt);
    assert.ok(brief.startsWith('brief '), brief);
  });

  test('know a thought that the template has begun', async () => {
    const [whole, cut, gone] = await withEngine(stage, { model: THINKER }, (page) => page.evaluate(async () => {
      const messages = [{ role: 'user', content: 'hello' }];
      const ask = async (body) => (await engine.chat.completions.create({ messages, ...body })).choices[0];
      const begun = [...messages, { role: 'assistant', content: '<think>\n' }];
      return [await ask({}), await ask({ max_tokens: 2 }), await ask({ messages: begun, continue_final_message: true, add_generation_prompt: false, max_tokens: 1 })];
    }));
    assert.deepEqual([whole.message, whole.finish_reason], [{ role: 'assistant', content: 'Hello.', reasoning_content: 'Well, well.' }, 'stop']);
    assert.deepEqual([cut.message, cut.finish_reason], [{ role: 'assistant', content: '', reasoning_content: 'Well, well.' }, 'length']);
    assert.deepEqual(gone.message, { role: 'assistant', content: '', reasoning_content: 'Well' });
  });

  test('go on with the last message', async () => {
    const { prompt, spaced, whole, usage, counted, refused } = await inPage(async () => {
      const begun = (content) => [{ role: 'user', content: 'hello' }, { role: 'assistant', content }];
      const text = await engine.applyChatTemplate(begun('the'), { continue_final_message: true });
      const { usage: used } = await engine.chat.completions.create({ messages: begun('the'), continue_final_message: true, max_tokens: 1 });
      const tries = [
        { messages: begun('the'), continue_final_message: true, add_generation_prompt: true }, { messages: begun(null), continue_final_message: true },
      ].map((body) => engine.chat.completions.create(body).then(() => 'accepted', ({ code, details }) => [code, details.name]));
      return {
        prompt: text,
        spaced: await engine.applyChatTemplate(begun([{ type: 'text', text: 'the ' }]), { continue_final_message: true }),
        whole: await engine.applyChatTemplate(begun('the')),
        usage: used.prompt_tokens,
        counted: (await engine.tokenize(text, { addSpecial: true, parseSpecial: true })).length,
        refused: await Promise.all(tries),
      };
    });
    assert.equal(prompt, `${CONTROL[0]}user\nhello${CONTROL[1]}\n${CONTROL[0]}assistant\nthe`);
    assert.equal(spaced, `${prompt} `);
    assert.ok(whole.startsWith(prompt) && whole.length > prompt.length);
    assert.equal(usage, counted);
    assert.deepEqual(refused, Array(2).fill(['InvalidParameter', 'continue_final_message']));
  });

  test('65 keep control tokens in content as text', async () => {
    const [plain, hostile] = await inPage(async (control) => {
      const count = (content) => engine.countTokens([{ role: 'user', content }]);
      return [await count('hello'), await count(`hello${control}`)];
    }, CONTROL[1]);
    // The vocabulary has each of its characters apart.
    assert.equal(hostile - plain, CONTROL[1].length);
  });
});

describe('embeddings', () => {
  test('are unit vectors in order', async () => {
    const response = await inPage(() => engine.embeddings.create({ input: ['hello', 'the', 'hello'] }));
    assert.equal(response.object, 'list');
    assert.deepEqual(response.data.map(({ index, object }) => [index, object]), [[0, 'embedding'], [1, 'embedding'], [2, 'embedding']]);
    const [one, two, three] = response.data.map(({ embedding }) => embedding);
    assert.equal(one.length, 64);
    assert.ok(Math.abs(Math.hypot(...one) - 1) < 1e-3);
    assert.deepEqual(one, three);
    assert.notDeepEqual(one, two);
    assert.ok(response.usage.prompt_tokens > 0);
  });
});

describe('text', () => {
  const texts = ['', 'hello', ' hello  the ', 'naïve 😀 👩‍👩‍👧 漢字', 'a\u0000b', '\ufeffx', 'line\r\n\ttab'];

  test('54 survives tokenising and detokenising', async () => {
    const back = await inPage(async (given) => {
      const results = [];
      for (const text of given) results.push(await engine.detokenize(await engine.tokenize(text)));
      return results;
    }, texts);
    assert.deepEqual(back, texts);
  });

  test('54 with lone surrogates becomes well-formed', async () => {
    const { back, usage } = await inPage(async () => ({
      back: await engine.detokenize(await engine.tokenize('a\ud800b\udc00')),
      usage: (await engine.chat.completions.create({ messages: [{ role: 'user', content: '\ud83dx' }], max_tokens: 1 })).usage,
    }));
    assert.equal(back, 'a\ufffdb\ufffd');
    assert.ok(usage.prompt_tokens > 0);
  });

  test('54 is not cut within a character by a stream', async () => {
    // Forced tokens spell characters of two to four bytes, one byte a token.
    const { pieces, bytes } = await inPage(async () => {
      const spelled = new TextEncoder().encode('é漢😀');
      const seen = [];
      const ids = Array.from(spelled, (byte) => 3 + byte);
      for (let count = 1; count <= ids.length; count += 1) seen.push(await engine.detokenize(ids.slice(0, count)));
      return { pieces: seen, bytes: ids.length };
    });
    assert.equal(pieces.length, bytes);
    assert.equal(pieces.at(-1), 'é漢😀');
  });

  test('62 of a megabyte of one character takes linear time', async () => {
    const times = await inPage(async () => {
      const measured = [];
      for (const length of [250_000, 1_000_000]) {
        let [best, count] = [Infinity, 0];
        // Of a few tries one is not held up by other work.
        for (let attempt = 0; attempt < 3; attempt += 1) {
          const started = performance.now();
          count = (await engine.tokenize('a'.repeat(length))).length;
          best = Math.min(best, performance.now() - started);
        }
        measured.push([best, count]);
      }
      return measured;
    });
    assert.ok(times.every(([, count]) => count > 100_000));
    assert.ok(times[1][0] < 12 * times[0][0] + 500, JSON.stringify(times));
  });
});

describe('odd requests', () => {
  test('55 empty prompts and messages are refused', async () => {
    await assertRefused('completions', [{ prompt: [] }, {}, { prompt: null }, { prompt: ['a'] }, { prompt: 5 }], 'InvalidParameter');
    await assertRefused('chat', [{ messages: [] }, {}, { messages: 'hello' }, { messages: [{}] }, { messages: [{ role: 5, content: 'x' }] }, { messages: [null] }], 'InvalidParameter');
    await assertRefused('embeddings', [{ input: [] }, {}, { input: [[]] }, { input: [{}] }], 'InvalidParameter');
  });

  test('56 a prompt beyond the context is refused before it is computed', async () => {
    const outcomes = await assertRefused('completions', [{ prompt: Array(CONTEXT).fill(270) }, { prompt: 'a b c '.repeat(1000) }], 'ContextOverflow');
    for (const { details } of outcomes) assert.ok(details.need > details.have && details.have === CONTEXT, JSON.stringify(details));
  });

  test('with contextOverflow: shift they are shortened, and what was left out is counted', () =>
    withEngine(stage, { model: MODEL, contextOverflow: 'shift' }, async (page) => {
      const [completion, chat, short] = await page.evaluate(async (context) => {
        const turns = Array.from({ length: context }, (_, turn) => ({ role: turn % 2 ? 'assistant' : 'user', content: 'a' }));
        return [
          await engine.completions.create({ prompt: Array(context).fill(270), max_tokens: 3, temperature: 0, ignore_eos: true }),
          await engine.chat.completions.create({ messages: [...turns, { role: 'user', content: 'b' }], max_tokens: 3, temperature: 0, ignore_eos: true }),
          await engine.completions.create({ prompt: 'a', max_tokens: 3 }),
        ];
      }, CONTEXT);
      for (const { usage } of [completion, chat]) {
        assert.equal(usage.completion_tokens, 3);
        assert.ok(usage.dropped_tokens > 0 && usage.prompt_tokens <= CONTEXT - 3, JSON.stringify(usage));
      }
      assert.equal('dropped_tokens' in short.usage, false);
    }));

  test('57 values that cannot be are refused by name', async () => {
    const values = {
      temperature: ['NaN', -1, 'Infinity', 'hot'], top_p: ['NaN', -0.1, 1.5], min_p: [-1, 2], top_k: [-2, 1.5, 'NaN'], repeat_penalty: [0, 'NaN'],
      presence_penalty: [1e9], frequency_penalty: ['Infinity'], max_tokens: [-3, 1.5, 'NaN'], n: [0, -1, 1e9], seed: [1.5, 'x'], stop: [5, ['a', 5]],
      typical_p: [2], top_n_sigma: [-2], xtc_probability: [1.5], xtc_threshold: ['x'], dry_multiplier: [-1], dry_base: [0], dry_allowed_length: [0.5],
      dry_penalty_last_n: [-2], dry_sequence_breakers: ['a', [5]], mirostat: [1], mirostat_tau: [-1], mirostat_eta: [2], dynatemp_range: [3],
      dynatemp_exponent: [-1], min_keep: [-1], samplers: [['sharpen'], 'top_k'], logprobs: [-1, 51, 'NaN'], logit_bias: [{ 999999: 1 }, { x: 1 }, { 5: 'much' }, []], response_format: [{ type: 'json_object' }], echo: [true],
    };
    const cases = Object.entries(values).flatMap(([name, list]) => list.map((value) => [name, { prompt: 'hello', max_tokens: 1, [name]: value }]));
    const outcomes = await assertRefused('completions', cases.map(([, body]) => body), 'InvalidParameter');
    outcomes.forEach((outcome, index) => assert.equal(outcome.details.name, cases[index][0], JSON.stringify(cases[index][1])));
  });

  test('fields that nobody knows are refused, with the nearest that is', async () => {
    const nearest = async (kind, body, names) => {
      const outcomes = await assertRefused(kind, names.map(([name]) => ({ ...body, [name]: 5 })), 'InvalidParameter');
      assert.deepEqual(outcomes.map(({ details }) => [details.name, details.nearest]), names);
      outcomes.forEach(({ message }, index) => assert.match(message, names[index][1] === undefined ? /is no field of/ : new RegExp(`did you mean ${names[index][1]}`)));
    };
    await nearest('completions', { prompt: 'a' }, [['maxTokens', 'max_tokens'], ['topK', 'top_k'], ['temprature', 'temperature'], ['stop_sequences', 'stop'], ['messages', undefined], ['constructor', undefined], ['zzz', undefined]]);
    await nearest('chat', { messages: [{ role: 'user', content: 'a' }] }, [['maxOutputTokens', 'max_tokens'], ['max_token', 'max_tokens'], ['toolChoice', 'tool_choice'], ['prompt', undefined]]);
    await nearest('embeddings', { input: 'a' }, [['encodingFormat', 'encoding_format'], ['prompt', undefined]]);
    const options = await inPage(async () => {
      const tries = [
        chord.createEngine({ model: '/model.gguf', context_length: 5 }), chord.createEngine({ model: '/model.gguf', nCtx: 5 }), chord.plan('/model.gguf', { maxResidentByte: 5 }),
        engine.tokenize('a', { add_special: true }), engine.applyChatTemplate([{ role: 'user', content: 'a' }], { add_generation: true }),
        engine.completions.create({ prompt: 'a' }, { timeout: 5 }), engine.completions.create({ prompt: 'a', stream_options: { includeUsage: true } }),
      ];
      return Promise.all(tries.map((promise) => promise.then(() => 'accepted', ({ code, details }) => [code, details.name, details.nearest])));
    });
    assert.deepEqual(options, [
      ['context_length', 'contextLength'], ['nCtx', 'contextLength'], ['maxResidentByte', 'maxResidentBytes'], ['add_special', 'addSpecial'],
      ['add_generation', 'add_generation_prompt'], ['timeout', undefined], ['includeUsage', 'include_usage'],
    ].map(([name, near]) => ['InvalidParameter', name, near]));
  });

  test('OpenAI\'s fields without a meaning here are taken, those with one that is missing are refused', async () => {
    const harmless = {
      model: 'x', user: 'u', metadata: { a: 'b' }, service_tier: 'auto', safety_identifier: 's', prompt_cache_key: 'k', prediction: { type: 'content', content: 'a' }, store: false,
      response_format: { type: 'text' }, modalities: ['text'], parallel_tool_calls: false, functions: [], logit_bias: null, cache_prompt: true, typical_p: 1, mirostat: 0, grammar: '',
      stream_options: { include_usage: true }, reasoning_effort: null,
    };
    const usage = await inPage(async (given) => (await engine.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], max_tokens: 1, ...given })).usage, harmless);
    assert.equal(usage.completion_tokens, 1);
    const meant = { store: true, response_format: { type: 'xml' }, modalities: ['text', 'audio'], reasoning_effort: 'high', functions: [{ name: 'f' }], best_of: 2, repeat_last_n: 32, json_schema: {} };
    const outcomes = await assertRefused('chat', Object.entries(meant).map(([name, value]) => ({ messages: [{ role: 'user', content: 'a' }], [name]: value })), 'InvalidParameter');
    assert.deepEqual(outcomes.map(({ details }) => details.name), Object.keys(meant));
  });

  test('other libraries\' names and numbers are taken where they can mean one thing only', async () => {
    const counts = await inPage(async () => {
      const prompt = Array(250).fill(270);
      const bodies = [{ n_predict: 3 }, { max_new_tokens: 2 }, { max_completion_tokens: 4 }, { max_tokens: -1 }, { n_predict: -2 }, { max_tokens: null }, { max_tokens: 3, max_completion_tokens: 3, top_k: -1, repetition_penalty: 1.1 }];
      const counted = [];
      for (const body of bodies) counted.push((await engine.completions.create({ prompt, ignore_eos: true, ...body })).usage.completion_tokens);
      const text = async (body) => (await engine.completions.create({ prompt: 'hello', max_tokens: 20, seed: 3, temperature: 1, ignore_eos: true, ...body })).choices[0].text;
      const [none, all, few, plain, other, same] = [await text({ top_k: 0 }), await text({ top_k: -1 }), await text({ top_k: 1 }), await text({}), await text({ repetition_penalty: 2 }), await text({ repeat_penalty: 2 })];
      return { counted, isAll: none === all && all !== few, isPenalty: other === same && other !== plain };
    });
    assert.deepEqual(counts, { counted: [3, 2, 4, CONTEXT - 250, CONTEXT - 250, CONTEXT - 250, 3], isAll: true, isPenalty: true });
    const [outcome] = await assertRefused('completions', [{ prompt: 'a', max_tokens: 3, n_predict: 4 }], 'InvalidParameter');
    assert.equal(outcome.details.name, 'n_predict');
  });

  test('llama.cpp\'s samplers act, and a seed draws the same', async () => {
    const fields = [
      { typical_p: 0.1 }, { top_n_sigma: 0.2 }, { xtc_probability: 1, xtc_threshold: 0.001 }, { dry_multiplier: 5, dry_allowed_length: 0 },
      { mirostat: 2, mirostat_tau: 1, mirostat_eta: 0.5 }, { dynatemp_range: 1, dynatemp_exponent: 2 }, { samplers: ['top_k'] }, { min_p: 1, min_keep: 3 },
    ];
    const told = await inPage(async (bodies) => {
      const text = async (body) => (await engine.completions.create({ prompt: 'hello hello hello', max_tokens: 30, seed: 3, temperature: 1, top_k: 0, top_p: 1, min_p: 0, ignore_eos: true, ...body })).choices[0].text;
      const plain = await text({});
      const all = [];
      for (const body of bodies) all.push([await text(body) === await text(body), await text(body) === plain]);
      return all;
    }, fields);
    assert.deepEqual(told, fields.map(() => [true, false]));
  });

  test('57 ids beyond the vocabulary are refused', async () => {
    await assertRefused('completions', [{ prompt: [999_999] }, { prompt: [-1] }, { prompt: [1.5] }], 'InvalidParameter');
    const codes = await inPage(() => Promise.all([[-1], [1e9], [1.5], 'x', null].map((tokens) => engine.detokenize(tokens).then(() => 'accepted', (error) => error.code))));
    assert.deepEqual(codes, Array(5).fill('InvalidParameter'));
  });

  test('bodies that are no JSON are refused', async () => {
    const codes = await inPage(async () => {
      const cycle = { role: 'user', content: 'x' };
      cycle.self = cycle;
      const bodies = [null, 5, 'x', [], { messages: [cycle] }, { messages: [{ role: 'user', content: 'x', big: 1n }] }];
      return Promise.all(bodies.map((body) => engine.chat.completions.create(body).then(() => 'accepted', (error) => error.code)));
    });
    assert.deepEqual(codes, Array(6).fill('InvalidParameter'));
  });

  test('an error of a stream comes from create', async () => {
    const outcome = await inPage(() => engine.completions.create({ prompt: 'x', temperature: -1, stream: true }).then(() => 'accepted', chord.failure));
    assert.equal(outcome.code, 'InvalidParameter');
  });
});
