/**
 * Keys and values in 8-bit integers beside those in half precision: two engines lie loaded side by side in one page and
 * take turns, at each length of the context, so that a loaded machine slows both. The best of all rounds counts.
 *
 *     cargo xtask bench kv --model model.gguf [--contexts 128,1024,4096] [--rounds 4] [--tokens 16] [--threads 1]
 *                          [--device cpu] [--json result.json]
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
    contexts: { type: 'string', default: '128,1024,4096' },
    rounds: { type: 'string', default: '4' },
    tokens: { type: 'string', default: '16' },
    threads: { type: 'string', default: '1' },
    device: { type: 'string', default: 'cpu' },
    json: { type: 'string' },
  },
});
if (!values.model) throw new Error('name a file: --model PATH');

const model = resolve(values.model);
const options = {
  model: `/model/${basename(model)}`,
  contexts: values.contexts.split(',').map(Number),
  rounds: Number(values.rounds),
  tokens: Number(values.tokens),
  threads: Number(values.threads),
  device: values.device,
};

/** Runs in the page: at each length the best speeds of either format, in tokens a second. */
async function measure({ model, contexts, rounds, tokens, threads, device }) {
  const { createEngine } = await import('/pkg/index.js');
  const longest = Math.max(...contexts) + tokens;
  const engines = [];
  for (const kvCache of ['f16', 'q8_0']) {
    const engine = await createEngine({ model, store: 'none', device, contextLength: longest, kvCache, ...device === 'cpu' ? { threads } : {} });
    await engine.loaded;
    engines.push(engine);
  }
  let seed = 1;
  const result = [];
  for (const context of contexts) {
    const best = engines.map(() => ({ prefill: 0, decode: 0 }));
    for (let round = 0; round < rounds; round += 1) {
      // Each round has a prompt that no other began like.
      const ids = Array.from({ length: context }, () => {
        seed = (seed * 48271) % 2147483647;
        return 300 + (seed % 20000) % (engines[0].model.vocabularySize - 400);
      });
      // Each is the first in every second round.
      for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
        await engines[index].completions.create({ prompt: ids, max_tokens: tokens, temperature: 0, ignore_eos: true });
        const { last } = await engines[index].stats();
        best[index].prefill = Math.max(best[index].prefill, last.prefillTokensPerSecond);
        best[index].decode = Math.max(best[index].decode, last.decodeTokensPerSecond);
      }
    }
    result.push({ context, best });
  }
  const formats = [];
  for (const engine of engines) {
    const { memory, simd } = await engine.stats();
    formats.push({ kvCache: memory.kvCache, kvBytes: memory.kvBytes, simd });
    await engine.dispose();
  }
  return { formats, result };
}

const server = await startServer({ roots: { '/pkg/': join(root, 'pkg'), '/model/': dirname(model) }, files: { '/bare.html': BARE_PAGE } });
const { value: { formats, result } } = await runBare(server, measure, options, { timeoutMs: 1_800_000 });
await server.close();

const [half, integers] = formats;
console.log(`\n${basename(model)}, ${half.simd}: ${values.tokens} tokens after a prompt, best of ${values.rounds} rounds, tokens/s`);
console.log(`${half.kvCache} takes ${half.kvBytes} bytes, ${integers.kvCache} ${integers.kvBytes}: ${(integers.kvBytes / half.kvBytes).toFixed(3)} of it\n`);
console.log(table(
  ['context', 'prefill f16', 'q8_0', 'ratio', 'decode f16', 'q8_0', 'ratio'],
  result.map(({ context, best: [a, b] }) => [
    String(context), a.prefill.toFixed(1), b.prefill.toFixed(1), (b.prefill / a.prefill).toFixed(2),
    a.decode.toFixed(2), b.decode.toFixed(2), (b.decode / a.decode).toFixed(2),
  ]),
));
if (values.json) writeFileSync(values.json, JSON.stringify({ ...options, formats, result }, undefined, 2));
