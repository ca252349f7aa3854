// Every vector kernel against its scalar twin, where the vectors really run: in the browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStage } from './support.mjs';

const stage = await openStage();

for (const [build, simd] of [['chord-simd', 'simd128'], ['chord-relaxed', 'relaxed']]) {
  test(`${build}: vector kernels equal their scalar twins`, () =>
    stage.visit({}, async (page) => {
      const result = await page.evaluate(async (build) => {
        const module = await import(`/selftest/${build}.js`);
        await module.default({ module_or_path: `/selftest/${build}.wasm` });
        return { simd: module.simd(), failures: JSON.parse(module.kernelSelftest()) };
      }, build);
      assert.equal(result.simd, simd);
      assert.deepEqual(result.failures, []);
    }));
}
