// Every block format on the GPU with activations in 8 bits, as prompts are computed where the device multiplies those.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allow, compare, models } from './gpu-logits.mjs';
import { gpuTest as test, openStage, root, skipWithoutData } from './support.mjs';

const stage = await openStage({ gpu: true });

test('logits of quant/ with 8-bit activations are no worse than llama.cpp\'s', { skip: skipWithoutData }, (context) =>
  stage.visit({ allow }, async (page) => {
    const lines = JSON.parse(readFileSync(join(root, 'tests/tolerances.json'), 'utf8'));
    const blocks = models('quant').filter((model) => !/f(16|32)$/.test(model));
    const results = await page.evaluate(compare, { models: blocks, arithmetic: 'int8' });
    assert.ok(results.length > 0);
    for (const { model, arithmetic, nmse } of results) {
      context.diagnostic(`${model}: NMSE ${nmse.toExponential(2)}`);
      assert.equal(arithmetic, 'int8', model);
      assert.ok(nmse <= lines[model.slice('quant/'.length)], `${model}: NMSE ${nmse}`);
    }
  }));
