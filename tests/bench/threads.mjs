/**
 * Several threads beside one, on a page that may share memory and on one that may not: engines of either kind lie
 * loaded side by side in one page and take turns, so that a loaded machine slows all of them. The best of all rounds
 * counts.
 *
 *     cargo xtask bench threads --model model.gguf [--threads 1,2] [--rounds 4] [--tokens 16] [--prompt 128]
 *                               [--context 512] [--json result.json]
 */

import { writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { BARE_PAGE, runBare } from './lib/bare.mjs';
import { table } from './lib/report.mjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    threads: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '4' },
    tokens: { type: 'string', default: '16' },
    prompt: { type: 'string', default: '128' },
    context: { type: 'string', default: '512' },
    json: { type: 'string' },
  },
});
if (!values.model) throw new Error('name a file: --model PATH');

const model = resolve(values.model);
const threads = values.threads.split(',').map(Number);
const options = {
  model: `/model/${basename(model)}`,
  threads,
  rounds: Number(values.rounds),
  tokens: Number(values.tokens),
  prompt: Number(values.prompt),
  context: Number(values.context),
};

/** Runs in the page: the best speeds of each number of threads, in tokens a second; 0 stands for the default. */
async function measure({ model, threads, rounds, tokens, prompt, context }) {
  const { createEngine } = await import('/pkg/index.js');
  const engines = [];
  for (const count of threads) {
    const engine = await createEngine({ model, store: 'none', device: 'cpu', contextLength: context, ...count > 0 ? { threads: count } : {} });
    await engine.loaded;
    engines.push(engine);
  }
  const best = threads.map(() => ({ prefill: 0, decode: 0 }));
  let seed = 1;
  for (let round = 0; round < rounds; round += 1) {
    // Each round has a prompt that no other began like.
    const ids = Array.from({ length: prompt }, () => {
      seed = (seed * 48271) % 2147483647;
      return 300 + (seed % 20000) % (engines[0].model.vocabularySize - 400);
    });
    for (const [index, engine] of engines.entries()) {
      await engine.completions.create({ prompt: ids, max_tokens: tokens, temperature: 0, ignore_eos: true });
      const { last } = await engine.stats();
      best[index].prefill = Math.max(best[index].prefill, last.prefillTokensPerSecond);
      best[index].decode = Math.max(best[index].decode, last.decodeTokensPerSecond);
    }
  }
  const result = [];
  for (const [index, engine] of engines.entries()) {
    const stats = await engine.stats();
    result.push({ ...best[index], threads: stats.threads, simd: stats.simd });
    await engine.dispose();
  }
  return { isShared: crossOriginIsolated, result };
}

const server = await startServer({ roots: { '/pkg/': join(root, 'pkg'), '/model/': dirname(model) }, files: { '/bare.html': BARE_PAGE } });
const rows = [];
for (const isolated of [true, false]) {
  server.isolated = isolated;
  const { value: { isShared, result } } = await runBare(server, measure, options, { timeoutMs: 1_800_000 });
  for (const each of result) rows.push({ exchange: isShared ? 'shared memory' : 'messages', ...each });
}
await server.close();

console.log(`\n${basename(model)}: a prompt of ${values.prompt} tokens and ${values.tokens} after it, best of ${values.rounds} rounds, tokens/s\n`);
console.log(table(
  ['exchange', 'threads', 'prefill', '÷ first', 'decode', '÷ first'],
  rows.map(({ exchange, threads: count, prefill, decode }) => {
    const first = rows.find((row) => row.exchange === exchange);
    return [exchange, String(count), prefill.toFixed(1), (prefill / first.prefill).toFixed(2), decode.toFixed(2), (decode / first.decode).toFixed(2)];
  }),
));
if (values.json) writeFileSync(values.json, JSON.stringify({ ...options, rows }, undefined, 2));
