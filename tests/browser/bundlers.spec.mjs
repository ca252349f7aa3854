// The package inside apps built by the common bundlers, and by none: each must answer in the browser.

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { builds, project } from '../bundlers/builds.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { openStage, root } from './support.mjs';

const folder = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'bundlers');
const roots = Object.fromEntries(Object.keys(builds).map((name) => [`/${name}/`, join(folder, 'built', name)]));
const stage = await openStage({ roots, files: { '/tiny.gguf': tinyModel() } });
after(() => rmSync(folder, { recursive: true, force: true }));

for (const [name, build] of Object.entries(builds)) {
  test(name, async () => {
    await build(project(join(folder, 'source', name)), join(folder, 'built', name));
    await stage.visit({ path: `/${name}/` }, async (page) => {
      const answer = await page.waitForFunction(() => document.body.dataset.result);
      const result = JSON.parse(await answer.jsonValue());
      assert.equal(result.error, undefined);
      assert.equal(result.finish, 'length');
      assert.ok(result.tokens > 0);
    });
  });
}
