/**
 * Two builds of the package beside each other, to see what a change costs: `pkg/` of this checkout against `pkg/` of
 * another one. Cold starts take turns, each in a fresh browser; then engines of both lie loaded in one page and take
 * turns, so that a loaded machine slows both. Ratios above one are better than before.
 *
 *     cargo xtask bench versus --before ../before/pkg --model model.gguf [--rounds 5] [--starts 3] [--threads 1]
 *                              [--tokens 16] [--prompt 128] [--embed 512] [--context 1024]
 *                              [--json result.json]
 */

import { writeFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { BARE_PAGE, runBare } from './lib/bare.mjs';
import { median, table } from './lib/report.mjs';

const { values } = parseArgs({
  options: {
    before: { type: 'string' },
    model: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    starts: { type: 'string', default: '3' },
    threads: { type: 'string', default: '1' },
    tokens: { type: 'string', default: '16' },
    prompt: { type: 'string', default: '128' },
    embed: { type: 'string', default: '512' },
    context: { type: 'string', default: '1024' },
    json: { type: 'string' },
  },
});
if (!values.model || !values.before) throw new Error('name a file and the other package: --model PATH --before FOLDER');

const model = resolve(values.model);
const PACKAGES = { before: '/before/index.js', now: '/pkg/index.js' };
const options = {
  packages: PACKAGES,
  model: `/model/${basename(model)}`,
  rounds: Number(values.rounds),
  // A build from before there were threads passes over that option, and computes on one.
  loading: { store: 'none', device: 'cpu', contextLength: Number(values.context), threads: Number(values.threads) },
  tokens: Number(values.tokens),
  prompt: Number(values.prompt),
  embed: Number(values.embed),
};

/** Runs in a fresh page: milliseconds from the call that creates an engine to its first token. */
async function measureStart({ entry, model, loading }) {
  const { createEngine } = await import(entry);
  const start = performance.now();
  const engine = await createEngine({ model, ...loading });
  const stream = await engine.completions.create({ prompt: 'Once upon a time', max_tokens: 1, temperature: 0, ignore_eos: true, stream: true });
  let first;
  for await (const _ of stream) first ??= performance.now() - start;
  await engine.dispose();
  return first;
}

/** Runs in one page: for each package the speeds of every round, and the milliseconds of embedding a text. */
async function measureRounds({ packages, model, loading, rounds, tokens, prompt, embed }) {
  const names = Object.keys(packages);
  const engines = {};
  for (const name of names) {
    const { createEngine } = await import(packages[name]);
    engines[name] = await createEngine({ model, ...loading });
    await engines[name].loaded;
  }
  const rows = Object.fromEntries(names.map((name) => [name, { prefill: [], decode: [], embed: [] }]));
  let seed = 1;
  const random = (length) => Array.from({ length }, () => {
    seed = (seed * 48271) % 2147483647;
    return 300 + (seed % 20000);
  });
  for (let round = 0; round < rounds; round += 1) {
    // Each round has prompts that no other began like.
    const ids = random(prompt);
    const text = random(embed);
    // Who goes first changes.
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      const engine = engines[name];
      await engine.completions.create({ prompt: ids, max_tokens: tokens, temperature: 0, ignore_eos: true });
      const { last } = await engine.stats();
      rows[name].prefill.push(last.prefillTokensPerSecond);
      rows[name].decode.push(last.decodeTokensPerSecond);
      if (embed > 0) {
        const start = performance.now();
        await engine.embeddings.create({ input: text });
        rows[name].embed.push(performance.now() - start);
      }
    }
  }
  for (const name of names) await engines[name].dispose();
  return rows;
}

/** Gzipped bytes of the code in a package, by file. */
async function codeBytes(folder) {
  const files = (await readdir(folder, { recursive: true })).filter((name) => /\.(js|wasm)$/.test(name)).sort();
  return Promise.all(files.map(async (name) => [name, gzipSync(await readFile(join(folder, name)), { level: 9 }).length]));
}

const server = await startServer({
  roots: { '/pkg/': join(root, 'pkg'), '/before/': resolve(values.before), '/model/': dirname(model) },
  files: { '/bare.html': BARE_PAGE },
  isolated: true,
});
const starts = { before: [], now: [] };
for (let index = 0; index < Number(values.starts); index += 1) {
  for (const name of index % 2 === 0 ? ['before', 'now'] : ['now', 'before']) {
    const { value } = await runBare(server, measureStart, { entry: PACKAGES[name], model: options.model, loading: options.loading });
    starts[name].push(value);
    console.log(`${name}: first token after ${(value / 1000).toFixed(2)} s`);
  }
}
const { value: rows } = await runBare(server, measureRounds, options, { timeoutMs: 3_600_000 });
await server.close();

const best = { start: Math.min, prefill: Math.max, decode: Math.max, embed: Math.min };
const figures = (name) => ({ start: starts[name], ...rows[name] });
const [before, now] = [figures('before'), figures('now')];
const units = { start: 'cold start, ms', prefill: `prefill of ${values.prompt}, tokens/s`, decode: 'decode, tokens/s', embed: `embedding of ${values.embed} tokens, ms` };
const isTime = (key) => best[key] === Math.min;
const shown = (key, value) => value.toFixed(isTime(key) ? 0 : 2);
const better = (key, was, is) => (isTime(key) ? was / is : is / was).toFixed(2);
console.log(`\n${basename(model)}, ${values.threads} thread(s), medians of ${values.rounds} rounds and ${values.starts} starts, and the best\n`);
console.log(table(
  ['', 'before', 'now', 'now better by', 'best before', 'best now', 'better by'],
  Object.keys(units).filter((key) => now[key].length > 0).map((key) => {
    const [was, is] = [median(before[key]), median(now[key])];
    const [bestWas, bestIs] = [best[key](...before[key]), best[key](...now[key])];
    return [units[key], shown(key, was), shown(key, is), better(key, was, is), shown(key, bestWas), shown(key, bestIs), better(key, bestWas, bestIs)];
  }),
));
for (const [name, folder] of [['before', resolve(values.before)], ['now', join(root, 'pkg')]]) {
  const files = await codeBytes(folder);
  console.log(`\n${name}: ${files.map(([file, bytes]) => `${file} ${(bytes / 1000).toFixed(1)}`).join(', ')} KB gzipped`);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ options, before, now }, null, 2)}\n`);
