// The package inside apps built and served by the common bundlers, and by none: each must answer in the browser.

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { builds, devServers, project } from '../bundlers/builds.mjs';
import { emitted } from '../bundlers/emitted.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { openStage, root } from './support.mjs';

const folder = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'bundlers');
const placeOf = (kind, name) => join(folder, kind, name.replace(' ', '-'));
const roots = Object.fromEntries(Object.keys(builds).map((name) => [`/${name.replace(' ', '-')}/`, placeOf('built', name)]));
const stage = await openStage({ roots, files: { '/tiny.gguf': tinyModel() } });
after(() => rmSync(folder, { recursive: true, force: true }));

/** What the app has written into the page. */
async function resultOf(page) {
  const result = await page.waitForFunction(() => document.body?.dataset.result);
  return JSON.parse(await result.jsonValue());
}

function assertAnswered({ error, finish, tokens }) {
  assert.equal(error, undefined);
  assert.equal(finish, 'length');
  assert.ok(tokens > 0);
}

describe('a build', () => {
  for (const [name, build] of Object.entries(builds)) {
    test(name, async () => {
      const to = placeOf('built', name);
      await build(project(placeOf('source', name)), to);
      await stage.visit({ path: `/${name.replace(' ', '-')}/` }, async (page) => assertAnswered(await resultOf(page)));
      // Each worker and each wasm file once.
      const { scriptBytes, ...counts } = emitted(to);
      assert.deepEqual(counts, { workers: 3, distinctWorkers: 3, wasmFiles: 5, distinctWasmFiles: 5 });
      assert.ok(scriptBytes < 1.2 * emitted(join(root, 'pkg')).scriptBytes, `${scriptBytes} bytes of scripts`);
    });
  }
});

describe('a dev server', () => {
  const files = { 'public/tiny.gguf': tinyModel() };

  /** What a page of the dev server gets. */
  const served = (serve, from, options = {}) => serve(from, options, (address) =>
    stage.visit({}, async (page) => {
      await page.goto(address);
      return resultOf(page);
    }));

  for (const [name, serve] of Object.entries(devServers)) {
    test(`${name}, as installed`, async () => {
      assertAnswered(await served(serve, project(placeOf('served', name), { files })));
    });
  }

  test('that has lost the workers: the error names the address and the remedy, which works', async () => {
    const serve = devServers['vite 7'];
    const from = project(placeOf('served', 'renamed'), { name: 'renamed', files });
    const { error } = await served(serve, from);
    assert.match(error, /^WorkerFailed: .*http:\/\/localhost:\d+\/node_modules\/wasm-chord\/engine-worker\.js\S* could not be loaded: /);
    assert.ok(error.includes('optimizeDeps: { exclude: ['), error);
    assertAnswered(await served(serve, from, { optimizeDeps: { exclude: ['renamed'] } }));
  });
});

describe('an error that names the address and the remedy', () => {
  const outcome = (path, fault) => {
    stage.server.fault(path, fault);
    return stage.visit({}, (page) => page.evaluate(async () => {
      const { createEngine } = await import('/pkg/index.js');
      return createEngine({ model: '/tiny.gguf', store: 'none', device: 'cpu' }).then(() => 'opened', ({ code, message, details }) => ({ code, message, details }));
    })).finally(() => stage.server.fault(path, undefined));
  };

  for (const worker of ['engine-worker.js', 'io-worker.js']) {
    test(`${worker} is not there`, async () => {
      const { code, message } = await outcome(`/pkg/${worker}`, { status: 404 });
      assert.equal(code, 'WorkerFailed');
      assert.ok(message.includes(stage.server.url(`/pkg/${worker}`)), message);
      assert.ok(message.includes('HTTP 404') && message.includes('optimizeDeps'), message);
    });
  }

  test("a server answers with its page instead, as for an app's routes", async () => {
    const page = { body: '<!doctype html><title>app</title>', headers: { 'content-type': 'text/html' } };
    const { code, message, details } = await outcome('/pkg/engine-worker.js', page);
    const url = stage.server.url('/pkg/engine-worker.js');
    assert.equal(code, 'WorkerFailed');
    assert.deepEqual(details, { url, type: 'text/html' });
    assert.ok(message.includes(url) && message.includes('it came as text/html') && message.includes('optimizeDeps'), message);
  });

  test('modules of the engine worker are missing', async () => {
    const { code, message } = await outcome('/pkg/wasm/chord-simd.js', { status: 404 });
    assert.equal(code, 'WorkerFailed');
    assert.ok(message.includes('/pkg/engine-worker.js came, but did not run: a module that it imports from wasm/'), message);
  });
});
