// The browser's compiler takes every kernel: it is stricter than the one that the native tests use.

import assert from 'node:assert/strict';
import { gpuTest as test, openStage } from './support.mjs';

/** Formats of which pipelines are made too, which takes SwiftShader long; gpu.spec.mjs runs the others. */
const withPipeline = ['^(?!embed|matvec|matmat)', ' (F32|Q6_K|MXFP4)( |$)'];

/** Runs in the page: what the browser says against each kernel. */
async function compile(withPipeline) {
  const core = await import('/selftest/chord-gpu.js');
  await core.default({ module_or_path: '/selftest/chord-gpu.wasm' });
  const sources = JSON.parse(core.shaderSources());
  const adapter = await navigator.gpu.requestAdapter();
  const optional = { 'enable f16;': 'shader-f16', 'enable subgroups;': 'subgroups' };
  const requiredFeatures = Object.values(optional).filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({ requiredFeatures });
  const problems = [];
  for (const [name, code] of sources) {
    const needed = optional[code.slice(0, code.indexOf('\n'))];
    if (needed && !requiredFeatures.includes(needed)) continue;
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const errors = messages.filter(({ type }) => type === 'error');
    if (errors.length > 0) {
      problems.push(...errors.map(({ lineNum, message }) => `${name}: ${message}: ${code.split('\n')[lineNum - 1]}`));
      continue;
    }
    if (!withPipeline.some((pattern) => new RegExp(pattern).test(name))) continue;
    device.pushErrorScope('validation');
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const error = await device.popErrorScope();
    if (error) problems.push(`${name}: ${error.message}`);
  }
  return { problems, count: sources.length };
}

const stage = await openStage({ gpu: true });

test('every kernel compiles in the browser', () =>
  stage.visit({ allow: [/./] }, async (page) => {
    const { problems, count } = await page.evaluate(compile, withPipeline);
    assert.deepEqual(problems, []);
    assert.ok(count > 50, `${count} kernels`);
  }));
