// The hooks in an app of Vite's dev server, whose files are edited while it runs: React keeps what Fast Refresh keeps, and
// the engine outlives every edit.

import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import react from '@vitejs/plugin-react';
import { devServers, project } from '../bundlers/builds.mjs';
import { openStage, root } from './support.mjs';

const folder = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'hot');
after(() => rmSync(folder, { recursive: true, force: true }));
const stage = await openStage();

const PAGE = '<!doctype html><body><script type="module" src="./main.jsx"></script>';
const MAIN = `
  import { StrictMode } from 'react';
  import { createRoot } from 'react-dom/client';
  import { App } from './App.jsx';

  window.engines = new Set();
  createRoot(document.body.appendChild(document.createElement('div'))).render(<StrictMode><App /></StrictMode>);`;
const APP = `
  import { Chat } from './Chat.jsx';
  import { useEngine } from 'wasm-chord/react';

  export function App() {
    const { engine, error } = useEngine({ model: MODEL, store: 'none', device: 'cpu', threads: 1 });
    if (engine) window.engines.add(engine);
    return <><h1>{engine ? 'ready' : String(error ?? 'loading')}</h1><Chat engine={engine} /></>;
  }`;
const CHAT = `
  import { useChat } from 'wasm-chord/react';

  export function Chat({ engine }) {
    const chat = useChat(engine, { temperature: 0, max_tokens: 200 });
    window.chat = chat;
    return <p id="chat" data-kind="first">{chat.messages.length}</p>;
  }`;

/** Runs `body` with a page of the dev server whose engine is ready, and a function that edits a file of the app. */
async function withApp(name, body) {
  const files = {
    'index.html': PAGE, 'main.jsx': MAIN, 'Chat.jsx': CHAT,
    'App.jsx': APP.replace('MODEL', JSON.stringify(stage.server.url('/models/chord-tiny.gguf'))),
  };
  const from = project(join(folder, name), { files });
  const edit = (file, change) => writeFileSync(join(from, file), change(readFileSync(join(from, file), 'utf8')));
  await devServers['vite 8'](from, { plugins: [react()], logLevel: 'silent' }, (address) => stage.visit({ allow: [/\[vite\]|Internal Server Error|SyntaxError/] }, async (page) => {
    await page.goto(address);
    await page.waitForFunction(() => document.querySelector('h1')?.textContent === 'ready');
    // A reload of the page would lose it.
    await page.evaluate(async () => {
      window.isSame = true;
      await [...window.engines][0].loaded;
    });
    const downloads = stage.server.requests('/models/chord-tiny.gguf').length;
    await body(page, edit);
    assert.deepEqual(await page.evaluate(() => [window.isSame, window.engines.size, document.querySelector('h1').textContent]), [true, 1, 'ready']);
    assert.equal(stage.server.requests('/models/chord-tiny.gguf').length, downloads, 'nothing is fetched again');
    const answer = await page.evaluate(() => [...window.engines][0].completions.create({ prompt: 'Once', max_tokens: 2 }));
    assert.equal(answer.usage.completion_tokens, 2);
  }));
}

/** Waits until the chat is of this edit. */
const shows = (page, kind) => page.waitForFunction((wanted) => document.querySelector('#chat')?.dataset.kind === wanted, kind);
const told = (page) => page.evaluate(() => window.chat.messages.map(({ role, content }) => [role, content.length > 0]));
const send = (page) => page.evaluate(async () => {
  await window.chat.send('Tell me a story.');
  await new Promise((done) => setTimeout(done, 50));
});
const ANSWERED = [['user', true], ['assistant', true]];

test('an edited component has its engine and its messages', () => withApp('edited', async (page, edit) => {
  await send(page);
  edit('Chat.jsx', (code) => code.replace('"first"', '"second"'));
  await shows(page, 'second');
  assert.deepEqual(await told(page), ANSWERED);
  edit('App.jsx', (code) => code.replace('<h1>', '<h1 title="edited">'));
  await page.waitForSelector('h1[title=edited]');
  assert.deepEqual(await told(page), ANSWERED);
  await send(page);
  assert.deepEqual(await told(page), [...ANSWERED, ...ANSWERED]);
}));

test('an answer that is being written goes on through an edit', () => withApp('writing', async (page, edit) => {
  await page.evaluate(() => {
    window.sent = window.chat.send('Tell me a story.');
    window.whole = [...window.engines][0].chat.completions.create({ messages: [{ role: 'user', content: 'Tell me a story.' }], temperature: 0, max_tokens: 200 });
  });
  await page.waitForFunction(() => window.chat.messages.length === 2);
  edit('Chat.jsx', (code) => code.replace('"first"', '"second"'));
  await shows(page, 'second');
  await page.waitForFunction(() => !window.chat.isRunning);
  const [written, whole, error] = await page.evaluate(async () => {
    await window.sent;
    return [window.chat.messages[1].content, (await window.whole).choices[0].message.content, window.chat.error];
  });
  assert.equal(error, undefined);
  assert.equal(written, whole);
}));

test('where other hooks make React begin a component anew, the engine is the same', () => withApp('hooks', async (page, edit) => {
  await send(page);
  edit('Chat.jsx', (code) => code.replace('"first"', '"second"').replace('const chat', 'useState(7);\n    const chat').replace('import', "import { useState } from 'react';\n  import"));
  await shows(page, 'second');
  assert.deepEqual(await told(page), []);
  await send(page);
  assert.deepEqual(await told(page), ANSWERED);
  edit('App.jsx', (code) => code.replace('const {', 'useState(7);\n    const {').replace('import', "import { useState } from 'react';\n  import"));
  await page.waitForFunction(() => window.chat.messages.length === 0);
}));

test('an edit that does not parse is mended without a loss', () => withApp('broken', async (page, edit) => {
  await send(page);
  edit('Chat.jsx', (code) => code.replace('return <p', 'return <<p'));
  await page.waitForSelector('vite-error-overlay', { state: 'attached' });
  assert.deepEqual(await told(page), ANSWERED);
  edit('Chat.jsx', (code) => code.replace('return <<p', 'return <p').replace('"first"', '"second"'));
  await shows(page, 'second');
  assert.deepEqual(await told(page), ANSWERED);
}));
