// The official `openai` client, unchanged but for its options, before an engine in the page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundled, openStage } from './support.mjs';

const client = await bundled("export { default as OpenAI, APIUserAbortError, BadRequestError, NotFoundError } from 'openai';");
const stage = await openStage({ files: { '/client.js': client } });

/** Runs `body` in a page where `client` asks `engine`, the bundled model, and `clientOf` makes clients of other engines. */
const inPage = (body) => stage.visit({}, async (page) => {
  await page.evaluate(async () => {
    const { createEngine } = await import('/pkg/index.js');
    const { createFetch } = await import('/pkg/openai.js');
    const { OpenAI, ...errors } = await import('/client.js');
    const engine = await createEngine({ model: '/models/chord-tiny.gguf', store: 'none', device: 'cpu' });
    const clientOf = (engines) => new OpenAI({ baseURL: 'http://page.invalid/v1', apiKey: 'none', dangerouslyAllowBrowser: true, maxRetries: 0, fetch: createFetch(engines) });
    Object.assign(window, { engine, errors, clientOf, client: clientOf(engine) });
  });
  const result = await page.evaluate(body);
  await page.evaluate(() => engine.dispose());
  return result;
});

test('chats and completions are the engine’s, whole and streamed', async () => {
  const { own, chat, chunks, deltas, usage, text, pieces } = await inPage(async () => {
    const request = { model: 'any', messages: [{ role: 'user', content: 'Tell me a story about a fox.' }], temperature: 0, max_tokens: 24 };
    const prompt = { model: 'any', prompt: 'Once upon a time', temperature: 0, max_tokens: 16 };
    const collected = async (stream) => {
      const all = [];
      for await (const chunk of await stream) all.push(chunk);
      return all;
    };
    const streamed = await collected(client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } }));
    return {
      own: [(await engine.chat.completions.create(request)).choices[0].message.content, (await engine.completions.create(prompt)).choices[0].text],
      chat: (await client.chat.completions.create(request)).choices[0],
      chunks: streamed.length,
      deltas: streamed.map(({ choices }) => choices[0]?.delta.content ?? '').join(''),
      usage: streamed.at(-1).usage,
      text: (await client.completions.create(prompt)).choices[0].text,
      pieces: (await collected(client.completions.create({ ...prompt, stream: true }))).map(({ choices }) => choices[0]?.text ?? '').join(''),
    };
  });
  assert.ok(own[0].length > 20 && own[1].length > 20, JSON.stringify(own));
  assert.deepEqual([chat.message.content, deltas, text, pieces], [own[0], own[0], own[1], own[1]]);
  assert.equal(chat.finish_reason, 'length');
  assert.ok(chunks > 10, `${chunks} chunks`);
  assert.equal(usage.completion_tokens, 24);
});

test('embeddings come as the client asks for them, and shorter ones', async () => {
  const { own, whole, short, text, refused } = await inPage(async () => {
    const input = ['hello', 'the fox'];
    const vectors = ({ data }) => data.map(({ embedding }) => [...embedding]);
    return {
      own: vectors(await engine.embeddings.create({ input })),
      // The client asks for Base64, and decodes it.
      whole: vectors(await client.embeddings.create({ model: 'any', input })),
      short: vectors(await client.embeddings.create({ model: 'any', input, dimensions: 8, encoding_format: 'float' })),
      text: (await engine.embeddings.create({ input, encoding_format: 'base64' })).data[0].embedding,
      refused: await client.embeddings.create({ model: 'any', input, dimensions: 1e6 }).catch((error) => [error instanceof errors.BadRequestError, error.param]),
    };
  });
  assert.deepEqual(whole, own.map((vector) => vector.map(Math.fround)));
  assert.deepEqual([...new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer)], whole[0]);
  for (const [index, vector] of short.entries()) {
    assert.equal(vector.length, 8);
    assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
    vector.forEach((value, at) => assert.ok(Math.abs(value / vector[0] - own[index][at] / own[index][0]) < 1e-4));
  }
  assert.deepEqual(refused, [true, 'dimensions']);
});

test('models are listed, and chosen by name where there are several', async () => {
  const { one, several, found, missing, answer } = await inPage(async () => {
    const two = clientOf({ 'small/one': engine, other: engine });
    const ids = async (from) => (await from.models.list()).data.map(({ id }) => id);
    return {
      one: [await ids(client), engine.model.name],
      several: await ids(two),
      found: (await two.models.retrieve('small/one')).id,
      missing: await two.completions.create({ model: 'third', prompt: 'a' }).catch((error) => [error instanceof errors.NotFoundError, error.code]),
      answer: (await two.completions.create({ model: 'other', prompt: 'Once', max_tokens: 2, temperature: 0 })).choices.length,
    };
  });
  assert.deepEqual(one[0], [one[1]]);
  assert.deepEqual(several, ['small/one', 'other']);
  assert.equal(found, 'small/one');
  assert.deepEqual(missing, [true, 'model_not_found']);
  assert.equal(answer, 1);
});

test('failures are the client’s errors, and a cancelled call ends the generation', async () => {
  const result = await inPage(async () => {
    const messages = [{ role: 'user', content: 'Hello' }];
    const failed = (error) => [error.constructor === errors.BadRequestError, error.status, error.code, error.param];
    const stream = await client.chat.completions.create({ model: 'any', messages, ignore_eos: true, stream: true });
    for await (const _ of stream) break;
    const controller = new AbortController();
    const aborted = client.chat.completions.create({ model: 'any', messages, ignore_eos: true }, { signal: controller.signal }).catch((error) => error instanceof errors.APIUserAbortError);
    setTimeout(() => controller.abort(), 20);
    return {
      value: await client.chat.completions.create({ model: 'any', messages, temperature: 9 }).catch(failed),
      long: await client.completions.create({ model: 'any', prompt: 'word '.repeat(20000) }).catch(failed),
      route: await client.images.generate({ model: 'any', prompt: 'a fox' }).catch(({ status, code }) => [status, code]),
      aborted: await aborted,
      // Neither holds the engine any more.
      after: (await engine.completions.create({ prompt: 'Once', max_tokens: 2 })).usage.completion_tokens,
    };
  });
  assert.deepEqual(result, {
    value: [true, 400, 'InvalidParameter', 'temperature'],
    long: [true, 400, 'context_length_exceeded', null],
    route: [404, 'not_found'],
    aborted: true,
    after: 2,
  });
});
