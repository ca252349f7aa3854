// The package on another origin than the page, as from a CDN.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { openStage } from './support.mjs';

const stage = await openStage({ files: { '/tiny.gguf': tinyModel() } });
const { server } = stage;
const cdn = server.otherOrigin;

/** All that such a page is: one script. */
const page = (address) => Buffer.from(`<!doctype html><html lang="en"><meta charset="utf-8"><title>from a CDN</title><link rel="icon" href="data:,">
<script type="module">
  import { createEngine, modelStore, plan } from '${address}/pkg/index.js';
  document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => { document.body.dataset.forbidden = violatedDirective; });
  const answer = async () => {
    const engine = await createEngine({ model: '/tiny.gguf' });
    const { usage } = await engine.completions.create({ prompt: 'a', max_tokens: 4, ignore_eos: true });
    await engine.loaded;
    await engine.dispose();
    const { contextLength } = await plan('/tiny.gguf');
    return { tokens: usage.completion_tokens, stored: (await modelStore.list()).length, planned: contextLength > 0 };
  };
  const result = await answer().catch(({ code, message }) => ({ code, message }));
  document.body.dataset.result = JSON.stringify(result);
</script>`);
server.files.set('/elsewhere.html', page(cdn));

const visit = (options = {}) => stage.visit({ path: '/elsewhere.html', ...options }, async (opened) => {
  const result = await opened.waitForFunction(() => document.body?.dataset.result);
  return JSON.parse(await result.jsonValue());
});

const askedOf = (origin, from) => server.log.slice(from).filter(({ path, port }) => path.startsWith('/pkg/') && origin.endsWith(`:${port}`));

test('a page of one script from another origin answers, and all of the package comes from there', async () => {
  const from = server.log.length;
  assert.deepEqual(await visit(), { tokens: 4, stored: 1, planned: true });
  assert.deepEqual(askedOf(server.origin, from), []);
  const asked = new Set(askedOf(cdn, from).map(({ path }) => path));
  for (const name of ['index.js', 'engine-worker.js', 'io-worker.js', 'store-worker.js', 'wasm/chord-relaxed.wasm']) {
    assert.ok(asked.has(`/pkg/${name}`), name);
  }
});

test('a cross-origin isolated page does so too', async () => {
  assert.deepEqual(await visit({ isolated: true }), { tokens: 4, stored: 1, planned: true });
});

test('of a policy it needs the other origin for scripts, workers and requests, and blob: for workers', async () => {
  const csp = `default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' ${cdn}; worker-src blob: ${cdn}; connect-src 'self' ${cdn}; img-src data:`;
  assert.deepEqual(await visit({ csp }), { tokens: 4, stored: 1, planned: true });
  const narrow = csp.replace('worker-src blob:', 'worker-src');
  const { code } = await visit({ csp: narrow, allow: [/Content.Security.Policy/] });
  assert.equal(code, 'WorkerFailed');
});

test('scripts that the other origin does not allow the page to load are WorkerFailed, which names the address', async () => {
  server.fault('/pkg/engine-worker.js', { noCors: true });
  try {
    const { code, message } = await visit({ allow: [/CORS|Cross-Origin/] });
    assert.equal(code, 'WorkerFailed');
    assert.ok(message.includes(`${cdn}/pkg/engine-worker.js`), message);
  } finally {
    server.fault('/pkg/engine-worker.js', undefined);
  }
});
