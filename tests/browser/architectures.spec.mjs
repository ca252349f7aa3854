// Logits of a model of each architecture in the browser, on the CPU and on WebGPU, against the reference, and the tokens
// that follow. The models have random weights, which are made again from the headers of the reference data: every third
// of them here, or all of the folder that CHORD_REFERENCE_MODELS names.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import * as cpu from './cpu-logits.mjs';
import { NMSE_MAX, allow, compare } from './gpu-logits.mjs';
import { gpuTest, openStage, root, sharedData, skipWithoutData } from './support.mjs';

const tolerances = JSON.parse(readFileSync(join(root, 'tests/tolerances.json'), 'utf8'));
/** Margins under which another sum of the same numbers may choose another token. */
const MARGIN_MIN = 1e-3;
/** Models that fill in a text as a whole: no token follows it. */
const FILLS_IN = /^(dream|llada|rnd1)/;
/** Models that are refused for what is peculiar to them, and not to their kind: MPT's activations have scales. */
const REFUSED = { 'mpt-dense': /mpt/ };
const HEADER = '.header.xz';

/** Python that makes models with a tool which reads a header and writes a file. */
const MAKE = `
import importlib.util, sys
spec = importlib.util.spec_from_file_location('tool', sys.argv[1])
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
for header, out in zip(sys.argv[2::2], sys.argv[3::2]): tool.build(header, out)
`;

/** The folder of the models, or why there is none. */
function prepare() {
  if (process.env.CHORD_REFERENCE_MODELS) return { folder: process.env.CHORD_REFERENCE_MODELS };
  if (!sharedData) return { skip: skipWithoutData };
  const headers = join(sharedData, 'arch-more');
  const tool = join(sharedData, '../tools/make-arch.py');
  if (!existsSync(headers) || !existsSync(tool)) return { skip: 'no headers of models, or nothing that makes them' };
  const folder = mkdtempSync(join(tmpdir(), 'chord-architectures-'));
  after(() => rmSync(folder, { recursive: true }));
  const names = readdirSync(headers).filter((name) => name.endsWith(HEADER)).map((name) => basename(name, HEADER)).filter((_, at) => at % 3 === 0);
  for (const name of names) {
    for (const kind of ['.json', '.logits.f32']) copyFileSync(join(headers, name + kind), join(folder, name + kind));
  }
  try {
    execFileSync('python3', ['-c', MAKE, tool, ...names.flatMap((name) => [join(headers, name + HEADER), join(folder, `${name}.gguf`)])], { stdio: 'pipe' });
  } catch (error) {
    return { skip: `Python cannot make the models: ${error.message.trim().split('\n').at(-1)}` };
  }
  return { folder };
}

const { folder, skip = false } = prepare();
const models = folder ? readdirSync(folder).filter((name) => name.endsWith('.gguf')).map((name) => basename(name, '.gguf')).sort() : [];
const stage = await openStage({ gpu: true, roots: folder ? { '/data/': folder } : {} });

function check(context, model, { count, expectedCount, nmse, followed }, limit) {
  const { greedy, greedy_margin: margins } = JSON.parse(readFileSync(join(folder, `${model}.json`), 'utf8'));
  context.diagnostic(`${model}: NMSE ${nmse.toExponential(2)}`);
  assert.equal(count, expectedCount);
  // Written so that NaN fails too.
  assert.ok(nmse <= limit, `NMSE ${nmse} is over ${limit}`);
  if (FILLS_IN.test(model)) return;
  const unclear = margins.findIndex((margin) => !(margin > MARGIN_MIN));
  const clear = unclear < 0 ? greedy.length : unclear;
  assert.deepEqual(followed.slice(0, clear), greedy.slice(0, clear));
}

test('reference models', { skip }, () => assert.ok(models.length > 0));

/** Models that ran on the CPU where they were to run on WebGPU. */
const onCpu = [];

for (const model of models) {
  const follow = !FILLS_IN.test(model);
  if (REFUSED[model]) {
    test(`${model} is refused`, () =>
      stage.visit({}, async (page) => {
        const { refused } = await page.evaluate(cpu.compare, { build: 'chord-relaxed', model });
        assert.equal(refused?.code, 'UnsupportedArchitecture');
        assert.match(refused.message, REFUSED[model]);
      }));
    continue;
  }
  test(`${model} on the CPU`, (context) =>
    stage.visit({}, async (page) => {
      const result = await page.evaluate(cpu.compare, { build: 'chord-relaxed', model, follow });
      assert.equal(result.refused, undefined);
      check(context, model, result, tolerances.f32);
    }));
  gpuTest(`${model} on WebGPU`, (context) =>
    stage.visit({ allow }, async (page) => {
      const [result] = await page.evaluate(compare, { models: [model], follow });
      // A model whose sizes no kernel takes runs on the CPU.
      if (result.name === 'webgpu') assert.deepEqual(result.disabled, []);
      else onCpu.push(model);
      check(context, model, result, NMSE_MAX);
    }));
}

gpuTest('nearly all of them run on the GPU', { skip }, (context) => {
  context.diagnostic(`on the CPU: ${onCpu.join(', ')}`);
  assert.ok(onCpu.length <= models.length / 5, onCpu.join(', '));
});
