// Every vector kernel against its scalar twin, where the vectors really run: in the browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStage } from './support.mjs';

const stage = await openStage();

/** More than 32-bit addresses reach. */
const BEYOND = 4.5 * 2 ** 30;

for (const [build, simd, taken] of [['chord-simd', 'simd128', 0], ['chord-relaxed', 'relaxed', 0], ['chord-memory64', 'relaxed', 0], ['chord-memory64', 'relaxed', BEYOND]]) {
  test(`${taken > 0 ? '51 ' : ''}${build}: vector kernels equal their scalar twins${taken > 0 ? ' above 4 GiB' : ''}`, () =>
    stage.visit({}, async (page) => {
      const result = await page.evaluate(async ([build, taken]) => {
        const module = await import(`/selftest/${build}.js`);
        await module.default({ module_or_path: `/selftest/${build}.wasm` });
        const isTaken = module.takeMemory(taken);
        return { simd: module.simd(), isTaken, failures: JSON.parse(module.kernelSelftest()) };
      }, [build, taken]);
      assert.ok(result.isTaken);
      assert.equal(result.simd, simd);
      assert.deepEqual(result.failures, []);
    }));
}
