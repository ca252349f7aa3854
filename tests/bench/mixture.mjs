/**
 * What a mixture of experts reaches under a memory ceiling, from the store, beside the same one wholly in memory:
 *
 *     cargo xtask bench mixture [--share 25] [--warm 256] [--tokens 256] [--rounds 3] [--model model.gguf]
 *
 * The models are generated: 8 of 128 experts, some of them favoured as those of trained models are, and all alike. The
 * ceiling is `share` percent of the file. `warm` tokens are written before `tokens` are measured, all of them drawn at
 * random with the same seed. One thread computes in either case: under a ceiling there are no others. Times are those that
 * the tab's processes computed, so that another program on the machine disturbs them less; the wall's stand beside them.
 */

import { statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { BARE_PAGE, newProfile, runBare } from './lib/bare.mjs';
import { table } from './lib/report.mjs';

const { values } = parseArgs({
  options: {
    share: { type: 'string', default: '25' },
    warm: { type: 'string', default: '256' },
    tokens: { type: 'string', default: '256' },
    rounds: { type: 'string', default: '3' },
    model: { type: 'string', multiple: true },
  },
});
const [share, warm, tokens, rounds] = [values.share, values.warm, values.tokens, values.rounds].map(Number);
const models = (values.model ?? ['skewed', 'uniform'].map((name) => join(root, 'target/mixtures', `${name}.gguf`))).map((path) => resolve(path));

/** Runs in the page. */
async function measure({ model, ceiling, warm, tokens }) {
  const { createEngine } = await import('/pkg/index.js');
  const engine = await createEngine({ model, store: 'opfs', device: 'cpu', threads: 1, contextLength: warm + tokens + 128, ...(ceiling ? { maxResidentBytes: ceiling } : {}) });
  await engine.loaded;
  const prompt = Array.from({ length: 64 }, (_, index) => 3 + (index * 37) % 256);
  const draws = { temperature: 2, top_k: 0, top_p: 1, min_p: 0, seed: 1, ignore_eos: true, logprobs: 0 };
  const stream = await engine.completions.create({ prompt, max_tokens: warm + tokens, stream: true, ...draws });
  const ids = [];
  let begun;
  for await (const chunk of stream) {
    ids.push(...(chunk.choices[0]?.logprobs?.token_ids ?? []));
    if (begun === undefined && ids.length >= warm) {
      await mark();
      begun = { count: ids.length, experts: (await engine.stats()).experts, ms: performance.now() };
    }
  }
  const ms = performance.now() - begun.ms;
  await mark();
  const { experts, memory, layers } = await engine.stats();
  await engine.dispose();
  const [hits, reads] = ['hits', 'reads'].map((name) => (experts ? experts[name] - begun.experts[name] : 0));
  return { ids, measured: ids.length - begun.count, ms, hits, reads, experts, memory, layers };
}

const rows = [];
for (const path of models) {
  const bytes = statSync(path).size;
  const server = await startServer({ roots: { '/pkg/': join(root, 'pkg'), '/model/': dirname(path) }, files: { '/bare.html': BARE_PAGE } });
  const profile = await newProfile();
  const options = { model: `/model/${basename(path)}`, warm, tokens };
  try {
    // The first visit brings the model into the store.
    await runBare(server, measure, { ...options, warm: 1, tokens: 2 }, { profile });
    for (let round = 1; round <= rounds; round += 1) {
      const speeds = {};
      let truth;
      for (const ceiling of [undefined, Math.floor((bytes * share) / 100)]) {
        const { value, marks } = await runBare(server, measure, { ...options, ceiling }, { profile, timeoutMs: 1_800_000 });
        truth ??= value.ids;
        const wall = (value.measured * 1000) / value.ms;
        speeds[ceiling ? 'under' : 'whole'] = { wall, computed: value.measured / (marks[1] - marks[0]), value };
      }
      const { whole, under } = speeds;
      const { hits, reads, experts, memory } = under.value;
      rows.push([
        basename(path, '.gguf'), (bytes / 1e6).toFixed(0), (memory.budgetBytes / 1e6).toFixed(0), `${(experts.cacheBytes / 1e6).toFixed(0)} of ${(experts.bytes / 1e6).toFixed(0)}`,
        `${((100 * hits) / (hits + reads)).toFixed(1)} %`,
        whole.wall.toFixed(1), under.wall.toFixed(1), (under.wall / whole.wall).toFixed(2), (under.computed / whole.computed).toFixed(2),
        truth.every((id, index) => id === under.value.ids[index]) && truth.length === under.value.ids.length ? 'identical' : 'DIFFER',
      ]);
      console.log(rows.at(-1).join('  '));
    }
  } finally {
    await server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}
console.log(table(['experts', 'file, MB', 'ceiling, MB', 'experts in memory, MB', 'found there', 'tokens/s, all in memory', 'under the ceiling', 'ratio', 'ratio by time computed', 'tokens'], rows));
