// Logits of the reference models in the browser, in both builds, against those of the reference.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compare } from './cpu-logits.mjs';
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
