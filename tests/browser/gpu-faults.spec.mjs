// WebGPU in the browser when it does not do what it should: devices that are lost, adapters that are gone, limits
// that are small, kernels that are refused or wrong. The answer is the CPU's each time. Tests are numbered by the
// faults that the package must survive.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { gpuTest as test, isFirefox, openStage, root } from './support.mjs';

const MODEL = '/tiny.gguf';
const WORKER = '/pkg/engine-worker.js';

const stage = await openStage({ gpu: true, files: { [MODEL]: tinyModel({ layers: 2 }) } });
/** What Chromium says of a software adapter, of refused shaders and of lost devices. */
const allow = [/software|fallback|WebGPU|shader|WGSL|GPUDevice|buffer/i];
let expected;

/**
 * What engine workers begin with: their newest device is lost when the page says so, at once or at the next
 * submission, and the page hears of each that is opened. Then comes what else is wrong.
 */
const stub = (wrong) => `{
  const channel = new BroadcastChannel('gpu');
  const devices = [];
  let isArmed = false;
  channel.onmessage = ({ data }) => {
    if (data === 'now') devices.at(-1).destroy();
    else isArmed = true;
  };
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await requestDevice.apply(this, given);
    devices.push(device);
    channel.postMessage('opened');
    return device;
  };
  const { submit } = GPUQueue.prototype;
  GPUQueue.prototype.submit = function (...given) {
    if (isArmed) devices.at(-1).destroy();
    isArmed = false;
    return submit.apply(this, given);
  };
  ${wrong}
}`;

/** Runs in the page: answers, during each of which the device may be lost, and what is known afterwards. */
async function answer({ model, device, losses }) {
  const channel = new BroadcastChannel('gpu');
  let opened = 0;
  channel.onmessage = () => { opened += 1; };
  const engine = await window.chord.open({ model, device, store: 'none' });
  try {
    const answers = [];
    for (const loss of losses) {
      if (loss === 'prompt') channel.postMessage('at the next submission');
      let text = '';
      let chunks = 0;
      const body = { prompt: 'A prompt that is longer than a few tokens', max_tokens: 48, temperature: 0, ignore_eos: true, stream: true };
      for await (const chunk of await engine.completions.create(body)) {
        text += chunk.choices[0]?.text ?? '';
        chunks += 1;
        if (chunks === 3 && loss === 'answer') channel.postMessage('now');
      }
      const stats = await engine.stats();
      answers.push({ text, opened, device: stats.device, subgroups: stats.gpu?.subgroups, disabled: stats.gpu?.disabledKernels });
    }
    return answers;
  } finally {
    await engine.dispose();
  }
}

/** The same with a stub in the engine worker. */
async function answers(wrong, losses) {
  const script = await readFile(join(root, WORKER), 'utf8');
  stage.server.fault(WORKER, [{ body: `${stub(wrong)}\n${script}`, headers: { 'content-type': 'text/javascript' } }]);
  try {
    const result = await withChord(stage, (page) => page.evaluate(answer, { model: MODEL, device: 'webgpu', losses }), { allow });
    for (const { text } of result) assert.equal(text, expected);
    return result.map(({ text, ...rest }) => rest);
  } finally {
    stage.server.fault(WORKER, undefined);
  }
}

before(async () => {
  if (isFirefox) return;
  const [{ text }] = await withChord(stage, (page) => page.evaluate(answer, { model: MODEL, device: 'cpu', losses: ['none'] }));
  assert.ok(text.length > 10);
  expected = text;
});

test('43 and 44 a device that is lost in a prompt goes over to the CPU where no other can be had', async () => {
  const noOther = `
    const { requestAdapter } = GPU.prototype;
    GPU.prototype.requestAdapter = function (...given) {
      return devices.length > 0 ? Promise.resolve(null) : requestAdapter.apply(this, given);
    };`;
  assert.deepEqual(await answers(noOther, ['none', 'prompt']), [
    { opened: 1, device: 'webgpu', subgroups: true, disabled: [] },
    { opened: 1, device: 'cpu', subgroups: undefined, disabled: undefined },
  ]);
});

test('an adapter is asked for twice while a model is opened: once to know it, and once for its device', async () => {
  const noThird = `
    const { requestAdapter } = GPU.prototype;
    let asks = 0;
    GPU.prototype.requestAdapter = function (...given) {
      asks += 1;
      return asks > 2 ? Promise.resolve(null) : requestAdapter.apply(this, given);
    };`;
  assert.deepEqual(await answers(noThird, ['none']), [{ opened: 1, device: 'webgpu', subgroups: true, disabled: [] }]);
});

test('43 to 45 a buffer that cannot be had costs the device, and after the next one is lost the CPU goes on', async () => {
  const tooLarge = `
    const { createBuffer } = GPUDevice.prototype;
    GPUDevice.prototype.createBuffer = function (given) {
      const isWrong = devices.length === 1 && given.label === 'weights';
      return createBuffer.call(this, isWrong ? { ...given, size: 2 ** 50 } : given);
    };`;
  assert.deepEqual(await answers(tooLarge, ['none', 'answer']), [
    { opened: 2, device: 'webgpu', subgroups: true, disabled: [] },
    { opened: 2, device: 'cpu', subgroups: undefined, disabled: undefined },
  ]);
});

test('45 limits that are too small leave the model to the CPU', async () => {
  const small = `
    for (const name of ['maxBufferSize', 'maxStorageBufferBindingSize']) {
      Object.defineProperty(GPUSupportedLimits.prototype, name, { get: () => 20_000 });
    }`;
  assert.deepEqual(await answers(small, ['none']), [{ opened: 1, device: 'cpu', subgroups: undefined, disabled: undefined }]);
});

test('43 and 46 to 48 without features, with a kernel that is refused and one that is wrong, the GPU goes on, after a loss too', async () => {
  const wrong = `
    const { has } = GPUSupportedFeatures.prototype;
    GPUSupportedFeatures.prototype.has = function (name) {
      return name !== 'subgroups' && name !== 'shader-f16' && has.call(this, name);
    };
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function (given) {
      let { code } = given;
      if (given.label.startsWith('matmat')) code = code.replace('fn main(', 'not WGSL');
      if (given.label === 'sample') code = code.replace('vec4(token, bad', 'vec4(token + 1.0, bad');
      return createShaderModule.call(this, { ...given, code });
    };`;
  assert.deepEqual(await answers(wrong, ['none', 'answer']), [1, 2].map((opened) => (
    { opened, device: 'webgpu', subgroups: false, disabled: ['matmat F32: refused', 'sample: wrong'] }
  )));
});

test('48 a model whose kernels are wrong is left to the CPU', async () => {
  const wrong = `
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function (given) {
      return createShaderModule.call(this, { ...given, code: given.code.replace('return dot(c.scale', 'return 1.01 * dot(c.scale') });
    };`;
  const [{ device }] = await answers(wrong, ['none']);
  assert.equal(device, 'cpu');
});
