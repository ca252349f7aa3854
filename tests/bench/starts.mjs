/**
 * Whether every engine starts, where many do so at once. `cargo xtask bench starts --browser firefox`
 *
 *     --browser NAME    chromium (default) or firefox
 *     --count N         engines; default 500
 *     --together N      of which so many start at a time; default 5
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startMany } from '../support/starts.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';

const { values } = parseArgs({
  options: {
    browser: { type: 'string', default: 'chromium' },
    count: { type: 'string', default: '500' },
    together: { type: 'string', default: '5' },
  },
});
process.env.CHORD_BROWSER = values.browser;
const { BLANK_PAGE, launch, root } = await import('../support/browser.mjs');
const { startServer } = await import('../support/server.mjs');

const server = await startServer({
  roots: { '/pkg/': join(root, 'pkg') },
  files: { '/blank.html': BLANK_PAGE, '/tiny.gguf': tinyModel() },
});
const browser = await launch();
const context = await browser.newContext();
const page = await context.newPage();
await page.goto(server.url('/blank.html'));
const asked = { address: '/pkg/index.js', model: '/tiny.gguf', count: Number(values.count), together: Number(values.together) };
const { tookMs, failures } = await page.evaluate(startMany, asked);
const version = browser.version();
await browser.close();
await server.close();

const sorted = tookMs.sort((a, b) => a - b);
const at = (share) => `${Math.round(sorted[Math.floor(share * (sorted.length - 1))])} ms`;
console.log(`${values.browser} ${version}: ${sorted.length} of ${asked.count} engines, ${asked.together} at a time, answered`);
console.log(`median ${at(0.5)}, 99 of 100 ${at(0.99)}, longest ${at(1)}`);
for (const failure of failures) console.log(failure);
process.exitCode = failures.length > 0 ? 1 : 0;
