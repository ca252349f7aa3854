// The browser's compiler takes every kernel: it is stricter than the one that the native tests use.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStage, root } from './support.mjs';

const read = (name) => readFileSync(join(root, `shaders/${name}.wgsl`), 'utf8');
const PARTS = ['attention', 'bindings', 'candidates', 'codebook', 'decode', 'halves', 'matrix', 'sum', 'sum_subgroups'];
const formats = readdirSync(join(root, 'shaders/shared')).map((name) => name.replace('.wgsl', '')).filter((name) => !PARTS.includes(name));

/** As src/gpu/shaders.rs puts them together, without subgroups. */
const sources = {};
for (const format of formats) {
  const decoding = ['shared/bindings', 'shared/decode', 'shared/codebook', `shared/${format}`, ...(format === 'f16' || format === 'bf16' ? ['shared/halves'] : [])];
  sources[`embed ${format}`] = [...decoding, 'embed'];
  sources[`matvec ${format}`] = [...decoding, 'shared/matrix', 'shared/sum', 'matvec'];
  sources[`matmat ${format}`] = [...decoding, 'shared/matrix', 'matmat'];
}
for (const name of ['norm', 'rope']) sources[name] = ['shared/bindings', 'shared/sum', name];
for (const name of ['attention', 'attention_reduce', 'attention_tiles']) sources[name] = ['shared/bindings', 'shared/attention', name];
for (const name of ['top', 'sample']) sources[name] = ['shared/bindings', 'shared/candidates', name];
for (const name of ['elementwise', 'route', 'expert_sum']) {
  sources[name] = ['shared/bindings', name];
}
for (const name of Object.keys(sources)) sources[name] = sources[name].map(read).join('\n');

/** Runs in the page: what the browser says against each kernel. */
async function compile(given) {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  const problems = [];
  for (const [name, code] of Object.entries(given)) {
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const errors = messages.filter(({ type }) => type === 'error');
    if (errors.length > 0) {
      problems.push(...errors.map(({ lineNum, message }) => `${name}: ${message}: ${code.split('\n')[lineNum - 1]}`));
      continue;
    }
    device.pushErrorScope('validation');
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const error = await device.popErrorScope();
    if (error) problems.push(`${name}: ${error.message}`);
  }
  return problems;
}

const stage = await openStage({ gpu: true });

test('every kernel compiles in the browser', () =>
  stage.visit({ allow: [/./] }, async (page) => assert.deepEqual(await page.evaluate(compile, sources), [])));
