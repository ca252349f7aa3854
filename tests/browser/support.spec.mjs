// The stage itself: a stray error anywhere in a page must fail its test.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStage } from './support.mjs';

const stage = await openStage({
  files: {
    '/rejecting.js': Buffer.from("Promise.reject(new Error('stray in a worker'));"),
    '/complaining.js': Buffer.from("console.error('complaint in a worker');"),
  },
});

const settle = () => new Promise((done) => setTimeout(done, 200));
const startWorker = (path) => void new Worker(path, { type: 'module' });

for (const [name, stray, text] of [
  ['a rejection', () => void Promise.reject(new Error('stray')), /stray/],
  ['an exception', () => void setTimeout(() => { throw new Error('stray'); }), /stray/],
  ['a console error', () => console.error('complaint'), /complaint/],
]) {
  test(`${name} in the page`, () =>
    assert.rejects(stage.visit({}, async (page) => {
      await page.evaluate(stray);
      await settle();
    }), text));
}

for (const [path, text] of [['/rejecting.js', /stray in a worker/], ['/complaining.js', /complaint in a worker/]]) {
  test(`${path} as a worker`, () =>
    assert.rejects(stage.visit({}, async (page) => {
      await page.evaluate(startWorker, path);
      await settle();
    }), text));
}

test('what a test allows', () =>
  stage.visit({ allow: [/complaint/] }, async (page) => {
    await page.evaluate(() => console.error('complaint'));
    await settle();
  }));
