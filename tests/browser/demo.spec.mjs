// The demo page: on its own with a scripted engine (demo-stub.js), and whole with the bundled model.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { notInFirefox, openStage, root } from './support.mjs';

const STUB = await readFile(new URL('demo-stub.js', import.meta.url), 'utf8');
const AXE = await readFile(join(root, 'node_modules/axe-core/axe.min.js'), 'utf8');
const HOSTILE = '<img src="https://example.org/x.png" onerror="pwned=1"><script>pwned=1</script><b>bold</b>';

/** How long a test waits for its page: only what hangs is ended by it, however loaded the machine is. */
const PATIENCE_MS = 300_000;

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
  files: { '/main.js': bundle.outputFiles[0].contents, '/models/four-pages.gguf': tinyModel({ layers: 4, width: 256, feedForward: 1024 }) },
  isolated: true,
});

/**
 * Opens the demo in a context of its own, runs `steps`, and fails on anything the page complains about.
 * With `script` the package is replaced by the stub that follows it.
 */
async function withPage({ script, query = '', viewport, colorScheme, reducedMotion = 'no-preference' }, steps) {
  const context = await browser.newContext({ viewport: viewport ?? { width: 1280, height: 800 }, colorScheme, reducedMotion });
  context.setDefaultTimeout(PATIENCE_MS);
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

/** Fills a field of numbers, in which Firefox selects nothing for what drives it. */
async function fillNumber(page, field, value) {
  await page.fill(field, '');
  await page.fill(field, value);
}

/** Opens the choice of models and waits until it lists what is stored. */
async function openModels(page) {
  await page.click('#open-models');
  await page.waitForSelector('#stored-models li');
}

/** Loads what is at an address. */
async function loadAddress(page, address) {
  await openModels(page);
  await page.fill('#source', address);
  await page.press('#source', 'Enter');
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

    assert.deepEqual(await blocks(page), [['P', HOSTILE], ['P', 'next'], ['PRE', HOSTILE], ['P', 'end']]);
    assert.equal(await page.locator('.said').innerText(), HOSTILE);
    assert.equal(await page.locator('#model-name').innerText(), HOSTILE);
    assert.equal(await page.locator('img, b, body script, a').count(), 0);
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
  });
});

/** What an answer becomes, however the stream is cut. */
async function shown(answer, pieceLength, look) {
  let seen;
  await withPage({ script: { answer, pieceLength } }, async (page) => {
    await ask(page, 'go');
    seen = await look(page);
  });
  return seen;
}

const markup = (page) => page.locator('.answer').innerHTML();

test('Markdown becomes elements, the same however the stream is cut', async () => {
  const answer = [
    '# Title', '', 'A *b* **c** `d` ~~e~~', 'next line &amp; &#8364; \\*', '', '- one', '- two', '', '  still two', '  1. inner', '', '3. three', '4. [x] four', '',
    '| a | b |', '|---|---|', '| 1 | 2 |', '', '```js', 'if (a < b) {', '', '```js', '}', '```', '', '> said', '', '---', '', '[link](https://example.org/a?b=c&d) and https://example.org', '',
    '[ref]: https://example.org', '', '    indented', '', '``', '', '```', 'open', '', 'end',
  ].join('\n');
  const whole = await shown(answer, answer.length, markup);
  for (const pieceLength of [1, 7]) assert.equal(await shown(answer, pieceLength, markup), whole);
  const found = await shown(answer, answer.length, blocks);
  assert.deepEqual(found.map(([tag]) => tag), ['H2', 'P', 'UL', 'OL', 'DIV', 'PRE', 'BLOCKQUOTE', 'HR', 'P', 'P', 'PRE', 'P', 'PRE']);
  assert.equal(found[1][1], 'A b c d e\nnext line & € *');
  assert.equal(found[5][1], 'if (a < b) {\n\n```js\n}');
  assert.equal(found[9][1], '[ref]: https://example.org');
  assert.equal(found[12][1], 'open\n\nend');
  for (const part of ['<em>b</em>', '<strong>c</strong>', '<code>d</code>', '<del>e</del>', '<ol start="3">', '☑ four', '<th>a</th>', '<td>2</td>', '<blockquote><p>said</p></blockquote>']) {
    assert.ok(whole.includes(part), `${part} in ${whole}`);
  }
});

test('64 a link leads to a page and nowhere else, and an image is only a link', async () => {
  const answer = [
    '[a](javascript:pwned=1)', '[b](JaVaScRiPt:pwned=1)', '[c](data:text/html,<script>pwned=1</script>)', '[d](//example.org/x)', '[e](https://example.org/e)',
    '![f](https://example.org/f.png)', '<https://example.org/g>', '[h](vbscript:pwned)', '[i](https://example.org/" onclick="pwned=1)', '<a href="https://example.org/j">j</a>',
    '[k](&#106;avascript:pwned=1)', '<iframe src="https://example.org"></iframe>', '<svg onload=pwned=1>', '<style>body{display:none}</style>', '[l](blob:https://example.org/l)',
  ].join('\n\n');
  await withPage({ script: { answer, pieceLength: 11 } }, async (page) => {
    await ask(page, 'go');
    const links = await page.locator('.answer a').evaluateAll((all) => all.map(({ href, rel, target }) => [new URL(href).origin, rel, target].join(' ')));
    assert.deepEqual(new Set(links), new Set(['https://example.org noopener noreferrer nofollow _blank']));
    const tags = await page.locator('.answer *').evaluateAll((all) => [...new Set(all.map(({ tagName }) => tagName))].sort());
    assert.deepEqual(tags, ['A', 'P']);
    const attributes = await page.locator('.answer *').evaluateAll((all) => [...new Set(all.flatMap((element) => element.getAttributeNames()))].sort());
    assert.deepEqual(attributes, ['href', 'rel', 'target', 'title']);
    const text = await page.locator('.answer').innerText();
    for (const part of ['javascript:pwned=1', '<iframe src=', '<svg onload', '<style>', '[d](//example.org/x)']) assert.ok(text.includes(part), part);
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
  });
});

test('64 what would take too long or too deep to take apart is shown as it was written', async () => {
  const deep = '>'.repeat(4000);
  const long = '_a'.repeat(20_000);
  const nested = Array.from({ length: 40 }, (_, depth) => `${'  '.repeat(depth)}- x`).join('\n');
  await withPage({ script: { answer: `${nested}\n\n${deep}\n\n${long}\n\nend`, pieceLength: 5000 } }, async (page) => {
    await ask(page, 'go');
    const found = await blocks(page);
    assert.deepEqual(found.map(([tag]) => tag), ['UL', 'P', 'P', 'P']);
    assert.deepEqual(found.slice(1).map(([, text]) => text), [deep, long, 'end']);
    assert.equal(found[0][1].match(/x/g).length, 40);
  });
  const emphasis = '*a _b '.repeat(1500);
  await withPage({ script: { answer: `${emphasis}\n\n&toString; &amp;`, pieceLength: 5000 } }, async (page) => {
    await ask(page, 'go');
    const [[, first], [, second]] = await blocks(page);
    assert.deepEqual([first.match(/a/g).length, second], [1500, '&toString; &']);
  });
});

test('what a model thinks is folded away and not sent back', async () => {
  const answer = '<think>\nFirst <b>this</b>.\n</thin, then that.\n</think>\n\nThe **answer**.';
  for (const pieceLength of [1, 5, answer.length]) {
    await withPage({ script: { answer, pieceLength } }, async (page) => {
      await ask(page, 'Why?');
      const fold = page.locator('.thought');
      assert.equal(await fold.evaluate((details) => details.open), false);
      assert.match(await fold.locator('summary').innerText(), /^Thought for /);
      assert.equal(await fold.locator('p').evaluate((p) => p.textContent), 'First <b>this</b>.\n</thin, then that.\n');
      assert.deepEqual(await blocks(page), [['P', 'The answer.']]);
      await ask(page, 'And?');
      assert.deepEqual((await requests(page))[1].messages[1], { role: 'assistant', content: 'The **answer**.' });
    });
  }
  await withPage({ script: { answer: 'Said.', reasoning: 'Thought apart.' } }, async (page) => {
    await ask(page, 'Why?');
    assert.equal(await page.locator('.thought p').evaluate((p) => p.textContent), 'Thought apart.');
    assert.deepEqual(await blocks(page), [['P', 'Said.']]);
  });
  await withPage({ script: { answer: 'A tag is written <think>.' } }, async (page) => {
    await ask(page, 'Why?');
    assert.equal(await page.locator('.thought').isVisible(), false);
    assert.deepEqual(await blocks(page), [['P', 'A tag is written <think>.']]);
  });
});

test('an answer is copied as it was written', async () => {
  await withPage({ script: { answer: '# A\n\n*b*' } }, async (page) => {
    await page.evaluate(() => (navigator.clipboard.writeText = async (text) => void (globalThis.copied = text)));
    await ask(page, 'go');
    await lastTurn(page).getByRole('button', { name: 'Copy' }).click();
    await lastTurn(page).getByRole('button', { name: 'Copied' }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.copied), '# A\n\n*b*');
  });
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
    await page.click('#open-settings');
    await page.fill('[name=system]', 'Be brief.');
    await fillNumber(page, '[name=temperature]', '0');
    await page.fill('[name=seed]', '7');
    await page.fill('[name=top_k]', '');
    await page.keyboard.press('Escape');
    await ask(page, 'Hello');
    await ask(page, 'And now?');
    const [, body] = await requests(page);
    assert.deepEqual(body.messages.map(({ role }) => role), ['system', 'user', 'assistant', 'user']);
    assert.deepEqual([body.temperature, body.seed, 'top_k' in body, body.stream], [0, 7, false, true]);
    const [engine] = await page.evaluate(() => globalThis.seen.engines);
    assert.deepEqual([engine.contextLength, engine.device], [256, 'cpu']);

    await page.click('#open-settings');
    await fillNumber(page, '[name=top_p]', '3');
    await page.keyboard.press('Escape');
    await page.fill('#question', 'Kept');
    await page.press('#question', 'Enter');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'top_p');
    assert.equal(await page.inputValue('#question'), 'Kept');
    assert.equal((await requests(page)).length, 2);
  });
});

test('a large model is fetched only after a yes', async () => {
  await withPage({ script: { planBytes: 771e6 }, query: '?model=hf:some/model:Q4_0&prompt=Hi' }, async (page) => {
    await page.getByRole('button', { name: 'Not now' }).click();
    assert.deepEqual(await page.evaluate(() => globalThis.seen.engines), []);
    assert.equal(await page.locator('#model-name').innerText(), 'No model loaded');
    await loadAddress(page, 'hf:some/model:Q4_0');
    assert.match(await page.getByRole('group', { name: 'Before loading' }).innerText(), /771 MB/);
    await page.getByRole('button', { name: 'Download and start' }).press('Enter');
    await finished(page);
    assert.equal((await requests(page))[0].messages[0].content, 'Hi');
    assert.equal(new URL(page.url()).searchParams.get('model'), 'hf:some/model:Q4_0');
  });
  // Who began to fetch it has said yes before.
  await withPage({ script: { planBytes: 471e6, storedBytes: 300e6 }, query: '?model=hf:some/model:Q4_0' }, async (page) => {
    await page.waitForSelector('#send:enabled');
    assert.equal(await page.locator('.notice').count(), 0);
    assert.match(await page.locator('#resume-proof').innerText(), /^300 MB of it were here already/);
  });
});

test('real models are offered beside the toy, each with its size', async () => {
  await withPage({ script: {}, query: '?model=' }, async (page) => {
    const cards = await page.locator('#real-models button').allInnerTexts();
    assert.ok(cards.length >= 4);
    for (const card of cards) assert.match(card, /\n\d+ [MG]B, for /);
    await page.locator('#real-models button', { hasText: 'Llama 3.2 1B' }).click();
    await page.waitForSelector('#send:enabled');
    assert.equal((await page.evaluate(() => globalThis.seen.engines))[0].source, 'hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M');
    assert.equal(await page.locator('#toy-note').isVisible(), false);
    await openModels(page);
    await page.locator('#known-models button', { hasText: 'chord-tiny' }).click();
    await page.waitForSelector('#toy-note');
    assert.match(await page.locator('#model-facts').innerText(), /^a toy, /);
  });
});

test('a connection that breaks leaves what has arrived, from where it goes on', async () => {
  const script = { hold: 0.5, layers: 16, totalBytes: 808e6, planBytes: 808e6, storedBytes: 400e6, paceMs: 1e6 };
  const states = (page) => page.locator('#layer-strip .cell').evaluateAll((cells) => cells.map((cell) => cell.dataset.state));
  await withPage({ script, query: '?model=hf:some/model' }, async (page) => {
    await page.waitForSelector('#send:enabled');
    assert.match(await page.locator('#model-line').textContent(), /, 50 %$/);
    assert.match(await page.locator('#load-text').innerText(), /404 of 808 MB/);
    await page.fill('#question', 'Early');
    await page.press('#question', 'Enter');
    assert.match(await lastTurn(page).innerText(), /8 of 16 so far/);

    await page.click('#break');
    await page.waitForFunction(() => document.querySelector('#break').textContent === 'Go on');
    await page.waitForFunction(() => document.querySelector('#resume-proof').textContent.startsWith('Broken off at 50 %. 400 MB of 808 MB are kept'));
    assert.deepEqual(await states(page), [...Array(8).fill('stored'), ...Array(8).fill('absent')]);
    assert.deepEqual(await page.evaluate(() => [document.querySelector('#send').disabled, globalThis.seen.disposed]), [true, 1]);
    await page.click('#break');
    await page.waitForSelector('#send:enabled');
    await page.waitForFunction(() => document.querySelector('#break').disabled);
    assert.match(await page.locator('#resume-proof').innerText(), /^400 MB of it were here already/);
    assert.equal(await page.locator('.notice').count(), 0);
    assert.equal((await page.evaluate(() => globalThis.seen.engines)).length, 2);
  });
  await withPage({ script, query: '?model=hf:some/model' }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.evaluate(() => globalThis.failLoading({ code: 'Network', message: 'gone', retryable: true }));
    assert.match(await page.locator('[role=alert]').innerText(), /What had arrived is kept/);
    assert.match(await page.locator('#resume-proof').innerText(), /400 MB of 808 MB are kept/);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.waitForSelector('#send:enabled');
    assert.equal(await page.locator('[role=alert]').count(), 0);
  });
});

test('a first token that comes while the model arrives is said to', async () => {
  await withPage({ script: { hold: 0.5, layers: 16, answer: 'Early bird.' }, query: '?model=hf:some/model' }, async (page) => {
    await ask(page, 'Early');
    assert.match(await page.locator('#arrival-proof').innerText(), /^Asked while it was arriving/);
    assert.match(await page.locator('#first-token').innerText(), /\d (ms|s)$/);
    assert.equal(await page.locator('#speed').innerText(), '20');
  });
});

test('what is stored is listed, checked and deleted', async () => {
  const stored = ['whole', 'half', 'busy'].map((name, index) => ({
    source: `https://example.org/${name}.gguf`, bytes: 800e6, storedBytes: name === 'half' ? 300e6 : 800e6, complete: name !== 'half', lastUsed: Date.now() - index * 1e9,
  }));
  const script = { stored, unsound: stored[1].source, inUse: stored[2].source };
  await withPage({ script }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await openModels(page);
    const rows = page.locator('#stored-models li');
    const texts = await rows.allInnerTexts();
    assert.match(texts[0], /^whole\.gguf\s+800 MB, last used today/);
    assert.match(texts[1], /^half\.gguf\s+300 MB of 800 MB/);
    await page.getByRole('button', { name: 'Check whole.gguf' }).click();
    await rows.getByText('Every byte is sound.').waitFor();
    await page.getByRole('button', { name: 'Check half.gguf' }).click();
    await rows.getByText('missing or damaged').waitFor();
    await page.getByRole('button', { name: 'Delete busy.gguf' }).click();
    await rows.getByText('in use, here or in another tab').waitFor();
    await page.getByRole('button', { name: 'Delete whole.gguf' }).click();
    await page.waitForFunction(() => document.querySelectorAll('#stored-models li').length === 2);
    assert.match(await page.locator('#storage-estimate').innerText(), /1\.1 GB in use, 12 GB granted.*may delete/);
    await page.click('#persist');
    await page.waitForFunction(() => /deletes none/.test(document.querySelector('#storage-estimate').textContent));
    await page.getByRole('button', { name: 'Go on half.gguf' }).click();
    await page.waitForFunction(() => globalThis.seen.engines.at(-1).source.endsWith('half.gguf'));
    assert.equal(await page.locator('dialog[open]').count(), 0);
  });
});

test('tabs that are open are counted', async () => {
  await withPage({ script: {} }, async (page) => {
    const other = await page.context().newPage();
    await other.goto(server.url('/?model='));
    await other.waitForFunction(() => document.querySelector('#tabs-proof').textContent.startsWith('2 tabs'));
    await other.close();
    await page.bringToFront();
    await page.waitForFunction(() => document.querySelector('#tabs-proof').textContent.startsWith('Another tab'));
  });
});

test('a model that cannot be read leaves the present one in place', async () => {
  await withPage({ script: { planFailure: { code: 'NotFound', message: 'status 404' } } }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await loadAddress(page, 'https://example.org/none.gguf');
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
        const { id, textContent } = document.activeElement;
        const style = getComputedStyle(document.activeElement);
        return { id, text: textContent, shown: style.outlineStyle !== 'none' || style.boxShadow !== 'none' };
      });
      assert.ok(shown, `the focus on ${id || text} cannot be seen`);
      reached.add(id || text.trim());
      // Behind the last place comes the browser itself.
      if (id === 'open-settings') break;
    }
    for (const place of ['open-models', 'ceiling', 'reload', 'open-tab', 'All figures', 'question', 'send', 'open-settings']) {
      assert.ok(reached.has(place), `Tab does not reach ${place}`);
    }
    await page.focus('#open-models');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'source');
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'open-models');
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
    assert.equal(await page.locator('#machine').isVisible(), false);
    assert.ok((await page.locator('.bar').boundingBox()).height < 60, 'the model takes one line');
    await ask(page, long);
    await page.click('#machine-toggle');
    assert.equal(await page.locator('#machine').isVisible(), true);
    for (const fold of await page.locator('summary:visible').all()) await fold.click();
    assert.equal(await overflowsSideways(page), false);
    const box = await page.locator('#send').boundingBox();
    assert.ok(box.x + box.width <= 360 && box.y + box.height <= 740, 'Send is out of sight');
    await openModels(page);
    assert.equal(await page.locator('#models').evaluate((dialog) => dialog.scrollWidth > dialog.clientWidth), false);
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

/** What axe finds wrong with the page as it is. */
async function violations(page) {
  await page.evaluate(AXE);
  const { violations: found } = await page.evaluate(() => globalThis.axe.run());
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

test('axe finds nothing wrong, in whatever state the page is', async () => {
  const answer = '# A\n\n## B\n\n- *c*\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```js\ncode\n```\n\n[d](https://example.org)\n';
  const stored = [{ source: 'https://example.org/a.gguf', bytes: 8e8, storedBytes: 3e8, complete: false, lastUsed: 1 }];
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
      // Nothing moves, so that no colour is measured half way.
      const shape = { colorScheme, viewport, reducedMotion: 'reduce' };
      await withPage({ ...shape, script: { answer: `<think>\nHm.\n</think>\n${answer}`, stored } }, async (page) => {
        await page.waitForSelector('#send:enabled');
        assert.deepEqual(await violations(page), [], 'at first');
        await ask(page, 'go');
        assert.deepEqual(await violations(page), [], 'answered');
        if (viewport.width < 960) await page.click('#machine-toggle');
        assert.deepEqual(await violations(page), [], 'the panel');
        await openModels(page);
        assert.deepEqual(await violations(page), [], 'models');
        await page.keyboard.press('Escape');
        await page.click('#open-settings');
        assert.deepEqual(await violations(page), [], 'settings');
      });
      const held = { planBytes: 808e6, hold: 0.5, layers: 16, groups: ['pinned', 'pinned', 'ring', 'computing', 'fetching', 'stored', 'absent', 'pinned'], paceMs: 1e6 };
      await withPage({ ...shape, script: held, query: '?model=hf:some/model' }, async (page) => {
        await page.waitForSelector('.notice');
        assert.deepEqual(await violations(page), [], 'asked');
        await page.getByRole('button', { name: 'Download and start' }).click();
        await page.waitForSelector('#send:enabled');
        await page.fill('#question', 'go');
        await page.press('#question', 'Enter');
        if (viewport.width < 960) await page.click('#machine-toggle');
        assert.deepEqual(await violations(page), [], 'arriving');
        await page.click('#break');
        await page.waitForFunction(() => document.querySelector('#break').textContent === 'Go on');
        assert.deepEqual(await violations(page), [], 'broken off');
      });
      await withPage({ ...shape, script: { loadFailure: { code: 'InvalidGguf', message: 'bad magic' } } }, async (page) => {
        await page.waitForSelector('[role=alert]');
        assert.deepEqual(await violations(page), [], 'failed');
      });
    }
  }
});

test('nothing moves where less motion is asked for', { skip: notInFirefox('what drives it cannot ask for less motion') }, async () => {
  const groups = ['pinned', 'fetching', 'absent', 'pinned'];
  await withPage({ script: { groups }, reducedMotion: 'reduce' }, async (page) => {
    await page.waitForSelector('.cell[data-state=fetching]');
    assert.deepEqual(await page.evaluate(() => document.getAnimations().length), 0);
  });
});

test('a download that is broken off and reloaded fetches only what is missing', async () => {
  const path = '/models/four-pages.gguf';
  const size = server.files.get(path).length;
  const asked = (page) => page.locator('#traffic dd').allInnerTexts();
  // What lies beyond the second page hardly comes, for now: a server that fell silent would be given up.
  server.fault(path, ({ range = '' }) => (Number(/\d+/.exec(range)?.[0] ?? 0) >= 8 * 2 ** 20 ? { trickleAfter: 0 } : undefined));
  await withPage({ query: '?device=cpu&model=models/four-pages.gguf' }, async (page) => {
    await page.waitForSelector('#send:enabled');
    await page.waitForFunction(() => /^(4|5)\d %$/.test(document.querySelector('#model-line').textContent.split(', ').at(-1)));
    await page.click('#break');
    await page.waitForFunction(() => /MB of .* MB are kept/.test(document.querySelector('#resume-proof').textContent));
    server.heal();
    const before = server.log.length;
    await page.click('#reload');
    await page.waitForFunction(() => /were here already/.test(document.querySelector('#resume-proof').textContent));
    await page.waitForFunction(() => document.body.dataset.model === 'open' && document.querySelector('#break').disabled);
    const sent = server.log.slice(before).filter((entry) => entry.path === path).reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    assert.ok(sent < size * 0.75, `${sent} of ${size} bytes came again`);

    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.waitForFunction(() => document.body.dataset.model === 'open' && document.querySelector('#break').disabled);
    await other.waitForFunction(() => document.querySelector('#traffic dd'));
    assert.equal((await asked(other))[0], 'nothing');
  });
});

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
    await page.waitForFunction(() => /\d/.test(document.querySelector('#speed').textContent));
    await page.click('#figures summary');
    assert.match(await page.locator('#figure-list').innerText(), /\d tokens\/s/);
  });
});
