// The AI SDK, with its own provider for servers of OpenAI's interface, before an engine in the page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundled, openStage } from './support.mjs';

const sdk = await bundled(`
  export { embedMany, generateText, Output, streamText, tool } from 'ai';
  export { createOpenAICompatible } from '@ai-sdk/openai-compatible';
  export { z } from 'zod';`);
const stage = await openStage({ files: { '/sdk.js': sdk } });

/** Runs `body` in a page where `provider` asks `engine`, the bundled model, and `sdk` is the AI SDK. */
const inPage = (body) => stage.visit({}, async (page) => {
  await page.evaluate(async () => {
    const { createEngine } = await import('/pkg/index.js');
    const { createFetch } = await import('/pkg/openai.js');
    const sdk = await import('/sdk.js');
    globalThis.AI_SDK_LOG_WARNINGS = false;
    const engine = await createEngine({ model: '/models/chord-tiny.gguf', store: 'none', device: 'cpu' });
    const provider = sdk.createOpenAICompatible({ name: 'page', baseURL: 'http://page.invalid/v1', fetch: createFetch(engine), supportsStructuredOutputs: true, includeUsage: true });
    Object.assign(window, { engine, provider, sdk });
  });
  const result = await page.evaluate(body);
  await page.evaluate(() => engine.dispose());
  return result;
});

test('text is the engine’s, whole and streamed', async () => {
  const { own, whole, streamed, pieces, usage } = await inPage(async () => {
    const content = 'Tell me a story about a fox.';
    const call = { model: provider('any'), messages: [{ role: 'user', content }], temperature: 0, maxOutputTokens: 24 };
    const answer = await engine.chat.completions.create({ messages: [{ role: 'user', content }], temperature: 0, max_tokens: 24 });
    const stream = sdk.streamText(call);
    const pieces = [];
    for await (const piece of stream.textStream) pieces.push(piece);
    return {
      own: answer.choices[0].message.content,
      whole: (await sdk.generateText(call)).text,
      streamed: pieces.join(''),
      pieces: pieces.length,
      usage: await stream.usage,
    };
  });
  assert.ok(own.length > 20, own);
  assert.deepEqual([whole, streamed], [own, own]);
  assert.ok(pieces > 5, `${pieces} pieces`);
  assert.equal(usage.outputTokens, 24);
});

test('objects keep to their schema', async () => {
  const { output } = await inPage(async () => {
    const schema = sdk.z.object({ animal: sdk.z.enum(['fox', 'dog']), age: sdk.z.number().int().min(0).max(20), tags: sdk.z.array(sdk.z.boolean()).max(3) });
    const call = { model: provider('any'), prompt: 'Tell me about a fox.', temperature: 0, output: sdk.Output.object({ schema }) };
    return { output: (await sdk.generateText(call)).output };
  });
  assert.ok(['fox', 'dog'].includes(output.animal), JSON.stringify(output));
  assert.ok(Number.isInteger(output.age) && output.age >= 0 && output.age <= 20, JSON.stringify(output));
});

test('tools are called with arguments of their schema, and run', async () => {
  const { calls, results } = await inPage(async () => {
    const weather = sdk.tool({
      description: 'The weather of a place',
      inputSchema: sdk.z.object({ place: sdk.z.enum(['Paris', 'Rome']), days: sdk.z.number().int().min(1).max(9) }),
      execute: ({ place }) => `sunny in ${place}`,
    });
    const { toolCalls, toolResults } = await sdk.generateText({ model: provider('any'), prompt: 'Will it rain?', temperature: 0, tools: { weather }, toolChoice: 'required' });
    return { calls: toolCalls.map(({ toolName, input }) => ({ toolName, input })), results: toolResults.map(({ output }) => output) };
  });
  assert.ok(calls.length > 0);
  for (const [index, { toolName, input }] of calls.entries()) {
    assert.equal(toolName, 'weather');
    assert.ok(['Paris', 'Rome'].includes(input.place) && input.days >= 1 && input.days <= 9, JSON.stringify(input));
    assert.equal(results[index], `sunny in ${input.place}`);
  }
});

test('embeddings are the engine’s', async () => {
  const { own, embeddings } = await inPage(async () => {
    const values = ['hello', 'the fox'];
    const { data } = await engine.embeddings.create({ input: values });
    return { own: data.map(({ embedding }) => embedding), embeddings: (await sdk.embedMany({ model: provider.textEmbeddingModel('any'), values })).embeddings };
  });
  assert.deepEqual(embeddings, own);
});
