// Logits of the reference models in the browser, in both builds, against those of the reference.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStage, root, sharedData, skipWithoutData } from './support.mjs';

const tolerances = JSON.parse(readFileSync(join(root, 'tests/tolerances.json'), 'utf8'));
const BUILDS = ['chord-simd', 'chord-relaxed', 'chord-memory64'];
/** Taken in a 64-bit memory before anything else, so that weights lie where 32-bit addresses do not reach. */
const BEYOND = 4.5 * 2 ** 30;

const stage = await openStage();

function models(folder) {
  if (!sharedData) return [];
  return readdirSync(join(sharedData, folder))
    .filter((name) => name.endsWith('.gguf'))
    .map((name) => `${folder}/${name.slice(0, -'.gguf'.length)}`);
}

/** Runs in the page: the error of the model's logits, or what it was refused with. */
async function compare({ build, model, taken }) {
  const module = await import(`/selftest/${build}.js`);
  await module.default({ module_or_path: `/selftest/${build}.wasm` });
  if (taken > 0 && !module.takeMemory(taken)) throw new Error('the browser refuses that much memory');
  const bytes = async (path) => (await fetch(path)).arrayBuffer();
  const file = new Uint8Array(await bytes(`/data/${model}.gguf`));
  const { tokens } = await (await fetch(`/data/${model}.json`)).json();
  const expected = new Float32Array(await bytes(`/data/${model}.logits.f32`));
  let engine;
  try {
    const reader = new module.HeaderReader(file.length);
    reader.feed(file);
    engine = reader.open('{}');
  } catch (error) {
    return { refused: { code: error.code, message: error.message } };
  }
  for (let range = engine.want(); range; range = engine.want()) {
    const [part, offset, length] = range;
    engine.supply(part, offset, file.subarray(offset, offset + length));
  }
  const actual = engine.logits(Uint32Array.from(tokens));
  engine.free();
  let error = 0;
  let scale = 0;
  for (let index = 0; index < expected.length; index++) {
    error += (expected[index] - actual[index]) ** 2;
    scale += expected[index] ** 2;
  }
  return { count: actual.length, expectedCount: expected.length, nmse: error / scale };
}

function check(model, limit) {
  for (const build of BUILDS) {
    test(`${model} in ${build}`, (context) =>
      stage.visit({}, async (page) => {
        const result = await page.evaluate(compare, { build, model, taken: build === 'chord-memory64' ? BEYOND : 0 });
        assert.equal(result.refused, undefined);
        assert.equal(result.count, result.expectedCount);
        context.diagnostic(`${model} in ${build}: NMSE ${result.nmse.toExponential(2)}, limit ${limit.toExponential(1)}`);
        // Written so that NaN fails too.
        assert.ok(result.nmse <= limit, `NMSE ${result.nmse} is over ${limit}`);
      }));
  }
}

test('reference logits', { skip: skipWithoutData }, () => {
  assert.ok(models('arch').length >= 6 && models('quant').length > 0 && models('real').length > 0);
});

for (const model of [...models('real'), ...models('arch')]) check(model, tolerances.f32);

for (const model of models('quant')) check(model, tolerances[model.slice('quant/'.length)]);
