// Logits of the WebGPU build in the browser against the reference data: what the specs of the GPU share. SwiftShader
// takes minutes to compile the kernels of all formats, so that these specs are files that run beside each other.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gpuTest, sharedData, skipWithoutData } from './support.mjs';

/** Error of f32 activations at most. */
export const NMSE_MAX = 1e-5;
/** What Chromium says of a software adapter. */
export const allow = [/software|fallback|WebGPU/i];

/** The reference models of a folder. */
export function models(folder) {
  if (!sharedData) return [];
  return readdirSync(join(sharedData, folder))
    .filter((name) => name.endsWith('.gguf'))
    .map((name) => `${folder}/${name.slice(0, -'.gguf'.length)}`);
}

/** Runs in the page: the errors of the models' logits, and the likeliest token of each row. */
export async function compare({ models, arithmetic, subgroups = false, follow = false }) {
  if (subgroups) {
    // As the engine worker does.
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = function (given) {
      return requestDevice.call(this, { ...given, requiredFeatures: [...given.requiredFeatures ?? [], 'subgroups'] });
    };
  }
  const module = await import('/selftest/chord-gpu.js');
  await module.default({ module_or_path: '/selftest/chord-gpu.wasm' });
  const bytes = async (path) => (await fetch(path)).arrayBuffer();
  const results = [];
  for (const model of models) {
    const device = await module.GpuDevice.open(true, arithmetic, subgroups);
    if (!device) return undefined;
    const file = new Uint8Array(await bytes(`/data/${model}.gguf`));
    const { tokens, greedy } = await (await fetch(`/data/${model}.json`)).json();
    const expected = new Float32Array(await bytes(`/data/${model}.logits.f32`));
    const reader = new module.HeaderReader(file.length);
    reader.feed(file);
    const engine = reader.openOn(device, '{}');
    for (let range = engine.want(); range; range = engine.want()) {
      const [part, offset, length] = range;
      engine.supply(part, offset, file.subarray(offset, offset + length));
    }
    let wake;
    engine.setWake(() => wake?.());
    const all = follow ? [...tokens, ...greedy.slice(0, -1)] : tokens;
    engine.beginLogits(Uint32Array.from(all));
    let logits;
    for (;;) {
      const woken = new Promise((resolve) => { wake = resolve; });
      logits = engine.stepLogits();
      if (logits) break;
      // A group of a prompt wakes nobody: its successor can be sent at once.
      await Promise.race([woken, new Promise((resolve) => { setTimeout(resolve, 2); })]);
    }
    const { device: name, gpu } = JSON.parse(engine.stats());
    engine.free();
    const width = logits.length / all.length;
    const actual = logits.subarray(0, tokens.length * width);
    const likeliest = all.map((_, row) => logits.subarray(row * width, (row + 1) * width).reduce(
      (best, value, token, values) => (value > values[best] ? token : best), 0));
    let error = 0;
    let scale = 0;
    for (let index = 0; index < expected.length; index++) {
      error += (expected[index] - actual[index]) ** 2;
      scale += expected[index] ** 2;
    }
    results.push({ model, name, arithmetic: gpu?.arithmetic, subgroups: gpu?.subgroups, disabled: gpu?.disabledKernels, count: actual.length, expectedCount: expected.length, nmse: error / scale, followed: likeliest.slice(tokens.length - 1) });
  }
  return results;
}

/** A test of the logits of a folder's models, which are at least so many. */
export function logitsTest(stage, folder, least) {
  gpuTest(`logits of ${folder}/`, { skip: skipWithoutData }, (context) =>
    stage.visit({ allow }, async (page) => {
      const results = await page.evaluate(compare, { models: models(folder) });
      assert.ok(results.length >= least);
      for (const { model, name, count, expectedCount, nmse } of results) {
        context.diagnostic(`${model}: NMSE ${nmse.toExponential(2)}`);
        assert.equal(name, 'webgpu', model);
        assert.equal(count, expectedCount, model);
        assert.ok(nmse <= NMSE_MAX, `${model}: NMSE ${nmse} is over ${NMSE_MAX}`);
      }
    }));
}
