// Engines that start together: nested workers in Firefox now and then did not. `cargo xtask bench starts` has more.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMany } from '../support/starts.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { openStage } from './support.mjs';

const COUNT = 25;
const stage = await openStage({ files: { '/tiny.gguf': tinyModel() } });

test(`17 ${COUNT} engines, five at a time, all answer`, () => stage.visit({}, async (page) => {
  const { tookMs, failures } = await page.evaluate(startMany, { address: '/pkg/index.js', model: '/tiny.gguf', count: COUNT, together: 5 });
  assert.deepEqual(failures, []);
  assert.equal(tookMs.length, COUNT);
}));
