// The WebGPU build in the browser, on SwiftShader: logits against the reference, and the package's ways to
// and from the GPU. What it computes on here is the CPU, so only results and counts mean anything.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { withChord } from './engine-page.mjs';
import { NMSE_MAX, allow, compare, logitsTest, models } from './gpu-logits.mjs';
import { gpuTest as test, openStage, root, sharedData, skipWithoutData } from './support.mjs';

const MODEL = '/models/chord-tiny.gguf';
const withoutModel = !existsSync(join(root, 'models/chord-tiny.gguf')) && 'no bundled model';

const bundle = await build({
  entryPoints: [join(root, 'www/demo/main.ts')], bundle: true, format: 'esm', target: 'es2022', external: ['/pkg/*'], write: false,
});
const stage = await openStage({
  gpu: true, roots: { '/': join(root, 'www/demo') }, files: { '/main.js': bundle.outputFiles[0].contents }, isolated: true,
});

for (const [folder, least] of [['real', 1], ['arch', 6]]) logitsTest(stage, folder, least);

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

/** Runs in the page: asks on a device, from a saved session where there is one, and saves another. */
async function visited({ model, device, prompt, restores }) {
  const engine = await window.chord.open({ model, device });
  try {
    const restored = restores ? await engine.sessions.restore('chat') : undefined;
    const { choices, usage } = await engine.completions.create({ prompt, max_tokens: 8, temperature: 0, ignore_eos: true, logprobs: 0 });
    const { tokens, token_logprobs: logprobs } = choices[0].logprobs;
    return { text: choices[0].text, tokens, logprobs, cached: usage.prompt_tokens_details.cached_tokens, restored, saved: await engine.sessions.save('chat'), device: (await engine.stats()).device };
  } finally {
    await engine.dispose();
  }
}

test('a session goes on on the other device', { skip: withoutModel }, () =>
  withChord(stage, async (page) => {
    const prompt = 'Once upon a time there was a cat';
    const truth = await page.evaluate(visited, { model: MODEL, device: 'cpu', prompt });
    const next = await page.evaluate(visited, { model: MODEL, device: 'cpu', prompt: prompt + truth.text, restores: true });
    for (const [first, second] of [['webgpu', 'cpu'], ['cpu', 'webgpu']]) {
      const begun = await page.evaluate(visited, { model: MODEL, device: first, prompt });
      const gone = await page.evaluate(visited, { model: MODEL, device: second, prompt: prompt + begun.text, restores: true });
      assert.deepEqual([begun.device, gone.device], [first, second]);
      assert.deepEqual([begun.text, gone.cached, gone.restored.tokens], [truth.text, next.cached, begun.saved.tokens]);
      // What devices compute differs in its last digits, so that where two words are as likely either may come.
      const parting = gone.tokens.findIndex((token, index) => token !== next.tokens[index]);
      const alike = parting < 0 ? gone.tokens.length : parting;
      assert.ok(alike >= 4, `"${gone.text}" is "${next.text}"`);
      for (let i = 0; i < alike; i += 1) assert.ok(Math.abs(gone.logprobs[i] - next.logprobs[i]) < 0.05, `token ${i} on ${second}: ${gone.logprobs[i]} and ${next.logprobs[i]}`);
    }
  }, { allow }));
