// WebGPU in the browser where memory is short: the device's own, or what the caller leaves it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { gpuTest as test, openStage, root } from './support.mjs';

const WORKER = '/pkg/engine-worker.js';
const LAYERS = 8;
const MODEL = '/layers.gguf';
/** So large that the CPU needs less from disk than a ring. */
const WIDE = '/wide.gguf';

const stage = await openStage({
  gpu: true,
  files: { [MODEL]: tinyModel({ layers: LAYERS, width: 256, feedForward: 512 }), [WIDE]: tinyModel({ layers: 4, width: 256, feedForward: 1024 }) },
});
/** What Chromium says of a software adapter, and of what is done with a buffer that could not be made. */
const allow = [/software|fallback|WebGPU|GPUDevice|buffer/i];

/** Buffers of weights take `most` bytes at most: another is unusable, and told as one that there is no memory for. */
const memoryEnds = (most) => `{
  const { createBuffer, popErrorScope } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  const sizes = new WeakMap();
  let held = 0;
  let isRefused = false;
  GPUDevice.prototype.createBuffer = function (given) {
    if (given.label !== 'weights') return createBuffer.call(this, given);
    isRefused = held + given.size > ${most};
    if (isRefused) this.pushErrorScope('validation');
    const buffer = createBuffer.call(this, isRefused ? { ...given, size: 2 ** 50 } : given);
    if (isRefused) void popErrorScope.call(this);
    held += given.size;
    sizes.set(buffer, given.size);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    held -= sizes.get(this) ?? 0;
    sizes.delete(this);
    destroy.call(this);
  };
  GPUDevice.prototype.popErrorScope = function () {
    const popped = popErrorScope.call(this);
    if (!isRefused) return popped;
    isRefused = false;
    return popped.then(() => new GPUOutOfMemoryError('no memory is left'));
  };
}`;

/** The adapter is taken for one that is not software. */
const hardware = `
  Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });
  Object.defineProperty(GPUAdapterInfo.prototype, 'architecture', { get: () => 'other' });`;

/** Runs in the page: an answer, where it was computed, and how much of the model was there. */
async function answer(options) {
  const engine = await window.chord.open(options);
  try {
    const { choices } = await engine.completions.create({ prompt: 'A few tokens', max_tokens: 12, temperature: 0, ignore_eos: true });
    await engine.loaded;
    const { device, layers, memory } = await engine.stats();
    return { text: choices[0].text, device, layers, memory };
  } finally {
    await engine.dispose();
  }
}

/** Runs `body` with a page whose engine workers begin with a stub. */
async function withStub(stub, body) {
  const script = await readFile(join(root, WORKER), 'utf8');
  stage.server.fault(WORKER, { body: `${stub}\n${script}`, headers: { 'content-type': 'text/javascript' } });
  try {
    return await withChord(stage, body, { allow });
  } finally {
    stage.server.fault(WORKER, undefined);
  }
}

test('45 a device whose memory ends holds fewer layers, which come from the store, or leaves them to the CPU', async () => {
  const [{ weightBytes }, { text }] = await withChord(stage, async (page) => [
    await page.evaluate((model) => window.chord.plan(model, { device: 'webgpu' }), MODEL),
    await page.evaluate(answer, { model: MODEL, device: 'cpu', store: 'none' }),
  ], { allow });
  const [stored, fetched] = await withStub(memoryEnds(Math.round(weightBytes * 0.75)), async (page) => [
    await page.evaluate(answer, { model: MODEL, device: 'webgpu' }),
    await page.evaluate(answer, { model: MODEL, device: 'webgpu', store: 'none' }),
  ]);
  assert.deepEqual([stored.text, stored.device], [text, 'webgpu']);
  assert.ok(stored.layers.pinned < LAYERS && stored.layers.evictions > 0, JSON.stringify(stored));
  assert.deepEqual([fetched.text, fetched.device], [text, 'cpu']);
});

test('a ceiling that is too small for a GPU leaves the model to the CPU, unless the GPU was asked for by name', () =>
  withStub(hardware, async (page) => {
    const plan = (options) => page.evaluate(({ model, ...rest }) => window.chord.plan(model, rest), { model: WIDE, ...options });
    const onGpu = await plan({});
    assert.equal(onGpu.device, 'webgpu');
    const maxResidentBytes = (await plan({ device: 'cpu' })).leastBytes;
    assert.ok(maxResidentBytes < onGpu.leastBytes);
    const onCpu = await plan({ maxResidentBytes });
    assert.deepEqual([onCpu.device, onCpu.fits], ['cpu', true]);
    assert.match(onCpu.deviceReason, /two layers/);
    const { device, memory } = await page.evaluate(answer, { model: WIDE, maxResidentBytes });
    assert.equal(device, 'cpu');
    assert.ok(memory.peakResidentBytes <= maxResidentBytes);

    const named = await plan({ maxResidentBytes, device: 'webgpu' });
    assert.deepEqual([named.device, named.fits], ['webgpu', false]);
    const refused = await page.evaluate((options) => window.chord.outcome(options), { model: WIDE, maxResidentBytes, device: 'webgpu' });
    assert.equal(refused.code, 'BudgetTooSmall');
  }));
