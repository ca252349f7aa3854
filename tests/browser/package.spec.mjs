// The package as a whole: what is in it, that a server can import it, and that a page can under each policy.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { openStage, root } from './support.mjs';

const EXPORTS = ['ChordError', 'createEngine', 'modelStore', 'plan'];
const STRICT = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src data:";

const stage = await openStage();

test('the manifest names files that exist', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'pkg/package.json'), 'utf8'));
  const crate = readFileSync(join(root, 'Cargo.toml'), 'utf8');
  assert.ok(crate.includes(`version = "${manifest.version}"`), 'the version is the crate’s');
  assert.equal(manifest.dependencies, undefined);
  for (const path of [manifest.exports['.'].types, manifest.exports['.'].default, ...manifest.files.filter((name) => !name.includes('*'))]) {
    assert.ok(existsSync(join(root, 'pkg', path)), path);
  }
});

test('publint and attw find nothing wrong with the tarball', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wasm-chord-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const name = execFileSync('npm', ['pack', './pkg', '--offline', '--silent', '--pack-destination', folder], { cwd: root, encoding: 'utf8' }).trim();
  const tarball = new Uint8Array(readFileSync(join(folder, name)));
  const { messages } = await publint({ level: 'suggestion', strict: true, pack: { tarball: tarball.buffer } });
  assert.deepEqual(messages, []);
  const { problems, types } = await checkPackage(createPackageFromTarballData(tarball));
  assert.equal(types.kind, 'included');
  // The package has no CommonJS build: Node's newer versions require modules as they are.
  assert.deepEqual(problems.filter(({ kind }) => kind !== 'CJSResolvesToESM'), []);
});

test('a server can import the package', () => {
  const script = `
    const module = await import(${JSON.stringify(join(root, 'pkg/index.js'))});
    console.log(JSON.stringify(Object.keys(module).sort()));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
  assert.deepEqual(JSON.parse(output), EXPORTS);
});

for (const [policy, options] of [
  ['plain', {}],
  ['cross-origin isolated', { isolated: true }],
  ['without eval and blob:', { csp: STRICT }],
]) {
  test(`a page imports it: ${policy}`, () =>
    stage.visit(options, async (page) => {
      const result = await page.evaluate(async () => ({
        names: Object.keys(await import('/pkg/index.js')).sort(),
        isolated: crossOriginIsolated,
      }));
      assert.deepEqual(result, { names: EXPORTS, isolated: options.isolated === true });
    }));
}
