// The package in a page of an extension (Manifest V3): its own workers and wasm files, models from a server and its own.

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { builds, project } from '../bundlers/builds.mjs';
import { FLAGS, executablePath } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { notInFirefox, root } from './support.mjs';

const folder = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'extension');
const built = join(folder, 'built');
const model = tinyModel();
let server;
let context;
let id;

function assertAnswered({ error, finish, tokens }) {
  assert.equal(error, undefined);
  assert.equal(finish, 'length');
  assert.ok(tokens > 0);
}

/** What the extension's page says of a model. */
async function resultOf(address) {
  const page = await context.newPage();
  try {
    await page.goto(`chrome-extension://${id}/index.html?model=${encodeURIComponent(address)}`);
    const result = await page.waitForFunction(() => document.body?.dataset.result);
    return JSON.parse(await result.jsonValue());
  } finally {
    await page.close();
  }
}

describe('a page of an extension', { skip: notInFirefox('its extensions are installed by another protocol') }, () => {
  before(async () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    await builds.esbuild(project(join(folder, 'source')), built);
    cpSync(join(root, 'tests/bundlers/extension/manifest.json'), join(built, 'manifest.json'));
    writeFileSync(join(built, 'tiny.gguf'), model);
    server = await startServer({ files: { '/tiny.gguf': model } });
    context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: executablePath(),
      args: [...FLAGS, '--enable-unsafe-extension-debugging'],
      ignoreDefaultArgs: ['--disable-extensions'],
    });
    const session = await context.browser().newBrowserCDPSession();
    ({ id } = await session.send('Extensions.loadUnpacked', { path: built }));
  });

  after(async () => {
    await context?.close();
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('it reads a model from a server', async () => {
    assertAnswered(await resultOf(server.url('/tiny.gguf')));
  });

  test('it reads a model of its own', async () => {
    assertAnswered(await resultOf('/tiny.gguf'));
  });

  test('a model that it does not have is NotFound', async () => {
    const { error } = await resultOf('/other.gguf');
    assert.ok(error.startsWith(`NotFound: chrome-extension://${id}/other.gguf cannot be read`), error);
  });
});
