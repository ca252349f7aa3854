// The build for 64-bit memory: when it is chosen, what the browser loads for it, and that it answers the same.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { openStage, root } from './support.mjs';

const MODEL = '/model.gguf';
const stage = await openStage({ files: { [MODEL]: tinyModel({ layers: 6 }) } });

const outcome = (page, options) => page.evaluate((given) => chord.outcome({ model: '/model.gguf', store: 'none', ...given }), options);
const planned = (page, options) => page.evaluate((given) => chord.planned({ model: '/model.gguf', store: 'none', ...given }), options);

/** Bytes between what the model needs at least and at most: a memory of so many cannot hold it whole. */
async function between(page) {
  const { leastBytes, budgetBytes } = await planned(page, {});
  assert.ok(leastBytes < budgetBytes - 1);
  return Math.floor((leastBytes + budgetBytes) / 2);
}

/** Runs `body` in a page whose engine workers begin with `stub`. */
async function inBrowserWhere(stub, body) {
  const path = '/pkg/engine-worker.js';
  const script = await readFile(join(root, path), 'utf8');
  stage.server.fault(path, () => ({ body: `${stub}\n${script}`, headers: { 'content-type': 'text/javascript' } }));
  try {
    return await withChord(stage, body);
  } finally {
    stage.server.fault(path, undefined);
  }
}

/** Names of the wasm files that were asked for since `from`. */
const loaded = (from) => [...new Set(stage.server.log.slice(from).map(({ path }) => path).filter((path) => path.endsWith('.wasm')))];

/** A browser of some time ago. */
const WITHOUT = `
  const validate = WebAssembly.validate;
  WebAssembly.validate = (bytes) => validate(bytes) && !(bytes[8] === 5 && (bytes[11] & 4));`;
/** One that has no addresses left. */
const REFUSING = `
  const Memory = WebAssembly.Memory;
  WebAssembly.Memory = function (given) {
    if (given.address === 'i64') throw new RangeError('could not allocate memory');
    return new Memory(given);
  };`;

describe('64-bit memory', () => {
  test('gives the tokens of 32-bit memory, and only its build is loaded', () => withChord(stage, async (page) => {
    const from = stage.server.log.length;
    const wide = await outcome(page, { memory64: true });
    assert.equal(wide.build, 'wasm64', wide.message);
    assert.deepEqual(loaded(from), ['/pkg/wasm/chord-memory64.wasm']);
    const narrow = await outcome(page, { memory64: false });
    assert.equal(narrow.build, 'wasm32');
    assert.deepEqual([wide.ids, wide.logprobs], [narrow.ids, narrow.logprobs]);
    const team = await outcome(page, { memory64: true, threads: 2 });
    assert.deepEqual([team.build, team.threads], ['wasm64', 2], team.message);
    assert.deepEqual([team.ids, team.logprobs], [narrow.ids, narrow.logprobs]);
    assert.equal((await outcome(page, {})).build, 'wasm32');
    const plan = await planned(page, { memory64: true });
    assert.deepEqual([plan.build, plan.device, plan.simd], ['wasm64', 'cpu', 'relaxed']);
    assert.match(plan.buildReason, /asks for it/);
    assert.equal((await planned(page, {})).buildReason, undefined);
  }));

  test('is chosen for a model that a 32-bit memory cannot hold, which then stays in memory', () => withChord(stage, async (page) => {
    const whole = await outcome(page, {});
    const addressableBytes = await between(page);
    for (const store of ['none', 'opfs']) {
      // Where layers could be read from disk instead, memory is only taken that the browser tells of, or the caller.
      const options = { addressableBytes, store, ...(store === 'opfs' ? { maxResidentBytes: 2 ** 30 } : {}) };
      const wide = await outcome(page, options);
      assert.equal(wide.build, 'wasm64', wide.message);
      assert.deepEqual([wide.ids, wide.logprobs], [whole.ids, whole.logprobs]);
      assert.deepEqual([wide.layers.passingBytes, wide.layers.pinned], [0, 6]);
      const plan = await planned(page, options);
      assert.deepEqual([plan.build, plan.bound], ['wasm64', 'model']);
      assert.match(plan.buildReason, /more than a 32-bit memory holds$/);
    }
    const paged = await outcome(page, { addressableBytes, memory64: false });
    assert.equal(paged.build, 'wasm32');
    assert.deepEqual([paged.ids, paged.logprobs], [whole.ids, whole.logprobs]);
    assert.ok(paged.layers.passingBytes > 0);
    const under = await outcome(page, { addressableBytes, maxResidentBytes: addressableBytes - 1 });
    assert.equal(under.build, 'wasm32', 'a ceiling that is lower than the memory settles it');
  }));

  test('is chosen for a server that sends files only whole, too', () => withChord(stage, async (page) => {
    const whole = await outcome(page, {});
    const addressableBytes = await between(page);
    stage.server.fault(MODEL, () => ({ ignoreRange: true }));
    try {
      const wide = await outcome(page, { addressableBytes });
      assert.equal(wide.build, 'wasm64', wide.message);
      assert.deepEqual([wide.ids, wide.logprobs], [whole.ids, whole.logprobs]);
    } finally {
      stage.server.fault(MODEL, undefined);
    }
  }));

  for (const [name, stub, why] of [['a browser without it', WITHOUT, /has no 64-bit memory$/], ['a browser that refuses so much', REFUSING, /refuses so much$/]]) {
    test(`50 ${name} gets what it would without`, () => inBrowserWhere(stub, async (page) => {
      const addressableBytes = await between(page);
      const from = stage.server.log.length;
      const paged = await outcome(page, { addressableBytes });
      assert.equal(paged.build, 'wasm32', paged.message);
      assert.ok(!loaded(from).includes('/pkg/wasm/chord-memory64.wasm'));
      assert.deepEqual(paged.ids, (await outcome(page, {})).ids);
      const plan = await planned(page, { addressableBytes });
      assert.equal(plan.build, 'wasm32');
      assert.match(plan.buildReason, why);
    }));
  }

  test('that a browser lacks is an error where it is insisted on', () => inBrowserWhere(WITHOUT, async (page) => {
    const { code, details } = await outcome(page, { memory64: true });
    assert.deepEqual([code, details], ['DeviceUnavailable', { build: 'wasm64' }]);
  }));

  test('cannot go with WebGPU', () => withChord(stage, async (page) => {
    const { code, details } = await outcome(page, { memory64: true, device: 'webgpu' });
    assert.deepEqual([code, details], ['InvalidParameter', { name: 'memory64' }]);
  }));
});
