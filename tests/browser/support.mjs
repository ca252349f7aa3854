/**
 * What the browser specs share: a browser, a server with the package on it, and pages whose stray errors
 * fail the test.
 *
 *     const stage = await openStage();
 *     test('it tokenises', () => stage.visit({ isolated: true }, async (page) => {
 *       const ids = await page.evaluate(async () => { const { createEngine } = await import('/pkg/index.js'); … });
 *     }));
 */

import { join } from 'node:path';
import { after, test } from 'node:test';
import { build } from 'esbuild';
import { BLANK_PAGE, isFirefox, launch, notInFirefox, root, selftest, sharedData } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

export { isFirefox, notInFirefox, root, sharedData };

/** Why a test that compares with the reference data cannot run, or false: for the `skip` of a test. */
export const skipWithoutData = sharedData === undefined && 'no reference data';

/** A test of the GPU, with node's options. */
export const gpuTest = (name, ...rest) => {
  const [options, body] = rest.length > 1 ? rest : [{}, rest[0]];
  test(name, { ...options, skip: notInFirefox('it offers no WebGPU on this system') || options.skip }, body);
};

/**
 * The browser's own note on every answer that is not a success, and Firefox's, without a word, on a worker that does
 * not load; tests of faults look at the code's errors.
 */
const NETWORK_NOTE = isFirefox ? /^Loading (Worker|module|failed)|^undefined$/ : /^Failed to load resource/;

/** How long a test waits for its page: only what hangs is ended by it, however loaded the machine is. */
const PATIENCE_MS = 300_000;

/**
 * A browser and a server for the tests of one file; both are closed after its last test.
 * Options: those of startServer, and `gpu`. The package is at /pkg/, the selftest builds at /selftest/,
 * the models of the repository at /models/, the reference data at /data/.
 */
export async function openStage({ gpu = false, roots = {}, files = {}, ...options } = {}) {
  const server = await startServer({
    roots: {
      '/pkg/': join(root, 'pkg'),
      '/selftest/': selftest,
      '/models/': join(root, 'models'),
      ...(sharedData ? { '/data/': sharedData } : {}),
      ...roots,
    },
    files: { '/blank.html': BLANK_PAGE, ...files },
    ...options,
  });
  const stage = new Stage(await launch({ gpu }), server);
  after(() => stage.close());
  return stage;
}

class Stage {
  constructor(browser, server) {
    this.browser = browser;
    this.server = server;
  }

  /**
   * Opens a page in a fresh profile, runs `body` with it, and fails if the page had an error that nothing
   * caught: exceptions, rejections, console errors, in workers too.
   *
   * @param {object} options
   * @param {string} [options.path]      the page; default: a blank one
   * @param {boolean} [options.isolated] whether it is cross-origin isolated
   * @param {string} [options.csp]       its Content-Security-Policy, and its workers'
   * @param {RegExp[]} [options.allow]   errors that are part of the test
   * @param {(page: import('playwright-core').Page) => Promise<T>} body
   * @template T
   */
  async visit({ path = '/blank.html', isolated = false, csp, allow = [] }, body) {
    this.server.isolated = isolated;
    this.server.csp = csp;
    const context = await this.browser.newContext();
    context.setDefaultTimeout(PATIENCE_MS);
    const problems = [];
    const note = (text) => {
      if (!NETWORK_NOTE.test(text) && !allow.some((pattern) => pattern.test(text))) problems.push(text);
    };
    context.on('weberror', (event) => note(event.error().stack ?? String(event.error())));
    context.on('console', (message) => message.type() === 'error' && note(message.text()));
    try {
      const page = await context.newPage();
      page.on('crash', () => note('the page crashed'));
      await page.goto(this.server.url(path));
      const result = await body(page);
      if (problems.length > 0) throw new Error(`the page had errors:\n${problems.join('\n')}`);
      return result;
    } catch (error) {
      // What the page said is often the reason for what the test saw.
      if (problems.length > 0 && !error.message.startsWith('the page had')) {
        error.message += `\nThe page also had errors:\n${problems.join('\n')}`;
      }
      throw error;
    } finally {
      await context.close();
    }
  }

  async close() {
    await this.browser.close();
    await this.server.close();
  }
}

/** The bytes of a module that a page imports, bundled from source text that may import what tests have installed. */
export async function bundled(contents, options = {}) {
  const { outputFiles } = await build({ stdin: { contents, resolveDir: root }, bundle: true, format: 'esm', platform: 'browser', write: false, ...options });
  return Buffer.from(outputFiles[0].contents);
}
