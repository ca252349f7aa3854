// Encoders and rerankers: embeddings, rankings, and what they say to a chat.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { tinyEncoder } from '../support/tiny-gguf.mjs';
import { withEngine } from './engine-page.mjs';
import { openStage } from './support.mjs';

const ENCODER = '/encoder.gguf';
const RERANKER = '/reranker.gguf';
const stage = await openStage({ files: { [ENCODER]: tinyEncoder(), [RERANKER]: tinyEncoder({ ranks: true }) } });

/** Runs `body` in a page whose `engine` has the model. */
const inPage = (model, body, argument) => withEngine(stage, { model }, (page) => page.evaluate(body, argument));

/** The outcomes of calls that must fail. */
const failures = (model, name, bodies) => inPage(model, async ([kind, given]) => {
  const api = kind === 'chat' ? engine.chat.completions : engine[kind];
  return Promise.all(given.map((body) => api.create(body).then(() => ({ code: 'accepted' }), chord.failure)));
}, [name, bodies]);

describe('an encoder', () => {
  test('embeds texts', async () => {
    const { data, usage } = await inPage(ENCODER, () => engine.embeddings.create({ input: ['hello the', 'The Héllo?', 'hello the'] }));
    const [one, two, three] = data.map(({ embedding }) => embedding);
    assert.ok(Math.abs(Math.hypot(...one) - 1) < 1e-3);
    assert.deepEqual(one, three);
    assert.notDeepEqual(one, two);
    // Each stands between two marks.
    assert.equal(usage.prompt_tokens, 4 + 5 + 4);
  });

  test('writes no text and ranks nothing, and says so', async () => {
    const bodies = { chat: { messages: [{ role: 'user', content: 'hello' }] }, completions: { prompt: 'hello' }, rerank: { query: 'a', documents: ['b'] } };
    for (const [name, body] of Object.entries(bodies)) {
      const [failure] = await failures(ENCODER, name, [body]);
      assert.equal(failure.code, 'UnsupportedArchitecture', name);
      assert.match(failure.message, name === 'rerank' ? /does not rank/ : /an encoder \(bert\)/);
    }
  });
});

describe('a reranker', () => {
  const query = 'hello ?';
  const documents = ['a b c', { text: 'the' }, 'hello hello', 'z'];

  test('sorts documents by their scores', async () => {
    const { all, best, again } = await inPage(RERANKER, async (body) => ({
      all: await engine.rerank.create(body),
      best: await engine.rerank.create({ ...body, top_n: 2, return_documents: true }),
      again: await engine.rerank.create({ ...body, documents: [...body.documents].reverse() }),
    }), { query, documents });
    const scores = all.results.map(({ relevance_score: score }) => score);
    assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
    assert.deepEqual(all.results.map(({ index }) => index).sort(), [0, 1, 2, 3]);
    assert.equal(new Set(scores).size, 4);
    // [CLS] and two words and [SEP], the document, and [SEP].
    assert.equal(all.usage.prompt_tokens, 4 * 5 + 3 + 1 + 2 + 1);
    const texts = documents.map((document) => document.text ?? document);
    assert.deepEqual(best.results, all.results.slice(0, 2).map((result) => ({ ...result, document: { text: texts[result.index] } })));
    assert.deepEqual(again.results.map(({ index, relevance_score: score }) => [3 - index, score]), all.results.map(({ index, relevance_score: score }) => [index, score]));
  });

  test('refuses what cannot be ranked, by name', async () => {
    const bodies = [
      ['query', { documents }], ['query', { query: 5, documents }], ['documents', { query }], ['documents', { query, documents: [] }],
      ['documents', { query, documents: [5] }], ['documents', { query, documents: 'a' }], ['top_n', { query, documents, top_n: 0 }],
      ['top_n', { query, documents, top_n: 1.5 }], ['return_documents', { query, documents, return_documents: 1 }], ['topN', { query, documents, topN: 1 }],
    ];
    const outcomes = await failures(RERANKER, 'rerank', bodies.map(([, body]) => body));
    assert.deepEqual(outcomes.map(({ code, details }) => [code, details.name]), bodies.map(([name]) => ['InvalidParameter', name]));
  });

  test('makes no embeddings and writes no text', async () => {
    const [embedding] = await failures(RERANKER, 'embeddings', [{ input: 'a' }]);
    const [chat] = await failures(RERANKER, 'chat', [{ messages: [{ role: 'user', content: 'a' }] }]);
    assert.deepEqual([embedding.code, chat.code], ['UnsupportedArchitecture', 'UnsupportedArchitecture']);
    assert.match(chat.message, /a reranker \(bert\)/);
  });
});
