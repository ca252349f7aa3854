/**
 * What streaming, the store and the memory ceiling cost and give, on one file:
 *
 *     cargo xtask bench stream --model model.gguf [--context 512] [--tokens 24] [--rates 20,50,100]
 *                              [--ceilings 100,75,50,25] [--bare-rates 100 [--bare-tokens 48]] [--plot target/stream.svg] [--json target/stream.json]
 *                              [--kills 20 [--kill-rate 50]]
 *
 * Download: the time to the first token of a 64-token prompt beside the time of the download, from a
 * throttled server. Warm start: the same from the store of an earlier visit. Ceilings: speed, tokens and
 * memory when a share of the model may be in memory, from the store; the plot is tokens/s against the ceiling.
 * The tab's memory, as the system counts it, is also told less what the same page holds with the small model of
 * the demo beside that model's own bytes: the browser, the scripts and the wasm code, which no ceiling is about.
 * Kills, instead of all that: the tab's process and the whole browser are killed in turn, so often, at random
 * moments of one throttled download. For each kill the bytes are counted that had been sent, until the browser
 * closed its connections, and had to be sent again, and those of them that had been sent before it; what is stored
 * in the end must be whole.
 */

import { statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../support/browser.mjs';
import { sentAgain } from '../support/sent.mjs';
import { startServer } from '../support/server.mjs';
import { BARE_PAGE, killBare, newProfile, runBare } from './lib/bare.mjs';
import { plot } from './lib/plot.mjs';
import { table } from './lib/report.mjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    context: { type: 'string', default: '512' },
    tokens: { type: 'string', default: '24' },
    rates: { type: 'string', default: '20,50,100' },
    ceilings: { type: 'string', default: '100,75,50,25' },
    plot: { type: 'string', default: join(root, 'target/stream.svg') },
    json: { type: 'string' },
    'bare-rates': { type: 'string', default: '' },
    'bare-tokens': { type: 'string', default: '48' },
    kills: { type: 'string', default: '0' },
    'kill-rate': { type: 'string', default: '50' },
  },
});
if (!values.model) throw new Error('name a file: --model PATH');
const model = resolve(values.model);
const bytes = statSync(model).size;
const numbers = (list) => list.split(',').filter(Boolean).map(Number);

/** 64 tokens that every vocabulary has. */
const prompt = Array.from({ length: 64 }, (_, index) => 100 + index);

/** Runs in the page. Times in milliseconds from the call that creates the engine. */
async function measure({ model, prompt, tokens, context, store, ceiling, wait, guesses }) {
  const { createEngine } = await import('/pkg/index.js');
  const start = performance.now();
  const startedAt = Date.now();
  const engine = await createEngine({ model, store, device: 'cpu', contextLength: context, ...(ceiling ? { maxResidentBytes: ceiling } : {}) });
  const times = [];
  const ids = [];
  let early;
  let timings;
  const stream = await engine.completions.create({ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, logprobs: 0, stream: true, ...(guesses === undefined ? {} : { draft_max: guesses }) });
  for await (const chunk of stream) {
    times.push(performance.now() - start);
    ids.push(...(chunk.choices[0]?.logprobs?.token_ids ?? []));
    timings = chunk.timings ?? timings;
    // What the first tokens cost is left out of the counters.
    if (times.length === 3) early = (await engine.stats()).layers;
  }
  // What is written to the store behind the computation must be there for the next visit.
  if (wait) await new Promise((done) => setTimeout(done, wait));
  const stats = await engine.stats();
  await engine.dispose();
  const { hits, syncLoads } = stats.layers;
  const steady = early && { hits: hits - early.hits, waits: syncLoads - early.syncLoads };
  return { times, ids, startedAt, stats, steady, timings };
}

const roots = { '/pkg/': join(root, 'pkg'), '/models/': join(root, 'models'), '/model/': dirname(model) };
const options = { model: `/model/${basename(model)}`, prompt, tokens: Number(values.tokens), context: Number(values.context) };
const results = { model: basename(model), bytes, download: [], warm: undefined, ceilings: [] };
const seconds = (ms) => (ms / 1000).toFixed(2);
const decodeSpeed = ({ times }) => ((times.length - 2) * 1000) / (times.at(-1) - times[1]);

async function withServer(settings, run) {
  const server = await startServer({ roots, files: { '/bare.html': BARE_PAGE }, ...settings });
  try {
    return await run(server);
  } finally {
    await server.close();
  }
}

/** Pages of 4 MiB, and ranges that are fetched at a time. */
const PAGE_BYTES = 4 * 2 ** 20;
const STREAMS = 4;
/** It is killed then, however little has come. */
const KILL_MS_MAX = 30_000;

/** Runs in the page: fetches the model, then verifies what is stored. */
async function fetchAll({ model }) {
  const { createEngine, modelStore } = await import('/pkg/index.js');
  const engine = await createEngine({ model, device: 'cpu', contextLength: 512 });
  await engine.loaded;
  await engine.dispose();
  return { verified: await modelStore.verify(model), stored: await modelStore.list() };
}

/** Kills the tab or the browser `kills` times in the course of one download. */
async function killed(kills, rate) {
  await withServer({ bytesPerSecond: rate }, async (server) => {
    const profile = await newProfile();
    const answers = () => server.log.filter(({ path, method }) => path === options.model && method === 'GET');
    const sent = () => answers().reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    const pause = (ms) => new Promise((done) => setTimeout(done, ms));
    const visits = [];
    const atKill = [];
    for (let kill = 1; kill <= kills; kill += 1) {
      const [before, first] = [sent(), answers().length];
      // Random moments of the download, whatever it takes to start a browser: all together nearly all of it.
      const share = (Math.random() * 2 * 0.9 * bytes) / kills;
      const until = (async () => {
        const startMs = performance.now();
        while (sent() - before < share && performance.now() - startMs < KILL_MS_MAX) await pause(5);
      })();
      const victim = kill % 2 === 0 ? 'browser' : 'tab';
      const onKill = () => atKill.push(answers().slice(first).map((answer) => ({ ...answer })));
      await killBare(server, fetchAll, options, { profile, until, victim, onKill });
      while (answers().some(({ done }) => !done)) await pause(5);
      visits.push(answers().slice(first));
      console.log(`kill ${kill}, ${victim}: after ${((sent() - before) / 1e6).toFixed(1)} MB more`);
    }
    const [before, first] = [sent(), answers().length];
    const { value } = await runBare(server, fetchAll, options, { profile });
    visits.push(answers().slice(first));
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    const pages = sentAgain(visits).map((again) => again / PAGE_BYTES);
    const early = sentAgain(visits, atKill).map((again) => again / PAGE_BYTES);
    const mean = (list) => (list.reduce((sum, each) => sum + each, 0) / kills).toFixed(2);
    console.log(`the last visit fetched ${((sent() - before) / 1e6).toFixed(1)} MB`);
    console.log(`\npages that had to be sent again for each kill: ${pages.map((each) => each.toFixed(2)).join(', ')}`);
    console.log(`${(bytes / 1e6).toFixed(0)} MB at ${rate / 1e6} MB/s, ${kills} kills: ${mean(pages)} pages a kill, ${Math.max(...pages).toFixed(2)} at most (${STREAMS} streams), of which before the kill ${mean(early)}, ${Math.max(...early).toFixed(2)} at most; verify: ${value.verified}`);
    if (value.verified !== true || Math.max(...pages) > STREAMS) process.exitCode = 1;
  });
}

if (Number(values.kills) > 0) {
  await killed(Number(values.kills), Number(values['kill-rate']) * 1e6);
  process.exit();
}

for (const rate of numbers(values.rates)) {
  await withServer({ bytesPerSecond: rate * 1e6 }, async (server) => {
    const { value } = await runBare(server, measure, { ...options, store: 'none', tokens: 4 });
    // When the server had sent the last byte of the model.
    const sentAt = Math.max(...server.log.filter(({ path }) => path === options.model).map(({ endedAt }) => endedAt));
    const download = sentAt - value.startedAt;
    results.download.push({ rate, firstToken: value.times[0], download });
    console.log(`${rate} MB/s: first token after ${seconds(value.times[0])} s, downloaded after ${seconds(download)} s`);
  });
}

await withServer({}, async (server) => {
  const profile = await newProfile();
  const cold = await runBare(server, measure, { ...options, store: 'opfs', wait: 5000 }, { profile });
  const requests = server.log.filter(({ path }) => path.startsWith('/model/')).length;
  const warm = await runBare(server, measure, { ...options, store: 'opfs' }, { profile });
  const again = server.log.filter(({ path }) => path.startsWith('/model/')).length - requests;
  results.warm = { cold: cold.value.times[0], firstToken: warm.value.times[0], requests: again, storeBytes: warm.value.stats.source.storeBytes };
  console.log(`warm start: first token after ${seconds(warm.value.times[0])} s (cold ${seconds(cold.value.times[0])} s), ${again} requests`);
  const small = await runBare(server, measure, { ...options, model: '/models/chord-tiny.gguf', store: 'opfs' }, { profile });
  results.pageBytes = small.peak.tab - small.value.stats.memory.peakResidentBytes;
  for (const percent of numbers(values.ceilings)) {
    const ceiling = percent === 100 ? undefined : Math.round((bytes * percent) / 100);
    try {
      const { value, peak } = await runBare(server, measure, { ...options, store: 'opfs', ceiling }, { profile });
      const same = JSON.stringify(value.ids) === JSON.stringify(warm.value.ids);
      const { layers, memory, source } = value.stats;
      results.ceilings.push({ percent, ceiling, speed: decodeSpeed(value), same, peakResident: memory.peakResidentBytes, tab: peak.tab, layers, source });
      console.log(`${percent} %: ${decodeSpeed(value).toFixed(2)} tokens/s, tokens ${same ? 'identical' : 'DIFFER'}`);
    } catch (error) {
      results.ceilings.push({ percent, ceiling, refused: String(error.message ?? error).split('\n')[0] });
      console.log(`${percent} %: ${error.message}`);
    }
  }
  await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
});

// Without a store, what does not fit is fetched again for every pass. LRU keeps nothing of a cycle that is
// larger than its memory, so that it fetches the whole model for each token. What guessing gains depends
// on the text, so the same is measured without.
for (const rate of numbers(values['bare-rates'])) {
  await withServer({ bytesPerSecond: rate * 1e6 }, async (server) => {
    const ceiling = Math.round(bytes / 2);
    let truth;
    for (const [guesses, tokens] of [[0, 8], [undefined, values['bare-tokens']]]) {
      const { value } = await runBare(server, measure, { ...options, store: 'none', ceiling, guesses, tokens: Number(tokens) }, { timeoutMs: 1_800_000 });
      const { layers } = value.stats;
      const speed = decodeSpeed(value);
      const { hits, waits } = value.steady;
      truth ??= value.ids;
      const same = truth.every((id, index) => id === value.ids[index]) ? 'identical' : 'DIFFER';
      const { draft_n: drafted, draft_n_accepted: accepted } = value.timings;
      console.log(`50 % without a store at ${rate} MB/s${guesses === 0 ? ', nothing guessed' : ''}: ${speed.toFixed(3)} tokens/s, ${(speed / ((rate * 1e6) / bytes)).toFixed(2)} × LRU's best; tokens ${same}; ${accepted} of ${drafted} guesses right in ${value.ids.length} tokens; ${layers.pinned} + ${layers.ring} of ${layers.total} layers; in steady state ${hits} visits found their group, ${waits} waited: ${(waits / (value.ids.length - 3)).toFixed(1)} a token`);
    }
  });
}

console.log(`\n${results.model}, ${(bytes / 1e6).toFixed(0)} MB, a prompt of ${prompt.length} tokens\n`);
console.log(table(['server, MB/s', 'download, s', 'first token, s', 'ratio'], results.download.map((r) => [String(r.rate), seconds(r.download), seconds(r.firstToken), (r.firstToken / r.download).toFixed(3)])));
console.log('');
console.log(`the page itself holds ${(results.pageBytes / 1e6).toFixed(0)} MB\n`);
const full = results.ceilings.find(({ percent }) => percent === 100)?.speed;
console.log(
  table(
    ['ceiling, %', 'tokens/s', 'of resident', 'tokens', 'own count / ceiling', 'peak of the tab, MB', 'less the page', '÷ ceiling', 'pinned + ring of layers', 'hits', 'from disk', 'waits'],
    results.ceilings.map((r) =>
      r.refused
        ? [String(r.percent), r.refused, ...Array(10).fill('')]
        : [
            String(r.percent),
            r.speed.toFixed(2),
            full ? (r.speed / full).toFixed(2) : '',
            r.same ? 'identical' : 'DIFFER',
            r.ceiling ? (r.peakResident / r.ceiling).toFixed(3) : '',
            (r.tab / 1e6).toFixed(0),
            ((r.tab - results.pageBytes) / 1e6).toFixed(0),
            r.ceiling ? ((r.tab - results.pageBytes) / r.ceiling).toFixed(3) : '',
            `${r.layers.pinned} + ${r.layers.ring} of ${r.layers.total}`,
            String(r.layers.hits),
            String(r.layers.direct),
            String(r.layers.syncLoads),
          ],
    ),
  ),
);
const drawn = results.ceilings.filter((r) => r.speed);
writeFileSync(values.plot, plot({ title: `${results.model}: tokens/s against the memory ceiling`, x: 'share of the model in memory, %', y: 'tokens/s', points: drawn.map((r) => [r.percent, r.speed]) }));
console.log(`\nplot: ${values.plot}`);
if (values.json) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
