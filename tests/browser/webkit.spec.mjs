// The package in WebKitGTK, the nearest relative of Safari on Linux, where its small browser is installed (in Debian
// by webkit2gtk-driver) and Xvfb. It is not driven: a page does its work by itself, and tells what came of it by a
// request. The library has no access handles, so that nothing is stored here: store-webkit.spec.mjs simulates them.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';

const SCREEN = '/usr/bin/Xvfb';
const LIBRARIES = '/usr/lib/x86_64-linux-gnu';
/** The browser that comes with the library, of the newest one. */
const browser = !existsSync(LIBRARIES) ? undefined : readdirSync(LIBRARIES)
  .filter((name) => name.startsWith('webkit2gtk-')).sort()
  .map((name) => join(LIBRARIES, name, 'MiniBrowser')).findLast((path) => existsSync(path));
const missing = (!browser || !existsSync(SCREEN)) && 'there is no WebKitGTK here, or no Xvfb';

const model = tinyModel();

/** A page that runs `body` with the package at `address`, and tells the server what came of it. */
const page = (address, body) => Buffer.from(`<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">
<script type="module">
  const tell = (result) => fetch('/told?' + encodeURIComponent(JSON.stringify(result)));
  try {
    const chord = await import('${address}/pkg/index.js');
    await tell(await (${body})(chord));
  } catch (error) {
    await tell({ error: String(error), code: error.code });
  }
</script>`);

/** Runs in the page: an answer, and what else is known of the model. */
async function answer({ createEngine, modelStore, plan }) {
  const engine = await createEngine({ model: '/tiny.gguf' });
  const { choices } = await engine.completions.create({ prompt: 'a', max_tokens: 4, ignore_eos: true, temperature: 0, logprobs: 1 });
  await engine.loaded;
  await engine.dispose();
  const { contextLength } = await plan('/tiny.gguf');
  return { ids: choices[0].logprobs.token_ids, warnings: engine.model.warnings, stored: await modelStore.list(), isPlanned: contextLength > 0 };
}

describe('WebKitGTK', { skip: missing }, () => {
  const home = mkdtempSync(join(tmpdir(), 'wasm-chord-'));
  let server;
  let screen;
  let env;

  before(async () => {
    server = await startServer({ roots: { '/pkg/': join(root, 'pkg') }, files: { '/tiny.gguf': model } });
    screen = spawn(SCREEN, ['-displayfd', '1', '-screen', '0', '800x600x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const display = await new Promise((resolve, reject) => {
      screen.once('error', reject);
      screen.once('exit', () => reject(new Error('Xvfb ended')));
      screen.stdout.once('data', (data) => resolve(String(data).trim()));
    });
    env = { ...process.env, DISPLAY: `:${display}`, HOME: home, XDG_RUNTIME_DIR: home };
  });

  after(async () => {
    screen?.kill();
    await server?.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  });

  /** What a page tells that runs `body`. */
  async function told(address, body) {
    server.files.set('/page.html', page(address, body));
    server.files.set('/told', Buffer.from('thanks'));
    const from = server.log.length;
    const program = spawn(browser, [server.url('/page.html')], { env, stdio: 'ignore' });
    const ended = new Promise((resolve) => program.once('exit', resolve));
    try {
      for (;;) {
        const entry = server.log.slice(from).find(({ path }) => path === '/told');
        if (entry) return JSON.parse(decodeURIComponent(entry.query.slice(1)));
        if (program.exitCode !== null) throw new Error(`the browser ended with ${program.exitCode}`);
        await new Promise((done) => setTimeout(done, 50));
      }
    } finally {
      program.kill();
      await ended;
    }
  }

  const seen = [];
  for (const where of ['its own origin', 'another origin']) {
    test(`a page with the package from ${where} answers`, async () => {
      const address = where === 'another origin' ? server.otherOrigin : server.origin;
      const { ids, warnings, ...rest } = await told(address, answer);
      assert.deepEqual(rest, { stored: [], isPlanned: true });
      assert.equal(warnings.length, 1);
      assert.match(warnings[0], /the model is not kept on this device: there is no private file system here$/);
      assert.equal(ids.length, 4);
      seen.push(ids);
      assert.deepEqual(ids, seen[0]);
    });
  }
});
