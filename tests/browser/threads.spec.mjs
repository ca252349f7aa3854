// Several threads compute one model: the tokens are those of one thread, wherever the model comes from, whether the
// page may share memory or not, and whatever becomes of a thread. Tests are numbered by the faults that the package
// must survive.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { openStage, root } from './support.mjs';

const MODEL = '/model.gguf';
const PLAIN = '/plain.gguf';
const WORKER = '/pkg/engine-worker.js';
const model = tinyModel({ layers: 3, width: 128, feedForward: 1024, context: 512 });

const stage = await openStage({ files: { [MODEL]: model, [PLAIN]: model } });
const { server } = stage;
let expected;

/** Opens the model and asks it three things: what came out, and how. */
const answers = (page, options) => page.evaluate(async ({ isFile, ...given }) => {
  const file = isFile ? new File([await (await fetch(given.model)).blob()], 'model.gguf') : undefined;
  let engine;
  try {
    engine = await chord.open({ ...given, ...file ? { model: file } : {}, network: { backoffMs: 20 } });
    const ask = async (body) => {
      const { choices } = await engine.completions.create({ max_tokens: 12, logprobs: 2, ...body });
      return choices.map(({ logprobs: { token_ids: ids, token_logprobs: logprobs } }) => ({ ids, logprobs }));
    };
    // A prompt of several batches, one that begins like it, and another choice of each token.
    const long = 'the hello '.repeat(30);
    const all = [
      await ask({ prompt: long, temperature: 0 }),
      await ask({ prompt: `${long}a`, temperature: 0, draft_max: 4 }),
      await ask({ prompt: 'hello', temperature: 1, seed: 5, n: 2 }),
    ];
    const { data } = await engine.embeddings.create({ input: 'hello' });
    await engine.loaded;
    const { threads, memory, layers } = await engine.stats();
    return { all: [...all, data[0].embedding], threads, memory, layers, warnings: engine.model.warnings };
  } catch (error) {
    return chord.failure(error);
  } finally {
    await engine?.dispose();
  }
}, { model: MODEL, store: 'none', ...options });

function assertSame(result, threads) {
  assert.equal(result.code, undefined, result.message);
  assert.deepEqual(result.all, expected.all);
  assert.equal(result.threads, threads);
}

before(async () => {
  expected = await withChord(stage, (page) => answers(page, { threads: 1 }));
  assertSame(expected, 1);
});

const kinds = [{ isolated: false, name: 'by messages' }, { isolated: true, name: 'through shared memory' }];

for (const { isolated, name } of kinds) {
  describe(`threads that exchange ${name}`, () => {
    test('41 give the tokens of one, for any number of them, from the server, the store and a file', async () => {
      await withChord(stage, async (page) => {
        assert.equal(await page.evaluate(() => crossOriginIsolated), isolated);
        for (const threads of [2, 3, 8]) {
          assertSame(await answers(page, { threads }), threads);
          assertSame(await answers(page, { threads, isFile: true }), threads);
        }
        // Fetched, then read back.
        for (const threads of [2, 3]) assertSame(await answers(page, { threads, store: 'opfs' }), threads);
      }, { isolated });
    });

    test('a ceiling that the model fits keeps the threads, one that it does not leaves one, and says so', async () => {
      await withChord(stage, async (page) => {
        const whole = await answers(page, { threads: 2 });
        const maxResidentBytes = whole.memory.budgetBytes;
        assertSame(await answers(page, { threads: 2, maxResidentBytes }), 2);
        const less = { threads: 2, maxResidentBytes: Math.ceil(maxResidentBytes * 0.7) };
        assertSame(await answers(page, less), 1);
        const plan = await page.evaluate((given) => chord.planned(given), { model: MODEL, store: 'none', ...less });
        assert.equal(plan.threads, 1);
        assert.ok(plan.reasons.some((reason) => reason.startsWith('2 threads were asked for')), plan.reasons.join('; '));
      }, { isolated });
    });

    test('a server that ignores ranges is read once', async () => {
      server.fault(PLAIN, () => ({ ignoreRange: true }));
      assertSame(await withChord(stage, (page) => answers(page, { model: PLAIN, threads: 2 }), { isolated }), 2);
      server.fault(PLAIN, undefined);
    });

    /** Runs with a second engine worker, the other thread, that does `act` when it hands over part number `count`. */
    async function sabotaged(count, act) {
      const stub = `{
        let count = 0;
        const act = () => { count += 1; ${act(`count === ${count}`)} };
        const { postMessage } = MessagePort.prototype;
        const { notify } = Atomics;
        Atomics.notify = function (...given) { act(); return notify.apply(this, given); };
        MessagePort.prototype.postMessage = function (...given) {
          if (given[0] instanceof ArrayBuffer) act();
          return postMessage.apply(this, given);
        };
      }`;
      const script = await readFile(join(root, WORKER), 'utf8');
      const headers = { 'content-type': 'text/javascript', 'cache-control': 'no-store' };
      server.fault(WORKER, [{ body: script, headers }, { body: `${stub}\n${script}`, headers }]);
      try {
        return await withChord(stage, (page) => answers(page, { threads: 2 }), { isolated });
      } finally {
        server.fault(WORKER, undefined);
      }
    }

    // In the prompt, between passes, and while tokens are made.
    for (const count of [3, 40, 70]) {
      test(`37 42 a thread that ends at part ${count} is done without`, async () => {
        const result = await sabotaged(count, (isTime) => `if (${isTime}) { close(); throw new Error('ended'); }`);
        assertSame(result, 1);
        assert.ok(result.warnings.some((warning) => /one thread goes on/.test(warning)), result.warnings.join('; '));
      });
    }

    test('40 42 a thread that stands still is done without', async () => {
      const still = 'Atomics.wait(new Int32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer), 0, 0);';
      assertSame(await sabotaged(20, (isTime) => `if (${isTime}) ${still}`), 1);
    });

    test('a slow thread is waited for', async () => {
      const slow = 'const untilMs = performance.now() + 10; while (performance.now() < untilMs);';
      assertSame(await sabotaged(0, () => slow), 2);
    });

    test('a script that the other thread cannot load leaves one', async () => {
      const headers = { 'content-type': 'text/javascript', 'cache-control': 'no-store' };
      const script = await readFile(join(root, WORKER), 'utf8');
      server.fault(WORKER, [{ body: script, headers }, { status: 404 }, { status: 404 }, { status: 404 }]);
      const result = await withChord(stage, (page) => answers(page, { threads: 2 }), { isolated });
      server.fault(WORKER, undefined);
      assertSame(result, 1);
    });

    test('engines that are disposed of at any time end all their threads', async () => {
      const left = await withChord(stage, (page) => page.evaluate(async (name) => {
        for (let round = 0; round < 6; round += 1) {
          const engine = await chord.open({ model: name, store: 'none', threads: 3 });
          if (round % 3 > 0) {
            const stream = await engine.completions.create({ prompt: 'hello', max_tokens: 50, ignore_eos: true, stream: true });
            for await (const _ of stream) if (round % 3 === 1) break;
          }
          await engine.dispose();
        }
        // A worker that lives holds a lock.
        for (;;) {
          const { held } = await navigator.locks.query();
          if (held.every((lock) => !lock.name.startsWith('wasm-chord.life'))) return 0;
          await new Promise((resolve) => { setTimeout(resolve, 50); });
        }
      }, MODEL), { isolated });
      assert.equal(left, 0);
    });

    test('58 a call that is cancelled in the middle of a pass leaves the next one whole', async () => {
      const result = await withChord(stage, (page) => page.evaluate(async (name) => {
        const engine = await chord.open({ model: name, store: 'none', threads: 2 });
        const body = { prompt: 'the hello '.repeat(30), max_tokens: 12, temperature: 0, logprobs: 2 };
        const seen = [];
        for (let delayMs = 0; delayMs < 12; delayMs += 1) {
          const abort = new AbortController();
          const cancelled = engine.completions.create({ ...body, prompt: `${body.prompt}${delayMs}` }, { signal: abort.signal }).catch(() => undefined);
          setTimeout(() => abort.abort(), delayMs * 3);
          await cancelled;
          const { choices: [{ logprobs: { token_ids: ids, token_logprobs: logprobs } }] } = await engine.completions.create(body);
          seen.push({ ids, logprobs });
        }
        await engine.dispose();
        return seen;
      }, MODEL), { isolated });
      for (const seen of result) assert.deepEqual([seen], expected.all[0]);
    });
  });
}

test('a small model has one thread unless more are asked for', async () => {
  assertSame(await withChord(stage, (page) => answers(page, {})), 1);
});

test('numbers of threads that mean nothing are refused', async () => {
  for (const threads of [0, 1.5, 65, '2']) {
    const result = await withChord(stage, (page) => answers(page, { threads }));
    assert.deepEqual([result.code, result.details?.name], ['InvalidParameter', 'threads']);
  }
});
