/**
 * Several requests at a time beside one: tokens a second of all of them together. Rounds of one and of several take turns
 * on one engine, so that a loaded machine slows both; the best of all rounds counts. And tokens for each second that the
 * tab computed, prompts of eight tokens included, which the machine's other work does not change as much. What one writes
 * has to be what it writes alone.
 *
 *     cargo xtask bench together --model model.gguf [--requests 2,4,8] [--threads 1] [--rounds 3] [--tokens 24]
 *                                [--context 512] [--json result.json]
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
    requests: { type: 'string', default: '2,4,8' },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '24' },
    context: { type: 'string', default: '512' },
    json: { type: 'string' },
  },
});
if (!values.model) throw new Error('name a file: --model PATH');

const model = resolve(values.model);
const options = {
  model: `/model/${basename(model)}`,
  requests: [1, ...values.requests.split(',').map(Number)],
  threads: Number(values.threads),
  rounds: Number(values.rounds),
  tokens: Number(values.tokens),
  context: Number(values.context),
};

/** Runs in the page: for each number of requests, the best speed of all of them, in tokens a second. */
async function measure({ model, requests, threads, rounds, tokens, context }) {
  const { createEngine } = await import('/pkg/index.js');
  const engine = await createEngine({ model, store: 'none', device: 'cpu', contextLength: context, threads, maxSequences: Math.max(...requests) });
  await engine.loaded;
  const best = requests.map(() => 0);
  const answers = new Map();
  let isSame = true;
  /** Prompts are computed before the clock starts: each conversation goes on from its own. */
  const prompts = Array.from({ length: Math.max(...requests) }, (_, index) => Array.from({ length: 8 }, (_none, at) => 300 + 37 * index + 11 * at));
  const ask = async (index) => {
    const stream = await engine.completions.create({ prompt: prompts[index], max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true, logprobs: 0 });
    const times = [];
    let text = '';
    for await (const { choices } of stream) {
      const choice = choices[0];
      text += choice?.text ?? '';
      for (const _ of choice?.logprobs?.tokens ?? []) times.push(performance.now());
    }
    isSame &&= (answers.get(index) ?? text) === text;
    answers.set(index, text);
    return times;
  };
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, count] of requests.entries()) {
      await mark();
      const times = await Promise.all(Array.from({ length: count }, (_, index) => ask(index)));
      // From when all have begun to when the first has ended.
      const start = Math.max(...times.map(([first]) => first));
      const end = Math.min(...times.map((all) => all.at(-1)));
      const made = times.flat().filter((time) => time > start && time <= end).length;
      best[at] = Math.max(best[at], made * 1000 / (end - start));
    }
  }
  await mark();
  const stats = await engine.stats();
  await engine.dispose();
  return { best, isSame, sequences: stats.sequences, threads: stats.threads, simd: stats.simd };
}

const server = await startServer({ roots: { '/pkg/': join(root, 'pkg'), '/model/': dirname(model) }, files: { '/bare.html': BARE_PAGE } });
server.isolated = true;
const { value: { best, isSame, sequences, threads }, marks } = await runBare(server, measure, options, { timeoutMs: 1_800_000 });
await server.close();
if (!isSame) throw new Error('a request has another answer beside others');

/** For each number of requests, tokens for a second of computation, in the best round. */
const computed = options.requests.map((count, at) => {
  const seconds = Array.from({ length: options.rounds }, (_, round) => round * options.requests.length + at).map((index) => marks[index + 1] - marks[index]);
  return count * options.tokens / Math.min(...seconds);
});
console.log(`\n${basename(model)}: ${values.tokens} tokens each, ${threads} threads, best of ${values.rounds} rounds, ${(sequences.tokens / sequences.passes).toFixed(1)} tokens a pass\n`);
console.log(table(
  ['requests', 'tokens/s', '÷ one', 'tokens ÷ CPU s', '÷ one'],
  best.map((speed, at) => [String(options.requests[at]), speed.toFixed(2), (speed / best[0]).toFixed(2), computed[at].toFixed(2), (computed[at] / computed[0]).toFixed(2)]),
));
if (values.json) writeFileSync(values.json, JSON.stringify({ ...options, threads, best, computed, sequences }, undefined, 2));
