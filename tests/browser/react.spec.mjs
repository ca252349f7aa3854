// The hooks in a real React, in StrictMode and among components that suspend.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundled, openStage, root } from './support.mjs';

const APP = `
  import { createElement, lazy, StrictMode, Suspense, use, useState } from 'react';
  import { createRoot } from 'react-dom/client';
  import { useChat, useEngine } from 'wasm-chord/react';

  const seen = window.seen = { statuses: [], answers: new Set() };
  function Chat({ options }) {
    const state = useEngine(options);
    const chat = useChat(state.engine, { temperature: 0, max_tokens: 24 });
    if (seen.statuses.at(-1) !== state.status) seen.statuses.push(state.status);
    seen.answers.add(chat.messages.at(-1)?.role === 'assistant' ? chat.messages.at(-1).content : '');
    window.current = { ...state, ...chat, refusal: state.error };
    return createElement('p', null, JSON.stringify(chat.messages));
  }
  const inStrictMode = (...children) => createElement(StrictMode, null, ...children);
  let mounted;
  window.mount = (...all) => {
    mounted = createRoot(document.body.appendChild(document.createElement('div')));
    mounted.render(inStrictMode(...all.map((options, key) => createElement(Chat, { key, options }))));
  };
  window.unmount = () => mounted.unmount();

  const gates = new Map();
  const gate = (name) => {
    if (!gates.has(name)) gates.set(name, Promise.withResolvers());
    return gates.get(name);
  };
  window.openGate = (name) => gate(name).resolve({ default: () => null });
  const Waiting = ({ name }) => use(gate(name).promise) && null;
  // It asks for the engine, and suspends before it was ever mounted.
  function Suspending({ options, name }) {
    useEngine(options);
    use(gate(name).promise);
    return createElement(Chat, { options });
  }
  const Lazy = lazy(() => gate('lazy').promise);
  function Scene({ kind, options }) {
    const [name, suspendOn] = useState('first');
    window.suspendOn = suspendOn;
    const chat = createElement(Chat, { options });
    const children = {
      sibling: [chat, createElement(Waiting, { name })],
      lazy: [createElement(Lazy), chat],
      itself: [createElement(Suspending, { options, name })],
    }[kind];
    return createElement(Suspense, { fallback: createElement('i', null, 'waits') }, ...children);
  }
  window.mountScene = (kind, options) => {
    mounted = createRoot(document.body.appendChild(document.createElement('div')));
    mounted.render(inStrictMode(createElement(Scene, { kind, options })));
  };`;

/** The package beside the app is the one that is served, and counts its engines. */
const servedPackage = {
  name: 'served-package',
  setup({ onResolve }) {
    onResolve({ filter: /^wasm-chord\/react$/ }, () => ({ path: join(root, 'pkg/react.js') }));
    onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: '/counting.js', external: true }));
  },
};
const app = await bundled(APP, { define: { 'process.env.NODE_ENV': '"development"' }, plugins: [servedPackage] });
const COUNTING = `
  import { createEngine as create } from '/pkg/index.js';
  window.opened = [];
  export const createEngine = (options) => { const engine = create(options); window.opened.push(engine.catch(() => undefined)); return engine; };`;
const stage = await openStage({ files: { '/app.js': app, '/counting.js': Buffer.from(COUNTING) } });

const OPTIONS = { model: '/models/chord-tiny.gguf', store: 'none', device: 'cpu' };

/** Runs `steps` in a page with the app. */
const inApp = (steps) => stage.visit({}, async (page) => {
  await page.evaluate(() => import('/app.js'));
  return steps(page);
});
const ready = (page) => page.waitForFunction(() => window.current?.status === 'ready');

test('in StrictMode there is one engine, and its chat is the engine’s', () => inApp(async (page) => {
  await page.evaluate((options) => window.mount(options, { ...options }), OPTIONS);
  await ready(page);
  const { opened, statuses, messages, own, answers, text } = await page.evaluate(async () => {
    await window.current.send('Tell me a story about a fox.');
    const asked = [{ role: 'user', content: 'Tell me a story about a fox.' }];
    const answer = await window.current.engine.chat.completions.create({ messages: asked, temperature: 0, max_tokens: 24 });
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return {
      opened: window.opened.length, statuses: window.seen.statuses, messages: window.current.messages,
      own: answer.choices[0].message.content, answers: window.seen.answers.size, text: document.body.innerText,
    };
  });
  assert.equal(opened, 1);
  assert.deepEqual(statuses, ['loading', 'ready']);
  assert.deepEqual(messages, [{ role: 'user', content: 'Tell me a story about a fox.' }, { role: 'assistant', content: own }]);
  assert.ok(answers > 3, `${answers} states of the answer were shown`);
  assert.ok(text.includes(JSON.stringify(own).slice(1, -1)), text);
}));

test('an answer can be stopped, and another one asked for', () => inApp(async (page) => {
  await page.evaluate((options) => window.mount(options), OPTIONS);
  await ready(page);
  const { error, roles } = await page.evaluate(async () => {
    const first = window.current.send('Tell me a story about a fox.');
    while (!window.current.messages.at(-1)?.content || window.current.messages.length < 2) await new Promise((done) => setTimeout(done, 1));
    window.current.stop();
    await first;
    // What a component sees comes with its next rendering.
    const rest = async () => { while (window.current.isRunning) await new Promise((done) => setTimeout(done, 5)); };
    await rest();
    await window.current.send([{ role: 'user', content: 'And a dog?' }]);
    await rest();
    const { error, messages } = window.current;
    return { error: error && String(error), roles: messages.map(({ role }) => role) };
  });
  assert.deepEqual({ error, roles }, { error: undefined, roles: ['user', 'assistant', 'user', 'assistant'] });
}));

test('an engine outlives a remount, and is disposed when nobody uses it', () => inApp(async (page) => {
  await page.evaluate((options) => window.mount(options), OPTIONS);
  await ready(page);
  await page.evaluate((options) => {
    window.unmount();
    window.current = undefined;
    window.mount(options);
    // The page stands still, for longer than an engine without users is kept.
    for (const startMs = performance.now(); performance.now() < startMs + 2000;);
  }, OPTIONS);
  await ready(page);
  assert.equal(await page.evaluate(() => window.opened.length), 1);
  await page.evaluate(() => window.unmount());
  const code = await page.evaluate(async () => {
    const engine = await window.opened[0];
    for (;;) {
      const failure = await engine.stats().then(() => undefined, (error) => error.code);
      if (failure) return failure;
      await new Promise((done) => setTimeout(done, 50));
    }
  });
  assert.equal(code, 'Disposed');
}));

test('unmounting at every moment of the start leaves no worker behind', () => inApp(async (page) => {
  for (let ms = 0; ms < 20; ms += 1) {
    await page.evaluate(async ([options, pause]) => {
      // Each has options of its own, and so an engine of its own.
      window.mount({ ...options, contextLength: 256 + pause });
      await new Promise((done) => setTimeout(done, 15 * pause));
      window.unmount();
    }, [OPTIONS, ms]);
  }
  while (page.workers().length > 0) await new Promise((done) => setTimeout(done, 50));
  // The first may be gone before its effects run.
  assert.ok(await page.evaluate(() => window.opened.length) >= 19);
}));

test('a failure is told, and no model is none', () => inApp(async (page) => {
  await page.evaluate((options) => window.mount({ ...options, threads: 0 }), OPTIONS);
  await page.waitForFunction(() => window.current?.status === 'failed');
  assert.deepEqual(await page.evaluate(() => [window.current.refusal.code, window.current.engine === undefined]), ['InvalidParameter', true]);
  await page.evaluate(() => { window.unmount(); window.mount(null); });
  await page.waitForFunction(() => window.current?.status === 'idle');
}));

/** Lets time pass for as long as an engine without users is kept, and longer. */
const outliveGrace = () => new Promise((done) => setTimeout(done, 2_000));
const waits = (page) => page.waitForSelector('i');
const isAnswered = (page) => page.evaluate(async () => (await window.current.engine.completions.create({ prompt: 'Once', max_tokens: 2 })).usage.completion_tokens);

for (const [kind, gate, what] of [['sibling', 'first', 'beside one'], ['lazy', 'lazy', 'beside a lazy one'], ['itself', 'first', 'that is one']]) {
  test(`a component ${what} that suspends before it is mounted has one engine`, () => inApp(async (page) => {
    await page.evaluate(([scene, options]) => window.mountScene(scene, options), [kind, OPTIONS]);
    await waits(page);
    // What React throws away has opened nothing.
    assert.equal(await page.evaluate(() => window.opened.length), 0);
    await page.evaluate((name) => window.openGate(name), gate);
    await ready(page);
    await outliveGrace();
    assert.deepEqual([await page.evaluate(() => window.opened.length), await isAnswered(page)], [1, 2]);
  }));
}

test('one that is thrown away for good leaves nothing behind', () => inApp(async (page) => {
  await page.evaluate((options) => window.mountScene('itself', options), OPTIONS);
  await waits(page);
  await page.evaluate(() => window.unmount());
  await outliveGrace();
  assert.deepEqual([await page.evaluate(() => window.opened.length), page.workers().length], [0, 0]);
}));

test('a component that is hidden while another one suspends keeps its engine, and its answer goes on', () => inApp(async (page) => {
  await page.evaluate((options) => { window.openGate('first'); window.mountScene('sibling', options); }, OPTIONS);
  await ready(page);
  await page.evaluate(() => {
    window.sent = window.current.send('Tell me a story about a fox.');
    window.suspendOn('second');
  });
  await waits(page);
  await page.evaluate(() => window.sent);
  await outliveGrace();
  await page.evaluate(() => window.openGate('second'));
  await page.waitForFunction(() => window.current.messages.length === 2 && !window.current.isRunning);
  const [opened, answer, own] = await page.evaluate(async () => {
    const { engine, messages } = window.current;
    const told = await engine.chat.completions.create({ messages: messages.slice(0, 1), temperature: 0, max_tokens: 24 });
    return [window.opened.length, messages[1].content, told.choices[0].message.content];
  });
  assert.deepEqual([opened, answer], [1, own]);
}));

test('a hundred mounts, some of which suspend, are of one engine, and the last one leaves nothing', () => inApp(async (page) => {
  await page.evaluate(async (options) => {
    window.openGate('first');
    window.openGate('lazy');
    for (let cycle = 0; cycle < 100; cycle += 1) {
      if (cycle % 2 === 0) window.mount(options);
      else window.mountScene(['sibling', 'lazy', 'itself'][cycle % 3], options);
      const turn = () => new Promise((done) => setTimeout(done, cycle % 7 * 5));
      await turn();
      // Between two users there is one mount that may come to nothing: the grace does not depend on the machine.
      while (cycle % 2 === 0 && document.querySelector('p') === null) await turn();
      if (cycle % 5 === 0) window.suspendOn?.(`cycle ${cycle}`);
      if (cycle < 99) window.unmount();
    }
  }, OPTIONS);
  await ready(page);
  assert.deepEqual([await page.evaluate(() => window.opened.length), await isAnswered(page)], [1, 2]);
  await page.evaluate(() => window.unmount());
  while (page.workers().length > 0) await new Promise((done) => setTimeout(done, 50));
}));
