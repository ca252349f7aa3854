// The browser's compiler takes every kernel: it is stricter than the one that the native tests use.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gpuTest as test, openStage, root } from './support.mjs';

const read = (name) => readFileSync(join(root, `shaders/${name}.wgsl`), 'utf8');
const floats = ['f32', 'f16', 'bf16'];
/** The parts of each format's decoder, as its file in the registry names them. */
const decoders = {};
for (const file of readdirSync(join(root, 'src/quant/formats')).filter((name) => name !== 'mod.rs')) {
  const source = readFileSync(join(root, 'src/quant/formats', file), 'utf8');
  decoders[file.replace('.rs', '')] = [...source.matchAll(/wgsl!\("(\w+)"\)/g)].map(([, stem]) => `shared/${stem}`);
}

/** As src/gpu/shaders.rs puts them together. */
const parts = {};
for (const [format, decoder] of Object.entries(decoders)) {
  const decoding = ['shared/bindings', 'shared/decode', ...decoder, `shared/${floats.includes(format) ? 'floats' : 'quants'}`];
  parts[`embed ${format}`] = [...decoding, 'embed'];
  parts[`matvec ${format}`] = [...decoding, 'shared/matrix', 'shared/sum', 'matvec'];
  const arithmetics = floats.includes(format) ? ['tile'] : ['tile', 'tile_half', 'tile_integer'];
  for (const tile of arithmetics) parts[`matmat ${format} ${tile}`] = [...decoding, 'shared/matrix', `shared/${tile}`, 'matmat'];
}
for (const name of ['norm', 'rope']) parts[name] = ['shared/bindings', 'shared/sum', name];
for (const name of ['attention', 'attention_reduce', 'attention_tiles']) parts[name] = ['shared/bindings', 'shared/attention', name];
for (const name of ['prepare_half', 'prepare_integer']) parts[name] = ['shared/bindings', 'shared/prepare', name];
for (const name of ['top', 'sample']) parts[name] = ['shared/bindings', 'shared/candidates', name];
for (const name of ['elementwise', 'route', 'expert_sum']) parts[name] = ['shared/bindings', name];
const sources = {};
for (const [name, files] of Object.entries(parts)) {
  sources[name] = [...(name.endsWith('tile_half') ? ['enable f16;'] : []), ...files.map(read)].join('\n');
  if (!files.includes('shared/sum')) continue;
  parts[`${name} with subgroups`] = files.map((file) => file.replace('shared/sum', 'shared/sum_subgroups'));
  const source = parts[`${name} with subgroups`].map(read).join('\n').replaceAll('//SUBGROUPS ', '');
  sources[`${name} with subgroups`] = `enable subgroups;\n${source}`;
}

/** Formats of which pipelines are made too, which takes SwiftShader long; gpu.spec.mjs runs the others. */
const withPipeline = (name) => !/ /.test(name) || / (f32|q6_k|mxfp4)( |$)/.test(name);

/** Runs in the page: what the browser says against each kernel. */
async function compile({ given, pipelines }) {
  const adapter = await navigator.gpu.requestAdapter();
  const optional = { 'enable f16;': 'shader-f16', 'enable subgroups;': 'subgroups' };
  const requiredFeatures = Object.values(optional).filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({ requiredFeatures });
  const problems = [];
  for (const [name, code] of Object.entries(given)) {
    const needed = optional[code.slice(0, code.indexOf('\n'))];
    if (needed && !requiredFeatures.includes(needed)) continue;
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const errors = messages.filter(({ type }) => type === 'error');
    if (errors.length > 0) {
      problems.push(...errors.map(({ lineNum, message }) => `${name}: ${message}: ${code.split('\n')[lineNum - 1]}`));
      continue;
    }
    if (!pipelines.includes(name)) continue;
    device.pushErrorScope('validation');
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const error = await device.popErrorScope();
    if (error) problems.push(`${name}: ${error.message}`);
  }
  return problems;
}

const stage = await openStage({ gpu: true });

test('every file of shaders/ is part of some kernel', () => {
  const used = new Set(Object.values(parts).flat());
  const all = ['', 'shared/'].flatMap((folder) => readdirSync(join(root, 'shaders', folder)).map((name) => folder + name));
  const unused = all.filter((name) => name.endsWith('.wgsl') && !used.has(name.replace('.wgsl', '')));
  assert.deepEqual(unused, []);
});

test('every kernel compiles in the browser', () =>
  stage.visit({ allow: [/./] }, async (page) => {
    const pipelines = Object.keys(sources).filter(withPipeline);
    assert.deepEqual(await page.evaluate(compile, { given: sources, pipelines }), []);
  }));
