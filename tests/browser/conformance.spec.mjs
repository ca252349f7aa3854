// What every source of a model promises, by one suite that runs over each of them: addresses with ranges and without,
// files and blobs, models of several parts, and what is stored.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { POLICY, withChord } from './engine-page.mjs';
import { openStage } from './support.mjs';

const shape = { layers: 3, feedForward: 4096 };
const model = tinyModel(shape);
const parts = tinyModel({ ...shape, parts: 3 });
const partPath = (number) => `/split-0000${number}-of-00003.gguf`;
const paths = [1, 2, 3].map(partPath);

/** A model whose last bytes are missing. */
const short = model.subarray(0, model.length - 100_000);

const stage = await openStage({
  files: {
    '/model.gguf': model,
    '/streamed.gguf': model,
    '/short/model.gguf': short,
    '/short/streamed.gguf': short,
    ...Object.fromEntries(parts.map((part, index) => [partPath(index + 1), part])),
    ...Object.fromEntries(parts.map((part, index) => [`/short${partPath(index + 1)}`, index === 2 ? part.subarray(0, part.length - 100_000) : part])),
  },
});
const { server } = stage;

/** By name: the paths that it is made of, what the page makes of them, and whether bytes come from the server. */
const SOURCES = {
  'an address': { paths: ['/model.gguf'], kind: 'address', isRemote: true },
  'an address that is kept': { paths: ['/model.gguf'], kind: 'address', store: 'opfs', isRemote: true },
  'an address that was kept before': { paths: ['/model.gguf'], kind: 'kept' },
  'an address whose server ignores ranges': { paths: ['/streamed.gguf'], kind: 'address', isRemote: true, isStreamed: true },
  'the address of a part': { paths, kind: 'part', isRemote: true },
  'a list of addresses': { paths, kind: 'addresses', isRemote: true },
  'a blob': { paths: ['/model.gguf'], kind: 'blob' },
  'a file': { paths: ['/model.gguf'], kind: 'file' },
  'a list of files': { paths, kind: 'file' },
  'a blob: address': { paths: ['/model.gguf'], kind: 'blob address' },
};

/** Runs in the page: `body` with the source, as `model` takes it, and the options that belong to it. */
async function withSource({ kind, paths: given, store = 'none', prefix = '', question }) {
  const blobs = () => Promise.all(given.map(async (path) => (await fetch(prefix + path)).blob()));
  const make = {
    address: () => prefix + given[0],
    kept: () => prefix + given[0],
    part: () => prefix + given[1],
    addresses: () => given.map((path) => prefix + path),
    blob: async () => (await blobs())[0],
    file: async () => {
      const files = (await blobs()).map((blob, index) => new File([blob], given[index].slice(1)));
      return files.length === 1 ? files[0] : files;
    },
    'blob address': async () => URL.createObjectURL((await blobs())[0]),
  };
  const options = { model: await make[kind](), network: { idleMs: 700, backoffMs: 20 }, store: kind === 'kept' ? 'opfs' : store };
  if (kind === 'kept') {
    // What cannot be kept fails below once more.
    const engine = await window.chord.open(options).catch(() => undefined);
    await engine?.loaded.catch(() => {});
    await engine?.dispose();
  }
  const ask = (engine) => engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2 });
  const questions = {
    /** Tokens, facts and progress of a plain use. */
    async whole() {
      const progress = [];
      const engine = await window.chord.open({ ...options, onProgress: (event) => progress.push(event) });
      const { choices: [{ logprobs }] } = await ask(engine);
      await engine.loaded;
      const { source, memory } = await engine.stats();
      const facts = { layers: engine.model.layers, vocabulary: engine.model.vocabularySize, context: engine.model.contextLength };
      await engine.dispose();
      const numbers = progress.map(({ fraction, loadedBytes, totalBytes }) => ({ fraction, loadedBytes, totalBytes }));
      return { ids: logprobs.token_ids, logprobs: logprobs.token_logprobs, facts, source, memory, numbers, phases: progress.map(({ phase }) => phase) };
    },
    /** Tokens under half of the memory that it would take. */
    async tight() {
      const { leastBytes, weightBytes, kvBytes, scratchBytes } = await window.chord.planned(options);
      const half = Math.floor((weightBytes + kvBytes + scratchBytes) / 2);
      const engine = await window.chord.open({ ...options, maxResidentBytes: Math.max(leastBytes, half) });
      const { choices: [{ logprobs }] } = await ask(engine);
      const again = (await ask(engine)).choices[0].logprobs.token_ids;
      await engine.dispose();
      return { ids: logprobs.token_ids, again };
    },
    /** Two engines at once. */
    async twice() {
      const engines = await Promise.all([window.chord.open(options), window.chord.open(options)]);
      const answers = await Promise.all(engines.map(ask));
      await Promise.all(engines.map((engine) => engine.dispose()));
      return answers.map(({ choices: [{ logprobs }] }) => logprobs.token_ids);
    },
    /** What comes of an answer whose engine is disposed, and of one that is aborted while it opens. */
    async ended() {
      const controller = new AbortController();
      const opening = window.chord.open({ ...options, signal: controller.signal }).then((engine) => engine.dispose(), window.chord.failure);
      controller.abort();
      const aborted = await opening;
      const engine = await window.chord.open(options);
      const asked = ask(engine).catch(window.chord.failure);
      await engine.dispose();
      return { aborted: aborted?.code, disposed: (await asked).code, loaded: await engine.loaded.then(() => 'whole', (error) => error.code) };
    },
    /** The error of a source that ends before it should. */
    async broken() {
      try {
        const engine = await window.chord.open(options);
        try {
          await ask(engine);
          await engine.loaded;
        } finally {
          await engine.dispose();
        }
      } catch (error) {
        return window.chord.failure(error);
      }
      return undefined;
    },
  };
  return questions[question]();
}

/** Pages may name blobs by address only where their policy says so. */
const csp = POLICY.replace('connect-src *', 'connect-src * blob:');
const ask = (source, question, prefix) => withChord(stage, (page) => page.evaluate(withSource, { ...source, question, prefix }), { csp });

let expected;
before(async () => {
  server.fault('/streamed.gguf', { ignoreRange: true });
  server.fault('/short/streamed.gguf', { ignoreRange: true });
  expected = await ask(SOURCES['a blob'], 'whole');
});

for (const [name, source] of Object.entries(SOURCES)) {
  describe(name, () => {
    const total = source.paths.length === 1 ? model.length : parts.reduce((sum, part) => sum + part.length, 0);

    test('gives the same tokens and facts, and tells how far it is', async () => {
      const found = await ask(source, 'whole');
      assert.deepEqual([found.ids, found.logprobs, found.facts], [expected.ids, expected.logprobs, expected.facts]);
      assert.equal(found.phases.at(-1), 'ready');
      const last = found.numbers.at(-1);
      assert.deepEqual([last.fraction, last.loadedBytes, last.totalBytes], [1, total, total]);
      for (const [index, { fraction, loadedBytes }] of found.numbers.entries()) {
        assert.ok(fraction >= (found.numbers[index - 1]?.fraction ?? 0) && fraction <= 1, `${fraction} at ${index}`);
        assert.ok(loadedBytes >= 0 && loadedBytes <= total, `${loadedBytes} of ${total}`);
      }
      assert.equal(found.source.fetchedBytes > 0, source.isRemote === true, JSON.stringify(found.source));
    });

    test('gives the same tokens in half of the memory, or says that it cannot', async () => {
      if (source.isStreamed) {
        const refused = await ask(source, 'tight').catch((error) => error);
        assert.match(String(refused), /ignores range requests/);
        return;
      }
      const { ids, again } = await ask(source, 'tight');
      assert.deepEqual([ids, again], [expected.ids, expected.ids]);
    });

    test('is read by two engines at once', async () => {
      assert.deepEqual(await ask(source, 'twice'), [expected.ids, expected.ids]);
    });

    test('is let go when it is aborted or disposed', async () => {
      const { aborted, disposed, loaded } = await ask(source, 'ended');
      assert.equal(aborted, 'Aborted');
      assert.equal(disposed, 'Disposed');
      assert.ok(loaded === 'Disposed' || loaded === 'whole', loaded);
    });

    test('10 is refused when it ends early', async () => {
      const error = await ask(source, 'broken', '/short');
      assert.ok(['InvalidGguf', 'SourceChanged', 'Network', 'InvalidModel'].includes(error?.code), `${error?.code}: ${error?.message}`);
    });
  });
}
