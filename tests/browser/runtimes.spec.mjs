// The package in runtimes beside browsers: it must answer there as it is installed, on the CPU and without a store.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { startServer } from '../support/server.mjs';
import { root } from '../support/browser.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';

const RUNTIMES = [
  { name: 'Bun', program: process.env.BUN_PATH ?? join(root, 'node_modules/@oven/bun-linux-x64/bin/bun'), options: [] },
  { name: 'Deno', program: process.env.DENO_PATH ?? join(root, 'node_modules/@deno/linux-x64-glibc/deno'), options: ['run', '--allow-read', '--allow-net'] },
];

const model = tinyModel();
const folder = mkdtempSync(join(tmpdir(), 'wasm-chord-'));
const file = join(folder, 'model.gguf');
writeFileSync(file, model);
const server = await startServer({ files: { '/model.gguf': model } });
after(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

for (const { name, program, options } of RUNTIMES) {
  test(`${name} answers`, { skip: !existsSync(program) && `there is no ${name} here` }, async () => {
    const script = join(root, 'tests/runtimes/answer.mjs');
    const given = [...options, script, join(root, 'pkg/index.js'), server.url('/model.gguf'), file];
    const { stdout } = await promisify(execFile)(program, given, { cwd: folder, env: { ...process.env, NO_COLOR: '1' } });
    const [local, remote] = JSON.parse(stdout.trim().split('\n').at(-1));
    assert.deepEqual([local.tokens, remote.tokens], [5, 5]);
    assert.deepEqual(local.ids, remote.ids);
    assert.deepEqual(local.warnings, []);
    assert.match(remote.warnings.join(), /the model is not kept on this device: there is no private file system here$/);
  });
}
