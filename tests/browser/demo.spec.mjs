// The demo page: on its own with a scripted engine (demo-stub.js), and whole with the bundled model.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { openStage, root } from './support.mjs';

const STUB = await readFile(new URL('demo-stub.js', import.meta.url), 'utf8');
const HOSTILE = '<img src="https://example.org/x.png" onerror="pwned=1"><script>pwned=1</script><b>bold</b>';

/** Training the bundled model takes hours; a checkout without it still tests the page. */
const withoutModel = !existsSync(join(root, 'models/chord-tiny.gguf')) && 'no bundled model';

const bundle = await build({
  entryPoints: [join(root, 'www/demo/main.ts')],
  bundle: true,
  format: 'esm',
  target: 'es2022',
  external: ['/pkg/*'],
  write: false,
});
const { browser, server } = await openStage({
  roots: { '/': join(root, 'www/demo') },
  files: { '/main.js': bundle.outputFiles[0].contents },
  isolated: true,
});

/**
 * Opens the demo in a context of its own, runs `steps`, and fails on anything the page complains about.
 * With `script` the package is replaced by the stub that follows it.
 */
async function withPage({ script, query = '', viewport, colorScheme }, steps) {
  const context = await browser.newContext({ viewport: viewport ?? { width: 1280, height: 800 }, colorScheme });
  const complaints = [];
  try {
    const page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('request', (request) => {
      if (!request.url().startsWith(server.origin)) complaints.push(`requested ${request.url()}`);
    });
    if (script) {
      await page.addInitScript((value) => (globalThis.script = value), script);
      await page.route('**/pkg/index.js', (route) => route.fulfill({ contentType: 'text/javascript', body: STUB }));
    }
    await page.goto(server.url(`/${query}`));
    await steps(page);
  } finally {
    await context.close();
  }
  assert.deepEqual(complaints, []);
}

/** Types a question, sends it with Enter and waits for the end of the answer. */
async function ask(page, question) {
  await page.waitForSelector('#send:enabled');
  await page.fill('#question', question);
  await page.press('#question', 'Enter');
  await finished(page);
}

async function finished(page) {
  await page.waitForFunction(() => {
    const last = document.querySelector('#conversation .turn:last-child');
    return last?.getAttribute('aria-busy') === 'false';
  });
}

const lastTurn = (page) => page.locator('#conversation .turn').last();
const blocks = (page) =>
  page.locator('.answer > *').evaluateAll((all) => all.map((block) => [block.tagName, block.textContent]));
const requests = (page) => page.evaluate(() => globalThis.seen.requests);
const overflowsSideways = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

test('64 whatever the model, the person, the file or an error says stays text', async () => {
  const script = {
    name: HOSTILE,
    answer: `${HOSTILE}\n\nnext\n\`\`\`html\n${HOSTILE}\n\`\`\`\nend`,
    failures: [{ code: 'Internal', message: HOSTILE, details: { html: HOSTILE } }],
  };
  await withPage({ script }, async (page) => {
    await ask(page, HOSTILE);
    assert.equal(await page.locator('[role=alert]').count(), 1);
    await page.locator('.notice summary').click();
    await page.getByRole('button', { name: 'Try again' }).click();
    await finished(page);

    assert.deepEqual(await blocks(page), [['P', `${HOSTILE}\n`], ['P', 'next\n'], ['PRE', `${HOSTILE}\n`], ['P', 'end']]);
    assert.equal(await page.locator('.said').innerText(), HOSTILE);
    assert.equal(await page.locator('#model-name').innerText(), HOSTILE);
    assert.equal(await page.locator('img, b, body script, a').count(), 0);
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
  });
});

test('an answer is the same however the stream is cut, blank lines and half fences included', async () => {
  const answer = '``\n`x` ``` y\n\n\n  indented\n```\na\n\n``b\n```\n``';
  for (const pieceLength of [1, 3, answer.length]) {
    await withPage({ script: { answer, pieceLength } }, async (page) => {
      await ask(page, 'go');
      assert.deepEqual(await blocks(page), [['P', '``\n`x` ``` y\n'], ['P', '  indented\n'], ['PRE', 'a\n\n``b\n'], ['P', '``']]);
    });
  }
});

test('stop keeps what is there, and regenerate asks the same again', async () => {
  await withPage({ script: { answer: 'abcdefgh'.repeat(400), paceMs: 5 } }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.fill('#question', 'Go on');
    await page.press('#question', 'Enter');
    await page.waitForFunction(() => document.querySelector('.answer')?.textContent.includes('abcdefgh'));
    await page.keyboard.press('Escape');
    await finished(page);
    assert.match(await lastTurn(page).innerText(), /^abcdefgh.*Stopped/s);

    await lastTurn(page).getByRole('button', { name: 'Regenerate' }).click();
    await page.waitForFunction(() => document.querySelector('.answer')?.textContent.includes('abc'));
    await page.locator('#stop').click();
    await finished(page);
    const [first, second] = await requests(page);
    assert.deepEqual(second.messages, first.messages);
    assert.deepEqual(second.messages, [{ role: 'user', content: 'Go on' }]);
    assert.equal(await page.locator('.turn').count(), 2);
  });
});

test('settings reach the request, and an empty field is not sent', async () => {
  await withPage({ script: {}, query: '?ctx=256&device=cpu' }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.locator('#answers > summary').click();
    await page.fill('[name=system]', 'Be brief.');
    await page.fill('[name=temperature]', '0');
    await page.fill('[name=seed]', '7');
    await page.fill('[name=top_k]', '');
    await ask(page, 'Hello');
    await ask(page, 'And now?');
    const [, body] = await requests(page);
    assert.deepEqual(body.messages.map(({ role }) => role), ['system', 'user', 'assistant', 'user']);
    assert.deepEqual([body.temperature, body.seed, 'top_k' in body, body.stream], [0, 7, false, true]);
    const [engine] = await page.evaluate(() => globalThis.seen.engines);
    assert.deepEqual([engine.contextLength, engine.device], [256, 'cpu']);

    await page.fill('[name=top_p]', '3');
    await page.fill('#question', 'Kept');
    await page.press('#question', 'Enter');
    assert.equal(await page.inputValue('#question'), 'Kept');
    assert.equal((await requests(page)).length, 2);
  });
});

test('a large model is fetched only after a yes', async () => {
  await withPage({ script: { planBytes: 771e6 }, query: '?model=hf:some/model:Q4_0&prompt=Hi' }, async (page) => {
    await page.getByRole('button', { name: 'Not now' }).click();
    assert.deepEqual(await page.evaluate(() => globalThis.seen.engines), []);
    assert.equal(await page.locator('#model-name').innerText(), 'No model loaded');
    await page.fill('#source', 'hf:some/model:Q4_0');
    await page.press('#source', 'Enter');
    assert.match(await page.getByRole('group', { name: 'Before loading' }).innerText(), /771 MB/);
    await page.getByRole('button', { name: 'Download and start' }).press('Enter');
    await finished(page);
    assert.equal((await requests(page))[0].messages[0].content, 'Hi');
  });
});

test('a model that cannot be read leaves the present one in place', async () => {
  await withPage({ script: { planFailure: { code: 'NotFound', message: 'status 404' } } }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.fill('#source', 'https://example.org/none.gguf');
    await page.press('#source', 'Enter');
    assert.match(await page.locator('[role=alert]').innerText(), /no model at this address/);
    await ask(page, 'Still there?');
    assert.match(await lastTurn(page).innerText(), /^Hello there\./);
    assert.equal(await page.evaluate(() => globalThis.seen.disposed), 0);
  });
});

test('a file can be dropped anywhere and replaces the model', async () => {
  await withPage({ script: {} }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['GGUF'], 'mine.gguf'));
      dispatchEvent(new DragEvent('dragenter', { dataTransfer }));
    });
    assert.equal(await page.locator('#drop-target').isVisible(), true);
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['GGUF'], 'mine.gguf'));
      document.querySelector('#drop-target').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction(() => globalThis.seen.engines.length === 2);
    assert.equal(await page.locator('#drop-target').isVisible(), false);
    assert.deepEqual(await page.evaluate(() => [globalThis.seen.engines[1].source, globalThis.seen.disposed]), ['[object File]', 1]);
  });
});

test('failures say what can be done, and it can be done', async () => {
  const failures = [null, { code: 'ContextOverflow', message: 'too long', details: { need: 4300, have: 512 } }];
  await withPage({ script: { failures } }, async (page) => {
    await ask(page, 'Hello');
    await ask(page, 'And then?');
    assert.match(await page.locator('[role=alert]').innerText(), /needs 4,300 tokens, and there is room for 512/);
    await page.getByRole('button', { name: 'Ask in a new chat' }).click();
    await finished(page);
    assert.match(await lastTurn(page).innerText(), /^Hello there\./);
  });
  await withPage({ script: { loadFailure: { code: 'InvalidGguf', message: 'bad magic' } } }, async (page) => {
    await page.getByRole('button', { name: 'Choose another model' }).click();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'source');
    assert.equal(await page.locator('#send').isDisabled(), true);
  });
});

test('the map shows where each layer is, and what moves', async () => {
  const groups = ['pinned', 'pinned', 'ring', 'computing', 'fetching', 'stored', 'absent', 'pinned'];
  await withPage({ script: { groups, traffic: { fetchedBytes: 703e6, storeBytes: 1.2e9 } } }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.waitForSelector('[data-state=computing]');
    const states = await page.locator('#layer-strip .cell').evaluateAll((cells) => cells.map((cell) => cell.dataset.state));
    assert.deepEqual(states, groups.slice(1, -1));
    const looks = await page.locator('#layer-strip .cell').evaluateAll((cells) => cells.map((cell) => {
      const { backgroundSize, backgroundColor, borderColor, borderStyle, animationName } = getComputedStyle(cell);
      return [backgroundSize, backgroundColor, borderColor, borderStyle, animationName].join();
    }));
    assert.equal(new Set(looks).size, groups.length - 2, 'each state looks different');
    const legend = await page.locator('#layer-legend').innerText();
    for (const words of ['1 computing', '1 in memory', '1 passing through', '1 on disk', '1 arriving', '1 to come']) assert.ok(legend.includes(words), `${words} in ${legend}`);
    assert.match(await page.locator('#traffic').innerText(), /From the network\s+703 MB\s+From the disk\s+1\.2 GB/);
  });
});

test('the memory that the model may take can be changed in mid-conversation', async () => {
  await withPage({ script: {} }, async (page) => {
    await ask(page, 'Hello');
    await page.waitForSelector('#memory:not([hidden])');
    assert.match(await page.locator('#speeds').innerText(), /With 3 kB\s+20 tokens\/s/);
    await page.focus('#ceiling');
    await page.keyboard.press('Home');
    await page.waitForFunction(() => globalThis.seen.engines.length === 2);
    assert.deepEqual(await page.evaluate(() => [globalThis.seen.engines[1].maxResidentBytes, globalThis.seen.disposed]), [1000, 1]);
    assert.equal(await page.locator('#ceiling').getAttribute('aria-valuetext'), '1 kB');
    await ask(page, 'And now?');
    assert.equal((await requests(page)).at(-1).messages.length, 3);
    assert.match(await page.locator('#speeds').innerText(), /With 3 kB\s+20 tokens\/s\s+With 1 kB\s+5 tokens\/s/);
    await page.focus('#ceiling');
    await page.keyboard.press('End');
    await page.waitForFunction(() => globalThis.seen.engines.length === 3);
    assert.equal(await page.evaluate(() => globalThis.seen.engines[2].maxResidentBytes), undefined);
    assert.equal(await page.locator('#ceiling-value').innerText(), '3 kB, all of it');
  });
});

test('everything works from the keyboard, with the focus to be seen', async () => {
  await withPage({ script: {} }, async (page) => {
    await page.waitForSelector('#send:enabled');
    const reached = new Set();
    for (let step = 0; step < 30; step += 1) {
      await page.keyboard.press('Tab');
      const { id, text, shown } = await page.evaluate(() => {
        const { id, textContent, tagName } = document.activeElement;
        const style = getComputedStyle(document.activeElement);
        return { id, text: textContent, shown: tagName === 'BODY' || style.outlineStyle !== 'none' || style.boxShadow !== 'none' };
      });
      assert.ok(shown, `the focus on ${id || text} cannot be seen`);
      reached.add(id || text.trim());
    }
    for (const place of ['ceiling', 'source', 'pick-file', 'Answer settings', 'Figures', 'Advanced', 'question', 'send']) {
      assert.ok(reached.has(place), `Tab does not reach ${place}`);
    }
    await page.focus('#question');
    await page.keyboard.type('one');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('two');
    await page.keyboard.press('Enter');
    await finished(page);
    assert.equal((await requests(page))[0].messages[0].content, 'one\ntwo');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
  });
});

test('a phone of 360 px shows everything without scrolling sideways', async () => {
  const long = 'unbroken'.repeat(60);
  const script = { name: long, answer: `${long}\n\`\`\`\n${long}\n\`\`\`\n`, planBytes: 771e6 };
  await withPage({ script, viewport: { width: 360, height: 740 } }, async (page) => {
    assert.equal(await overflowsSideways(page), false);
    await ask(page, long);
    for (const fold of await page.locator('summary:visible').all()) await fold.click();
    assert.equal(await overflowsSideways(page), false);
    const box = await page.locator('#send').boundingBox();
    assert.ok(box.x + box.width <= 360 && box.y + box.height <= 740, 'Send is out of sight');
    await page.fill('#source', 'hf:some/model');
    await page.press('#source', 'Enter');
    await page.waitForSelector('.notice');
    assert.equal(await overflowsSideways(page), false);
  });
});

for (const colorScheme of ['light', 'dark']) {
  test(`contrast meets WCAG AA in ${colorScheme}`, async () => {
    await withPage({ script: {}, colorScheme }, async (page) => {
      const colour = await page.evaluate(() => {
        const style = getComputedStyle(document.documentElement);
        const names = ['paper', 'panel', 'ink', 'soft', 'field', 'field-line', 'accent', 'on-accent', 'tint', 'warn'];
        return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
      });
      const text = [['ink', 'paper'], ['ink', 'panel'], ['ink', 'field'], ['ink', 'tint'], ['soft', 'paper'], ['soft', 'panel'],
        ['soft', 'field'], ['accent', 'paper'], ['accent', 'panel'], ['on-accent', 'accent']];
      const shapes = [['field-line', 'panel'], ['field-line', 'paper'], ['accent', 'panel'], ['warn', 'panel']];
      for (const [front, back] of text) assert.ok(contrast(colour[front], colour[back]) >= 4.5, `${front} on ${back}`);
      for (const [front, back] of shapes) assert.ok(contrast(colour[front], colour[back]) >= 3, `${front} on ${back}`);
    });
  });
}

/** The contrast of two #rrggbb colours by the formula of WCAG 2. */
function contrast(a, b) {
  const luminance = (hex) => {
    const [r, g, blue] = [1, 3, 5].map((at) => {
      const value = parseInt(hex.slice(at, at + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * blue;
  };
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

test('the bundled model answers, and answers again', { skip: withoutModel }, async () => {
  await withPage({ query: '?device=cpu&prompt=What+is+the+capital+of+France%3F' }, async (page) => {
    await finished(page);
    const answer = await page.locator('.answer').innerText();
    assert.match(answer, /[A-Za-z]{3,}/);
    assert.equal(await page.locator('[role=alert]').count(), 0);
    assert.match(await page.locator('#layer-legend').innerText(), /^\d+ layers, all in memory$/);
    await lastTurn(page).getByRole('button', { name: 'Regenerate' }).click();
    await finished(page);
    assert.match(await lastTurn(page).innerText(), /tokens\/s/);
    await page.waitForFunction(() => /\d tokens\/s/.test(document.querySelector('#figure-list').innerText));
  });
});
