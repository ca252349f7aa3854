// LoRA adapters: from any source, several at once, switched by requests, on one thread and on several, and on a GPU.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { tinyAdapter, tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { gpuTest, openStage } from './support.mjs';

const MODEL = '/model.gguf';
const ONE = '/one.gguf';
const TWO = '/two.gguf';
const SIZE = { layers: 2, width: 64, feedForward: 128 };
const one = tinyAdapter({ ...SIZE, seed: 11 });
const two = tinyAdapter({ ...SIZE, seed: 12, rank: 5, alpha: 0.5 });
const merged = (...added) => tinyModel({ ...SIZE, added });

const stage = await openStage({
  gpu: true,
  files: {
    [MODEL]: tinyModel(SIZE), [ONE]: one.file, [TWO]: two.file,
    '/merged-one.gguf': merged([one.changes, 1]),
    '/merged-both.gguf': merged([one.changes, 0.5], [two.changes, 2]),
    '/wide.gguf': tinyAdapter({ ...SIZE, width: 96 }).file, '/other.gguf': tinyAdapter({ ...SIZE, architecture: 'qwen2' }).file,
  },
});

const ADAPTERS = [{ source: ONE, name: 'one' }, { source: TWO, name: 'two', scale: 0 }];
const BOTH = [{ name: 'one', scale: 0.5 }, { name: 'two', scale: 2 }];

/** What an engine of these options answers to each of these fields, one after the other. */
const answers = (page, options, requests) => page.evaluate(async ([opening, all]) => {
  const engine = await chord.open(opening);
  try {
    const given = [];
    for (const fields of all) {
      const { choices: [{ text }], usage } = await engine.completions.create({ prompt: 'the hello world of the', max_tokens: 12, temperature: 0, ignore_eos: true, ...fields });
      given.push({ text, cached: usage.prompt_tokens_details.cached_tokens });
    }
    const { device, threads } = await engine.stats();
    return { given, device, threads };
  } finally {
    await engine.dispose();
  }
}, [options, requests]);

/** What the models say whose weights the adapters were joined to. */
const truth = async (page, options = {}) => {
  const texts = [];
  for (const model of ['/merged-one.gguf', '/merged-both.gguf', MODEL]) texts.push((await answers(page, { model, ...options }, [{}])).given[0].text);
  assert.equal(new Set(texts).size, 3);
  return texts;
};

const REQUESTS = [{}, {}, { adapters: BOTH }, { adapters: [] }, { adapters: BOTH }, {}];
const check = ({ given }, [first, both, none]) => {
  assert.deepEqual(given.map(({ text }) => text), [first, first, both, none, both, first]);
  assert.deepEqual(given.map(({ cached }) => cached > 0), [false, true, false, false, false, false]);
};

describe('adapters', () => {
  for (const threads of [1, 2]) {
    for (const isolated of threads > 1 ? [false, true] : [false]) {
      test(`compute as the models that they make, and requests switch them: ${threads} threads${isolated ? ', shared memory' : ''}`, () => withChord(stage, async (page) => {
        const found = await answers(page, { model: MODEL, adapters: ADAPTERS, device: 'cpu', threads }, REQUESTS);
        assert.deepEqual([found.device, found.threads], ['cpu', threads]);
        check(found, await truth(page, { device: 'cpu' }));
      }, { isolated }));
    }
  }

  gpuTest('compute the same on a GPU', () => withChord(stage, async (page) => {
    const found = await answers(page, { model: MODEL, adapters: ADAPTERS, device: 'webgpu' }, REQUESTS);
    assert.equal(found.device, 'webgpu');
    check(found, await truth(page, { device: 'webgpu' }));
  }));

  test('come from files, too, and from the store on the next visit', () => withChord(stage, async (page) => {
    const [first] = await truth(page);
    const text = await page.evaluate(async ([model, address]) => {
      const blob = await (await fetch(address)).blob();
      const engine = await chord.open({ model, adapters: [{ source: new File([blob], 'one.gguf'), name: 'mine' }] });
      try {
        return (await engine.completions.create({ prompt: 'the hello world of the', max_tokens: 12, temperature: 0, ignore_eos: true })).choices[0].text;
      } finally {
        await engine.dispose();
      }
    }, [MODEL, ONE]);
    assert.equal(text, first);
    const visit = () => page.evaluate(async (opening) => {
      const engine = await chord.open(opening);
      await engine.loaded;
      const { source: { requests } } = await engine.stats();
      await engine.dispose();
      return requests;
    }, { model: MODEL, adapters: ADAPTERS });
    await visit();
    assert.equal(await visit(), 0, 'nothing is asked of the server');
  }));

  test('that do not fit are refused by name', () => withChord(stage, async (page) => {
    const failures = await page.evaluate(async ([model, all]) => Promise.all(all.map((adapters) => chord.open({ model, adapters }).then(() => ({ code: 'opened' }), chord.failure))), [MODEL, [
      [{ source: '/wide.gguf', name: 'it' }], [{ source: '/other.gguf', name: 'it' }], [{ source: MODEL, name: 'it' }], [{ source: '/none.gguf', name: 'it' }],
      [{ source: ONE }], [{ name: 'it' }], [{ source: ONE, name: 'it', scale: 'much' }], [{ source: ONE, name: 'it', weight: 1 }], { source: ONE, name: 'it' },
      [{ source: ONE, name: 'it' }, { source: TWO, name: 'it' }], [{ source: '/a-00001-of-00002.gguf', name: 'it' }],
    ]]);
    const [wide, other, model, none, ...rest] = failures;
    assert.deepEqual([wide.code, wide.details.tensor, wide.details.adapter], ['InvalidModel', 'blk.0.attn_q.weight.lora_a', 'it']);
    assert.deepEqual([other.code, other.details.architecture], ['InvalidModel', 'qwen2']);
    assert.deepEqual([model.code, model.details.key], ['InvalidModel', 'general.type']);
    assert.equal(none.code, 'NotFound');
    assert.deepEqual(rest.map(({ code }) => code), [...Array(6).fill('InvalidParameter'), 'InvalidSource']);
    const refused = await page.evaluate(async ([opening, all]) => {
      const engine = await chord.open(opening);
      const outcomes = await Promise.all(all.map((adapters) => engine.completions.create({ prompt: 'a', max_tokens: 1, adapters }).then(() => ({ code: 'answered' }), chord.failure)));
      await engine.dispose();
      return outcomes;
    }, [{ model: MODEL, adapters: ADAPTERS }, [[{ name: 'three' }], [{ name: 'one' }, { name: 'one' }], [{ scale: 1 }], 'one']]);
    for (const failure of refused) assert.deepEqual([failure.code, failure.details.name], ['InvalidParameter', 'adapters']);
  }));

  test('are part of a plan', () => withChord(stage, async (page) => {
    const [plain, adapted] = await page.evaluate(([model, adapters]) => Promise.all([chord.plan(model), chord.plan(model, { adapters })]), [MODEL, ADAPTERS]);
    assert.equal(adapted.downloadBytes - plain.downloadBytes, one.file.length + two.file.length);
    assert.ok(adapted.weightBytes > plain.weightBytes);
  }));
});
