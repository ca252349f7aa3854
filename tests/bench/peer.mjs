/**
 * From nothing to the first token, beside wllama: the same file from the same server in the same browser,
 * each run in a fresh profile without any cache. With `--warm`, each run is a second visit, with the
 * contender's own store or cache filled by the first.
 *
 *     cargo xtask bench peer --model model.gguf [--runs 3] [--threads 2] [--tokens 16] [--context 512]
 *                            [--prompt "Once upon a time"] [--only ours|wllama] [--warm] [--json result.json]
 */

import { statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { BARE_PAGE, newProfile, runBare } from './lib/bare.mjs';
import { median, table } from './lib/report.mjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    runs: { type: 'string', default: '3' },
    threads: { type: 'string' },
    tokens: { type: 'string', default: '16' },
    context: { type: 'string', default: '512' },
    prompt: { type: 'string', default: 'Once upon a time' },
    only: { type: 'string' },
    warm: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
if (!values.model) throw new Error('name a file: --model PATH');

const model = resolve(values.model);
const options = {
  model: `/model/${basename(model)}`,
  prompt: values.prompt,
  tokens: Number(values.tokens),
  context: Number(values.context),
  threads: values.threads === undefined ? undefined : Number(values.threads),
  warm: values.warm,
};

/** Runs in the page. All times in milliseconds from the call that creates the engine. */
async function measureOurs({ model, prompt, tokens, context, threads, warm }) {
  const { createEngine } = await import('/pkg/index.js');
  const start = performance.now();
  const engine = await createEngine({ model, store: warm ? 'opfs' : 'none', device: 'cpu', contextLength: context, ...(threads ? { threads } : {}) });
  const times = [];
  const stream = await engine.completions.create({ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true });
  for await (const _ of stream) {
    times.push(performance.now() - start);
    if (times.length === 1) await mark();
  }
  await mark();
  const stats = await engine.stats();
  // Resolves when all is on disk.
  if (warm) await engine.loaded;
  await engine.dispose();
  return { times, prefill: stats.last?.prefillTokensPerSecond, decode: stats.last?.decodeTokensPerSecond, kvBytes: stats.memory.kvBytes };
}

/** The same for wllama. */
async function measureWllama({ model, prompt, tokens, context, threads, warm }) {
  const { Wllama } = await import('/wllama/index.js');
  const start = performance.now();
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true });
  const loading = { n_ctx: context, n_gpu_layers: 0, useCache: warm, ...(threads ? { n_threads: threads } : {}) };
  await wllama.loadModelFromUrl(new URL(model, location.href).href, loading);
  const times = [];
  const stream = await wllama.createCompletion({ prompt, max_tokens: tokens, temperature: 0, stream: true });
  for await (const _ of stream) {
    times.push(performance.now() - start);
    if (times.length === 1) await mark();
  }
  await mark();
  await wllama.exit();
  return { times };
}

const contenders = { ours: measureOurs, wllama: measureWllama };

async function run(server, measure) {
  const profile = await newProfile();
  if (values.warm) await runBare(server, measure, options, { profile });
  const { value, peak, marks: [first, end] } = await runBare(server, measure, options, { profile });
  await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  const { times, prefill, decode, kvBytes } = value;
  const last = times.length - 1;
  return {
    firstToken: times[0] / 1000,
    // The first token's time belongs to the prompt.
    decode: decode ?? (last * 1000) / (times[last] - times[0]),
    // What other work on the machine takes from the tab does not count here.
    decodeBySeconds: last / (end - first),
    prefill,
    kvBytes,
    tab: peak.tab,
    all: peak.all,
  };
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
const bytes = statSync(model).size;
const rows = {};
for (const [name, measure] of Object.entries(contenders)) {
  if (values.only && values.only !== name) continue;
  rows[name] = [];
  for (let index = 0; index < Number(values.runs); index++) {
    rows[name].push(await run(server, measure));
    console.log(`${name} ${index + 1}: first token after ${rows[name].at(-1).firstToken.toFixed(2)} s`);
  }
}
await server.close();

const middle = (name, field) => median(rows[name].map((row) => row[field]));
console.log(`\n${basename(model)}, ${(bytes / 1e6).toFixed(0)} MB; medians of ${values.runs} runs${values.warm ? ', second visits' : ''}\n`);
console.log(
  table(
    ['', 'first token, s', 'decode, tokens/s', 'tokens a second of computing', 'peak of the tab, MB', 'of the file', 'whole browser, MB'],
    Object.keys(rows).map((name) => [
      name,
      middle(name, 'firstToken').toFixed(2),
      middle(name, 'decode').toFixed(2),
      middle(name, 'decodeBySeconds').toFixed(2),
      (middle(name, 'tab') / 1e6).toFixed(0),
      `${(middle(name, 'tab') / bytes).toFixed(2)} ×`,
      (middle(name, 'all') / 1e6).toFixed(0),
    ]),
  ),
);
if (rows.ours && rows.wllama) {
  console.log(`\nours / wllama to the first token: ${(middle('ours', 'firstToken') / middle('wllama', 'firstToken')).toFixed(3)}`);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ model: basename(model), bytes, options, rows }, null, 2)}\n`);
