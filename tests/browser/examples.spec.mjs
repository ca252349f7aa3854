// The pages of examples/, served as its README says.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { join } from 'node:path';
import { notInFirefox, openStage, root } from './support.mjs';

const stage = await openStage({ roots: { '/': join(root, 'examples') } });

test('the search finds passages and answers from them', async () => {
  await stage.visit({ path: '/search.html' }, async (page) => {
    await page.waitForSelector('button:enabled');
    await page.click('button');
    await page.waitForFunction(() => document.querySelector('#status').textContent === 'Done');
    const found = await page.locator('#found li').allInnerTexts();
    assert.equal(found.length, 2);
    for (const passage of found) assert.match(passage, /\(-?[01]\.\d\d\)$/);
    assert.match(await page.locator('#answer').innerText(), /[A-Za-z]{3,}/);
  });
});

test('the offline chat answers, and again when the server is gone', { skip: notInFirefox('its workers ask past the service worker') }, async () => {
  await stage.visit({ path: '/chat.html', allow: [/ERR_CONNECTION_REFUSED/] }, async (page) => {
    const ask = async () => {
      await page.waitForSelector('button:enabled');
      await page.fill('#question', 'What is the capital of France?');
      await page.press('#question', 'Enter');
      await page.waitForFunction(() => document.querySelector('.answer')?.textContent.length > 3);
      await page.waitForSelector('button:enabled');
      assert.match(await page.locator('.answer').innerText(), /[A-Za-z]{3,}/);
    };
    await page.waitForFunction(() => /without a network now/.test(document.querySelector('#status').textContent));
    await ask();
    await stage.server.close();
    await page.reload();
    await ask();
  });
});
