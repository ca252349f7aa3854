// The WebGPU build in the browser, on SwiftShader: logits against the reference, and the package's ways to
// and from the GPU. What it computes on here is the CPU, so only results and counts mean anything.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { withChord } from './engine-page.mjs';
import { gpuTest as test, openStage, root, sharedData, skipWithoutData } from './support.mjs';

/** Error of f32 activations at most. */
const NMSE_MAX = 1e-5;
const MODEL = '/models/chord-tiny.gguf';
const withoutModel = !existsSync(join(root, 'models/chord-tiny.gguf')) && 'no bundled model';

const bundle = await build({
  entryPoints: [join(root, 'www/demo/main.ts')], bundle: true, format: 'esm', target: 'es2022', external: ['/pkg/*'], write: false,
});
const stage = await openStage({
  gpu: true, roots: { '/': join(root, 'www/demo') }, files: { '/main.js': bundle.outputFiles[0].contents }, isolated: true,
});
/** What Chromium says of a software adapter. */
const allow = [/software|fallback|WebGPU/i];

function models(folder) {
  if (!sharedData) return [];
  const unsupported = /^(iq3_s|tq[12]_0)/;
  return readdirSync(join(sharedData, folder))
    .filter((name) => name.endsWith('.gguf') && !unsupported.test(name))
    .map((name) => `${folder}/${name.slice(0, -'.gguf'.length)}`);
}

/** Runs in the page: the errors of the models' logits. */
async function compare({ models, arithmetic, subgroups = false }) {
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
    const { tokens } = await (await fetch(`/data/${model}.json`)).json();
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
    engine.beginLogits(Uint32Array.from(tokens));
    let actual;
    for (;;) {
      const woken = new Promise((resolve) => { wake = resolve; });
      actual = engine.stepLogits();
      if (actual) break;
      // A group of a prompt wakes nobody: its successor can be sent at once.
      await Promise.race([woken, new Promise((resolve) => { setTimeout(resolve, 2); })]);
    }
    const { device: name, gpu } = JSON.parse(engine.stats());
    engine.free();
    let error = 0;
    let scale = 0;
    for (let index = 0; index < expected.length; index++) {
      error += (expected[index] - actual[index]) ** 2;
      scale += expected[index] ** 2;
    }
    results.push({ model, name, arithmetic: gpu.arithmetic, subgroups: gpu.subgroups, disabled: gpu.disabledKernels, count: actual.length, expectedCount: expected.length, nmse: error / scale });
  }
  return results;
}

for (const folder of ['real', 'arch', 'quant']) {
  test(`logits of ${folder}/`, { skip: skipWithoutData }, (context) =>
    stage.visit({ allow }, async (page) => {
      const results = await page.evaluate(compare, { models: models(folder) });
      assert.ok(results.length >= { real: 1, arch: 6, quant: 16 }[folder]);
      for (const { model, name, count, expectedCount, nmse } of results) {
        context.diagnostic(`${model}: NMSE ${nmse.toExponential(2)}`);
        assert.equal(name, 'webgpu', model);
        assert.equal(count, expectedCount, model);
        assert.ok(nmse <= NMSE_MAX, `${model}: NMSE ${nmse} is over ${NMSE_MAX}`);
      }
    }));
}

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

test('logits with subgroups, which SwiftShader has though wgpu does not know it', { skip: skipWithoutData }, (context) =>
  stage.visit({ allow }, async (page) => {
    const some = [...models('arch'), ...models('quant')].filter((model) => /gemma3|llama-moe|\/f16|q6_k/.test(model));
    for (const { model, subgroups, disabled, nmse } of await page.evaluate(compare, { models: some, subgroups: true })) {
      context.diagnostic(`${model}: NMSE ${nmse.toExponential(2)}`);
      assert.deepEqual([subgroups, disabled], [true, []], model);
      assert.ok(nmse <= NMSE_MAX, `${model}: NMSE ${nmse} is over ${NMSE_MAX}`);
    }
  }));

/** Runs in the page: an answer on a device, and what it cost. */
async function answer({ model, device, prompt = 'The capital of France', max_tokens = 12 }) {
  const engine = await window.chord.open({ model, device, store: 'none' });
  try {
    const { choices } = await engine.completions.create({ prompt, max_tokens, temperature: 0, ignore_eos: max_tokens > 12 });
    return { text: choices[0].text, stats: await engine.stats() };
  } finally {
    await engine.dispose();
  }
}

test('the same text on both devices, with one submit and a few bytes a token', { skip: withoutModel }, () =>
  withChord(stage, async (page) => {
    const onGpu = await page.evaluate(answer, { model: MODEL, device: 'webgpu' });
    const onCpu = await page.evaluate(answer, { model: MODEL, device: 'cpu' });
    assert.equal(onGpu.text, onCpu.text);
    assert.deepEqual([onGpu.stats.device, onCpu.stats.device], ['webgpu', 'cpu']);
    const { gpu, memory, adapter } = onGpu.stats;
    assert.equal(gpu.submitsPerToken, 1);
    assert.ok(gpu.readbackBytesPerToken <= 64);
    assert.deepEqual(gpu.disabledKernels, []);
    assert.ok(memory.gpuBytes > 0 && typeof adapter === 'string');
    assert.equal(onCpu.stats.gpu, undefined);
    const plan = await page.evaluate(({ model, device }) => window.chord.plan(model, { device }), { model: MODEL, device: 'webgpu' });
    assert.deepEqual([plan.device, plan.deviceReason, plan.budgetBytes], ['webgpu', undefined, memory.budgetBytes]);
  }, { allow }));

test('greedy text of a trained model', { skip: skipWithoutData }, () =>
  withChord(stage, async (page) => {
    const model = 'real/stories260k';
    const { greedy_text: expected } = JSON.parse(readFileSync(join(sharedData, `${model}.json`), 'utf8'));
    const given = { model: `/data/${model}.gguf`, device: 'webgpu', prompt: 'Once upon a time', max_tokens: 120 };
    const { text, stats } = await page.evaluate(answer, given);
    assert.equal(text, expected);
    assert.equal(stats.device, 'webgpu');
    // SwiftShader has subgroups, though wgpu does not know it.
    assert.deepEqual([stats.gpu.subgroups, stats.gpu.disabledKernels], [true, []]);
  }, { allow }));

test('the demo answers on the GPU where its address asks for that', { skip: withoutModel }, () =>
  stage.visit({ path: '/?device=webgpu', allow }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.fill('#question', 'What is the capital of France?');
    await page.press('#question', 'Enter');
    await page.waitForFunction(() => document.querySelector('#conversation .turn:last-child')?.getAttribute('aria-busy') === 'false');
    assert.match(await page.locator('#conversation .turn').last().innerText(), /Paris/);
    await page.waitForFunction(() => /WebGPU/.test(document.querySelector('#figure-list').textContent));
  }));

test('auto does not take an adapter that computes on the CPU', { skip: withoutModel }, () =>
  withChord(stage, async (page) => {
    const { stats } = await page.evaluate(answer, { model: MODEL, device: 'auto' });
    assert.equal(stats.device, 'cpu');
    const plan = await page.evaluate((model) => window.chord.plan(model), MODEL);
    assert.equal(plan.device, 'cpu');
    assert.match(plan.deviceReason, /computes on the CPU/);
  }, { allow }));
