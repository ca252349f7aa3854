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

/** Resolves when a page or one of its workers says something, however long it takes to start. */
const said = (page) => Promise.any(['weberror', 'console'].map((event) => page.context().waitForEvent(event)));
const startWorker = (path) => void new Worker(path, { type: 'module' });

for (const [name, stray, text] of [
  ['a rejection', () => void Promise.reject(new Error('stray')), /stray/],
  ['an exception', () => void setTimeout(() => { throw new Error('stray'); }), /stray/],
  ['a console error', () => console.error('complaint'), /complaint/],
]) {
  test(`${name} in the page`, () =>
    assert.rejects(stage.visit({}, async (page) => {
      const heard = said(page);
      await page.evaluate(stray);
      await heard;
    }), text));
}

for (const [path, text] of [['/rejecting.js', /stray in a worker/], ['/complaining.js', /complaint in a worker/]]) {
  test(`${path} as a worker`, () =>
    assert.rejects(stage.visit({}, async (page) => {
      const heard = said(page);
      await page.evaluate(startWorker, path);
      await heard;
    }), text));
}

test('what a test allows', () =>
  stage.visit({ allow: [/complaint/] }, async (page) => {
    const heard = said(page);
    await page.evaluate(() => console.error('complaint'));
    await heard;
  }));
