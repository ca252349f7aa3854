/**
 * Embeddings beside wllama: the same texts by the same file in the same browser, in one call each. The contenders take turns,
 * so that what else the machine does falls on both.
 *
 *     cargo xtask bench embeddings --model encoder.gguf [--texts 64] [--tokens 128] [--runs 3] [--threads 1]
 *                                  [--only ours|wllama] [--json result.json]
 *
 * Texts are words of the file's vocabulary, drawn by a seed, and as long as `--tokens` says with what the model puts around them.
 */

import { writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { BARE_PAGE, runBare } from './lib/bare.mjs';
import { median, table } from './lib/report.mjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    texts: { type: 'string', default: '64' },
    tokens: { type: 'string', default: '128' },
    runs: { type: 'string', default: '3' },
    threads: { type: 'string', default: '1' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});
if (!values.model) throw new Error('name a file: --model PATH');

const model = resolve(values.model);
const options = { model: `/model/${basename(model)}`, texts: Number(values.texts), tokens: Number(values.tokens), threads: Number(values.threads) };

/** Runs in the page: texts that both contenders are given. The core is asked for words that are one token each. */
async function drawTexts({ model, texts, tokens }) {
  const { createEngine } = await import('/pkg/index.js');
  const engine = await createEngine({ model, store: 'none', device: 'cpu' });
  const around = (await engine.tokenize('', { addSpecial: true })).length;
  const words = [];
  let state = 1;
  while (words.length < 500) {
    state = (state * 48271) % 2147483647;
    const word = (await engine.detokenize([1000 + (state % 20000)])).trim();
    if (word !== '' && (await engine.tokenize(word)).length === 1) words.push(word);
  }
  const text = (number) => Array.from({ length: tokens - around }, (_, at) => words[(number * 131 + at * 17) % words.length]).join(' ');
  const all = Array.from({ length: texts }, (_, number) => text(number));
  await engine.dispose();
  return all;
}

/** Runs in the page: seconds of a call, after one of a few texts that reads all weights. */
async function measureOurs({ model, threads, inputs }) {
  const { createEngine } = await import('/pkg/index.js');
  const engine = await createEngine({ model, store: 'none', device: 'cpu', threads });
  await engine.embeddings.create({ input: inputs.slice(0, 4) });
  await mark();
  const start = performance.now();
  const { data, usage } = await engine.embeddings.create({ input: inputs });
  const seconds = (performance.now() - start) / 1000;
  await mark();
  await engine.dispose();
  return { seconds, tokens: usage.prompt_tokens, vectors: data.map(({ embedding }) => embedding) };
}

/** The same for wllama. */
async function measureWllama({ model, threads, inputs }) {
  const { Wllama } = await import('/wllama/index.js');
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true });
  await wllama.loadModelFromUrl(new URL(model, location.href).href, { embeddings: true, n_gpu_layers: 0, useCache: false, n_threads: threads });
  await wllama.createEmbedding({ input: inputs.slice(0, 4) });
  await mark();
  const start = performance.now();
  const { data, usage } = await wllama.createEmbedding({ input: inputs });
  const seconds = (performance.now() - start) / 1000;
  await mark();
  await wllama.exit();
  return { seconds, tokens: usage.prompt_tokens, vectors: data.map(({ embedding }) => embedding) };
}

const server = await startServer({
  roots: {
    '/pkg/': join(root, 'pkg'),
    '/wllama/': join(root, 'node_modules/@wllama/wllama/esm'),
    '/model/': dirname(model),
  },
  files: { '/bare.html': BARE_PAGE },
  isolated: true,
});
const { value: inputs } = await runBare(server, drawTexts, options);
const contenders = Object.entries({ ours: measureOurs, wllama: measureWllama }).filter(([name]) => !values.only || values.only === name);
const rows = Object.fromEntries(contenders.map(([name]) => [name, []]));
const vectors = {};
for (let index = 0; index < Number(values.runs); index++) {
  for (const [name, measure] of contenders) {
    const { value, marks: [first, end] } = await runBare(server, measure, { ...options, inputs });
    rows[name].push({ tokens: value.tokens, seconds: value.seconds, computed: end - first });
    vectors[name] = value.vectors;
    console.log(`${name} ${index + 1}: ${value.seconds.toFixed(2)} s for ${value.tokens} tokens, ${(end - first).toFixed(2)} s of computing`);
  }
}
await server.close();

const middle = (name, field) => median(rows[name].map((row) => row[field]));
const rate = (name, field) => rows[name][0].tokens / middle(name, field);
console.log(`\n${basename(model)}, ${values.texts} texts of ${values.tokens} tokens, ${values.threads} thread(s); medians of ${values.runs} runs\n`);
console.log(
  table(
    ['', 'seconds', 'tokens/s', 'tokens a second of computing'],
    Object.keys(rows).map((name) => [name, middle(name, 'seconds').toFixed(2), rate(name, 'seconds').toFixed(0), rate(name, 'computed').toFixed(0)]),
  ),
);
if (rows.ours && rows.wllama) {
  const cosine = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
  const least = Math.min(...vectors.ours.map((vector, at) => cosine(vector, vectors.wllama[at])));
  console.log(`\nours / wllama: ${(rate('ours', 'seconds') / rate('wllama', 'seconds')).toFixed(2)} by the clock, ${(rate('ours', 'computed') / rate('wllama', 'computed')).toFixed(2)} by computing; least cosine ${least.toFixed(6)}`);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ model: basename(model), options, rows }, null, 2)}\n`);
