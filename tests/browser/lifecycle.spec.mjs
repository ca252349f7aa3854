// Cancelling, queueing, disposing, and workers that fail. Tests are numbered by the faults that the package
// must survive.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord, withEngine } from './engine-page.mjs';
import { notInFirefox, openStage, root } from './support.mjs';

const MODEL = '/model.gguf';
const LARGE = '/large.gguf';
const stage = await openStage({
  files: { [MODEL]: tinyModel({ context: 4096 }), [LARGE]: tinyModel({ layers: 3, feedForward: 4096 }) },
});
const { server } = stage;

const inPage = (body, argument) => withEngine(stage, { model: MODEL }, (page) => page.evaluate(body, argument));

/** Waits until a condition holds. */
async function eventually(condition, what) {
  for (let attempt = 0; attempt < 4_000; attempt += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  assert.fail(what);
}

const openRequests = (path) => server.requests(path).filter(({ done }) => !done).length;

describe('an AbortSignal', () => {
  test('that is aborted already refuses everything', async () => {
    const outcomes = await inPage(async () => {
      const signal = AbortSignal.abort('because');
      const tries = [
        chord.createEngine({ model: '/model.gguf', signal }), chord.plan('/model.gguf', { signal }),
        engine.completions.create({ prompt: 'a' }, { signal }), engine.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], stream: true }, { signal }),
        engine.embeddings.create({ input: 'a' }, { signal }),
      ];
      return Promise.all(tries.map((promise) => promise.then(() => 'went on', (error) => [error.name, error.code, error.cause, error instanceof chord.ChordError])));
    });
    assert.deepEqual(outcomes, Array(5).fill(['AbortError', 'Aborted', 'because', true]));
  });

  test('that timed out is told by the name that the platform gives that', async () => {
    const names = await inPage(async () => {
      const late = await engine.completions.create({ prompt: 'a', max_tokens: 4000, ignore_eos: true }, { signal: AbortSignal.timeout(1) }).catch((error) => error);
      const refused = await engine.completions.create({ prompt: 5 }).catch((error) => error);
      return [late.name, late.code, refused.name];
    });
    assert.deepEqual(names, ['TimeoutError', 'Aborted', 'ChordError']);
  });

  test('58 ends createEngine at any moment, and its requests', async () => {
    server.fault(MODEL, { stallAfter: 1000 });
    await withChord(stage, async (page) => {
      for (const delay of [0, 5, 50, 200, 800]) {
        const code = await page.evaluate(async ([model, ms]) => {
          const abort = new AbortController();
          setTimeout(() => abort.abort(), ms);
          return chord.createEngine({ model, signal: abort.signal }).then(() => 'opened', (error) => error.code);
        }, [MODEL, delay]);
        assert.equal(code, 'Aborted');
        await eventually(() => openRequests(MODEL) === 0, 'the connection is still open');
      }
    });
    server.fault(MODEL, undefined);
  });

  test('58 ends the download of the weights', async () => {
    let count = 0;
    server.fault(LARGE, () => {
      count += 1;
      return count > 1 ? { stallAfter: 1000 } : undefined;
    });
    const outcomes = await withChord(stage, async (page) => {
      await page.evaluate(async (model) => {
        window.abort = new AbortController();
        window.engine = await chord.createEngine({ model, signal: window.abort.signal });
        window.pending = [window.engine.loaded, window.engine.completions.create({ prompt: 'a' })].map((promise) => promise.then(() => 'went on', (error) => error.code));
      }, LARGE);
      await eventually(() => openRequests(LARGE) > 0, 'nothing was requested');
      const codes = await page.evaluate(() => {
        window.abort.abort();
        return Promise.all(window.pending);
      });
      await eventually(() => openRequests(LARGE) === 0, 'connections are still open');
      return codes;
    });
    server.fault(LARGE, undefined);
    assert.deepEqual(outcomes, ['Aborted', 'Aborted']);
  });

  test('does nothing once the engine is loaded', async () => {
    const tokens = await withChord(stage, (page) => page.evaluate(async (model) => {
      const abort = new AbortController();
      const engine = await chord.createEngine({ model, signal: abort.signal });
      await engine.loaded;
      abort.abort();
      const { usage } = await engine.completions.create({ prompt: 'a', max_tokens: 1 });
      await engine.dispose();
      return usage.completion_tokens;
    }, MODEL));
    assert.equal(tokens, 1);
  });

  test('58 ends a call that waits for bytes, computes its prompt, decodes or queues', async () => {
    const result = await inPage(async () => {
      const long = { prompt: Array(3000).fill(270), max_tokens: 1000, ignore_eos: true };
      const cancelled = async (body, when) => {
        const abort = new AbortController();
        const call = engine.completions.create(body, { signal: abort.signal }).then(() => 'finished', (error) => error.code);
        setTimeout(() => abort.abort(), when);
        return call;
      };
      const outcomes = [];
      for (const when of [0, 20, 100]) outcomes.push(await cancelled(long, when));
      for (const when of [0, 100, 300]) outcomes.push(await cancelled({ prompt: 'a', max_tokens: 4000, ignore_eos: true }, when));
      const running = engine.completions.create({ prompt: 'hello', max_tokens: 50, temperature: 0, ignore_eos: true });
      outcomes.push(await cancelled({ prompt: 'a' }, 0));
      const first = await running;
      const next = await engine.completions.create({ prompt: 'hello', max_tokens: 50, temperature: 0, ignore_eos: true });
      return { outcomes, same: first.choices[0].text === next.choices[0].text };
    });
    for (const code of result.outcomes) {
      assert.equal(code, 'Aborted');
    }
    assert.ok(result.same, 'cancelled calls leave no trace in the cache');
  });
});

describe('streams', () => {
  test('61 that are left stop computing', async () => {
    const result = await inPage(async () => {
      let seen = 0;
      for await (const chunk of await engine.completions.create({ prompt: 'a', max_tokens: 4000, ignore_eos: true, stream: true })) {
        seen += chunk.choices.length;
        if (seen >= 3) break;
      }
      const started = performance.now();
      const { usage, timings } = await engine.completions.create({ prompt: 'a', max_tokens: 40, ignore_eos: true });
      return [seen, usage.completion_tokens, (performance.now() - started) / timings.predicted_per_token_ms];
    });
    assert.deepEqual(result.slice(0, 2), [3, 40]);
    assert.ok(result[2] < 3000, `the next call took as long as ${result[2]} tokens`);
  });

  test('61 that nobody reads do not hold up other calls for long', async () => {
    const result = await inPage(async () => {
      const { sequences } = await engine.stats();
      const body = { prompt: 'a', max_tokens: 4000, ignore_eos: true, stream: true };
      const abandoned = await Promise.all(Array.from({ length: sequences.most }, () => engine.completions.create(body)));
      const iterator = abandoned[0][Symbol.asyncIterator]();
      await iterator.next();
      const { usage } = await engine.completions.create({ prompt: 'a', max_tokens: 2, ignore_eos: true });
      const late = await (async () => { for (;;) if ((await iterator.next()).done) return 'ended'; })().catch((error) => error.code);
      return [usage.completion_tokens, late];
    });
    assert.deepEqual(result, [2, 'Aborted']);
  });

  test('pause when they are read slowly, and lose nothing', async () => {
    const [slow, whole] = await inPage(async () => {
      const body = { prompt: 'a', max_tokens: 300, temperature: 0, ignore_eos: true };
      let text = '';
      let count = 0;
      for await (const chunk of await engine.completions.create({ ...body, stream: true })) {
        text += chunk.choices[0].text;
        count += 1;
        if (count % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 300));
      }
      return [text, (await engine.completions.create(body)).choices[0].text];
    });
    assert.equal(slow, whole);
  });
});

describe('concurrent calls', () => {
  test('60 queue in order where one runs at a time, and give what they give alone', async () => {
    const { together, alone, order } = await withEngine(stage, { model: MODEL, maxSequences: 1 }, (page) => page.evaluate(async () => {
      const body = (index) => ({ prompt: 'hello '.repeat(index + 1), max_tokens: 10 + index, temperature: 0, ignore_eos: true });
      const finished = [];
      const calls = Array.from({ length: 8 }, (_, index) => engine.completions.create(body(index)).then((completion) => {
        finished.push(index);
        return completion.choices[0].text;
      }));
      const statistics = await engine.stats();
      const texts = await Promise.all(calls);
      const single = [];
      for (let index = 0; index < 8; index += 1) single.push((await engine.completions.create(body(index))).choices[0].text);
      return { together: texts, alone: single, order: finished, answered: statistics.device };
    }));
    assert.deepEqual(together, alone);
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7]);
  });

  for (const threads of [1, 2]) {
    test(`60 are computed together by ${threads} threads, and each is cancelled by itself`, async () => {
      const options = { model: MODEL, device: 'cpu', maxSequences: 8, threads };
      const { together, alone, order, sequences } = await withEngine(stage, options, (page) => page.evaluate(async () => {
        const body = (index) => ({ messages: [{ role: 'user', content: 'hello '.repeat(index + 1) }], max_tokens: 40 + index, temperature: index % 2, seed: index, ignore_eos: true });
        const written = [];
        const write = async (index) => {
          const abort = new AbortController();
          let text = '';
          try {
            for await (const { choices } of await engine.chat.completions.create({ ...body(index), stream: true }, { signal: abort.signal })) {
              const fresh = choices[0]?.delta.content ?? '';
              if (fresh === '') continue;
              text += fresh;
              written.push(index);
              if (index === 3 && written.filter((other) => other === 3).length === 5) abort.abort();
            }
          } catch (error) {
            return { text, code: error.code };
          }
          return { text };
        };
        const texts = await Promise.all(Array.from({ length: 8 }, (_, index) => write(index)));
        const statistics = await engine.stats();
        const single = [];
        for (let index = 0; index < 8; index += 1) single.push((await engine.chat.completions.create(body(index))).choices[0].message.content);
        return { together: texts, alone: single, order: written, sequences: statistics.sequences };
      }));
      const [cut] = together.splice(3, 1);
      const [whole] = alone.splice(3, 1);
      assert.equal(cut.code, 'Aborted');
      assert.ok(cut.text !== '' && whole.startsWith(cut.text), `${JSON.stringify(cut)} of ${JSON.stringify(whole)}`);
      assert.deepEqual(together.map(({ text }) => text), alone);
      const firstEnd = Math.min(...[0, 1, 2, 4, 5, 6, 7].map((index) => order.lastIndexOf(index)));
      assert.equal(new Set(order.slice(0, firstEnd + 1)).size, 8, `all have begun before one has ended: ${order.join('')}`);
      assert.equal(sequences.most, 8);
      assert.ok(sequences.tokens > 3 * sequences.passes, JSON.stringify(sequences));
    });

    test(`60 are a call’s choices, computed together by ${threads} threads, and all end with it`, async () => {
      const options = { model: MODEL, device: 'cpu', maxSequences: 3, threads };
      const { streamed, whole, alone, order, sequences, code, running, usage } = await withEngine(stage, options, (page) => page.evaluate(async () => {
        const body = { messages: [{ role: 'user', content: 'hello '.repeat(20) }], max_tokens: 30, temperature: 1.2, seed: 7, ignore_eos: true, n: 4 };
        const streamed = ['', '', '', ''];
        const order = [];
        for await (const { choices: [choice] } of await engine.chat.completions.create({ ...body, stream: true })) {
          streamed[choice.index] += choice.delta.content ?? '';
          order.push(choice.index);
        }
        const { sequences } = await engine.stats();
        const { choices, usage } = await engine.chat.completions.create({ ...body, stop: streamed[1].slice(8, 11) });
        const alone = [];
        for (let index = 0; index < 4; index += 1) alone.push((await engine.chat.completions.create({ ...body, n: 1, seed: 7 + index })).choices[0].message.content);
        const abort = new AbortController();
        let code;
        try {
          for await (const { choices: [choice] } of await engine.chat.completions.create({ ...body, stream: true }, { signal: abort.signal })) if (choice.index === 2) abort.abort();
        } catch (error) {
          ({ code } = error);
        }
        await engine.completions.create({ prompt: 'a', max_tokens: 1 });
        const { running } = (await engine.stats()).sequences;
        return { streamed, whole: choices.map(({ message, finish_reason: reason }) => [message.content, reason]), alone, order, sequences, code, running, usage };
      }));
      assert.deepEqual(streamed, alone);
      assert.ok(order.indexOf(2) < order.lastIndexOf(0), `choices come in turns: ${order.join('')}`);
      assert.ok(sequences.tokens > 2 * sequences.passes, JSON.stringify(sequences));
      assert.equal(whole[1][1], 'stop');
      for (const [index, [text]] of whole.entries()) assert.ok(alone[index].startsWith(text), `${index}: ${text}`);
      assert.ok(usage.completion_tokens < 120);
      assert.deepEqual([code, running], ['Aborted', 0]);
    });
  }
});

describe('an engine that nobody holds', () => {
  test('is disposed, but not before its last answer', { skip: notInFirefox('nothing collects garbage from outside') }, async () => {
    await withChord(stage, async (page) => {
      const session = await page.context().newCDPSession(page);
      /** Collects garbage until no worker is left. */
      const collected = async () => {
        for (let attempt = 0; attempt < 4000 && page.workers().length > 0; attempt += 1) {
          await session.send('HeapProfiler.collectGarbage');
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return page.workers().length === 0;
      };
      // A callback that knows the engine does not keep it either.
      await page.evaluate(async (model) => {
        // Its own callback names it, before it is there.
        // oxlint-disable-next-line prefer-const
        let engine;
        engine = await chord.createEngine({ model, onProgress: () => engine });
        await engine.loaded;
        window.pending = engine.completions.create({ prompt: 'a', max_tokens: 300, ignore_eos: true });
        window.stream = (async () => {
          let count = 0;
          for await (const chunk of await engine.completions.create({ prompt: 'a', max_tokens: 100, ignore_eos: true, stream: true })) count += chunk.choices.length;
          return count;
        })();
      }, MODEL);
      for (let round = 0; round < 5; round += 1) await session.send('HeapProfiler.collectGarbage');
      const [tokens, chunks] = await page.evaluate(async () => [(await window.pending).usage.completion_tokens, await window.stream]);
      assert.deepEqual([tokens, chunks > 50], [300, true]);
      assert.ok(await collected(), 'its workers still run');
      // One that is held by a part of it stays.
      await page.evaluate(async (model) => { window.held = (await chord.createEngine({ model })).completions; }, MODEL);
      for (let round = 0; round < 5; round += 1) await session.send('HeapProfiler.collectGarbage');
      assert.equal(await page.evaluate(async () => (await window.held.create({ prompt: 'a', max_tokens: 2, ignore_eos: true })).usage.completion_tokens), 2);
      await page.evaluate(() => { delete window.held; });
      assert.ok(await collected(), 'its workers still run');
    });
  });
});

describe('dispose', () => {
  test('59 settles everything that is pending, and may be repeated', async () => {
    const codes = await withChord(stage, async (page) => {
      server.fault(LARGE, { stallAfter: 300_000 });
      const outcome = await page.evaluate(async (model) => {
        const engine = await chord.open({ model, network: { idleMs: 60_000 } });
        const calls = [
          engine.loaded, engine.completions.create({ prompt: 'a' }), engine.completions.create({ prompt: 'b' }), engine.stats(), engine.tokenize('x'),
          engine.embeddings.create({ input: 'a' }),
          (async () => { for await (const chunk of await engine.completions.create({ prompt: 'a', stream: true })) void chunk; })(),
        ].map((promise) => promise.then(() => 'went on', (error) => error.code));
        await Promise.all([engine.dispose(), engine.dispose()]);
        await engine.dispose();
        const late = [engine.tokenize('x'), engine.completions.create({ prompt: 'a' }), engine.stats(), engine.countTokens('x')].map((promise) => promise.catch((error) => error.code));
        return [await Promise.all(calls), await Promise.all(late), engine.model.name];
      }, LARGE);
      await eventually(() => openRequests(LARGE) === 0, 'connections are still open');
      return outcome;
    });
    server.fault(LARGE, undefined);
    assert.deepEqual(codes, [Array(7).fill('Disposed'), Array(4).fill('Disposed'), 'tiny random']);
  });

  test('is what `await using` calls', async () => {
    const hasSymbol = await inPage(async () => typeof Symbol.asyncDispose !== 'symbol' || typeof engine[Symbol.asyncDispose] === 'function');
    assert.ok(hasSymbol);
  });

  test('gives the memory back: many engines one after the other', async () => {
    const tokens = await withChord(stage, (page) => page.evaluate(async (model) => {
      let total = 0;
      for (let round = 0; round < 20; round += 1) {
        const engine = await chord.createEngine({ model });
        total += (await engine.completions.create({ prompt: 'a', max_tokens: 1 })).usage.completion_tokens;
        await engine.dispose();
      }
      return total;
    }, MODEL));
    assert.equal(tokens, 20);
  });
});

describe('workers and builds', () => {
  /** The package with some files replaced, below another address. */
  async function packageWith(address, replaced) {
    for (const name of ['index.js', 'engine-worker.js', 'io-worker.js', 'store-worker.js', 'wasm/chord-relaxed.js', 'wasm/chord-simd.js', 'wasm/chord-gpu.js', 'wasm/chord-memory64.js', 'wasm/chord-relaxed.wasm', 'wasm/chord-simd.wasm']) {
      const body = name in replaced ? replaced[name] : await readFile(join(root, 'pkg', name));
      if (body === undefined) server.files.delete(address + name);
      else server.files.set(address + name, Buffer.from(body));
    }
    return `${address}index.js`;
  }

  const outcome = (address, { isHurried = false, ...options } = {}) => withChord(stage, (page) => page.evaluate((given) => {
    if (given.isHurried) window.hurry();
    return chord.outcome({ model: given.model });
  }, { model: MODEL, isHurried }), { address, ...options });

  for (const name of ['engine-worker.js', 'io-worker.js', 'wasm/chord-relaxed.wasm', 'wasm/chord-relaxed.js']) {
    test(`38 a missing ${name} is WorkerFailed`, async () => {
      const result = await outcome(await packageWith(`/missing-${name}/`, { [name]: undefined }));
      assert.equal(result.code, 'WorkerFailed', result.message);
    });
  }

  test('38 a worker script that never comes is WorkerFailed', async () => {
    const address = await packageWith('/silent/', {});
    server.fault('/silent/engine-worker.js', { stallAfter: 0 });
    const result = await outcome(address, { isHurried: true });
    assert.equal(result.code, 'WorkerFailed');
  });

  test('38 worker scripts that come late, and whose modules come late, start all the same', async () => {
    const address = await packageWith('/late/', {});
    server.fault('/late/engine-worker.js', { delayMs: 6_000 });
    server.fault('/late/wasm/chord-relaxed.js', { delayMs: 5_000 });
    const result = await outcome(address);
    assert.equal(result.code, undefined, result.message);
  });

  test('38 a module of a worker that never comes is WorkerFailed', async () => {
    const address = await packageWith('/incomplete/', {});
    server.fault('/incomplete/wasm/chord-relaxed.js', { stallAfter: 0 });
    const result = await outcome(address, { isHurried: true });
    assert.equal(result.code, 'WorkerFailed');
  });

  test('38 a wasm file that stops coming is a Timeout', async () => {
    const address = await packageWith('/stalled/', {});
    server.fault('/stalled/wasm/chord-relaxed.wasm', { stallAfter: 100_000 });
    const result = await outcome(address);
    assert.deepEqual([result.code, result.retryable], ['Timeout', true], result.message);
  });

  test('38 workers blocked by a policy are WorkerFailed', async () => {
    const result = await outcome('/pkg/index.js', { csp: "script-src 'self' 'wasm-unsafe-eval'; worker-src 'none'", allow: [/Content.Security.Policy/] });
    assert.equal(result.code, 'WorkerFailed');
  });

  /** The outcome while the first IO worker does `instead` of sending its second piece; the next one is sound. */
  async function failing(instead) {
    const script = await readFile(join(root, 'pkg/io-worker.js'), 'utf8');
    const stub = `{
      const { postMessage } = MessagePort.prototype;
      let pieces = 0;
      MessagePort.prototype.postMessage = function (message, transfer) {
        if (message.type === 'piece' && (pieces += 1) === 2) { ${instead} return; }
        postMessage.call(this, message, transfer);
      };
    }`;
    server.fault('/pkg/io-worker.js', [{ body: `${stub}\n${script}`, headers: { 'content-type': 'text/javascript' } }]);
    const result = await withChord(stage, (page) => page.evaluate((model) => chord.outcome({ model }), LARGE));
    assert.equal(server.requests('/pkg/io-worker.js').length > 0, true);
    return result;
  }

  for (const [name, instead] of [
    ['dies of an error', "reportError(new Error('dead'));"],
    ['ends without a word', 'close();'],
    ['loses a message', ''],
    ['loops for ever', 'for (;;);'],
  ]) {
    test(`42 an IO worker that ${name} is replaced, and the download goes on`, async () => {
      const sound = await withChord(stage, (page) => page.evaluate((model) => chord.outcome({ model, store: 'none' }), LARGE));
      const result = await failing(instead);
      assert.equal(result.code, undefined, result.message);
      assert.deepEqual([result.ids, result.logprobs], [sound.ids, sound.logprobs]);
    });
  }

  /** The core, with one method replaced. */
  const sabotage = (code) => `import start, * as core from '/pkg/wasm/chord-relaxed.js';
    const { Engine, HeaderReader } = core;
    ${code}
    export * from '/pkg/wasm/chord-relaxed.js';
    export default () => start({ module_or_path: '/pkg/wasm/chord-relaxed.wasm' });`;

  /** In a worker: is silent without using the processor, for so many milliseconds or for ever. */
  const SILENT = `const silent = (ms) => {
    Atomics.wait(new Int32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer), 0, 0, ms);
  };`;

  /** Places in the core where an engine worker stands still or ends, each with the call that it spoils. */
  const PLACES = {
    'HeaderReader.prototype.open': "chord.createEngine({ model: '/model.gguf', onProgress: () => hurry() })",
    'Engine.prototype.supply': '(await engine()).loaded',
    'Engine.prototype.step': "(await engine()).completions.create({ prompt: 'a' })",
    'Engine.prototype.tokenize': "(await loaded()).tokenize('a')",
  };

  /** The failure of each of these calls where the core does `instead`, after which a new engine has to work. */
  const spoiled = async (name, instead) => {
    await Promise.all(Object.entries(PLACES).map(async ([place, call]) => {
      const address = await packageWith(`/${name}-${place}/`, { 'wasm/chord-relaxed.js': sabotage(`${SILENT} ${place} = () => ${instead};`) });
      await withChord(stage, async (page) => {
        const { code, retryable } = await page.evaluate(`(async () => {
          const engine = async () => {
            const opened = await chord.createEngine({ model: '/model.gguf', store: 'none' });
            hurry();
            return opened;
          };
          const loaded = async () => {
            const opened = await engine();
            await opened.loaded;
            return opened;
          };
          return (async () => ${call})().then(() => ({ code: 'went on' }), chord.failure);
        })()`);
        assert.deepEqual([code, retryable], ['WorkerFailed', true], place);
        await page.evaluate(() => { window.pace = 1; });
        const tokens = await page.evaluate(async (model) => {
          const { createEngine } = await import('/pkg/index.js');
          const engine = await createEngine({ model });
          const { usage } = await engine.completions.create({ prompt: 'a', max_tokens: 1 });
          await engine.dispose();
          return usage.completion_tokens;
        }, MODEL);
        assert.equal(tokens, 1);
      }, { address });
    }));
  };

  test('42 an engine worker that ends is WorkerFailed at once, whatever was waited for, and a new engine works', () => (
    spoiled('ended', '{ MessagePort.prototype.postMessage = () => undefined; close(); }')));

  // A minute of the page goes by in a second, so that its patience ends: what it is, nobody wants to wait for.
  test('42 an engine worker that is stuck for ever is WorkerFailed in the end', () => spoiled('stuck', 'silent()'));

  test('42 an engine worker that computes, compiles or opens for long is waited for', async () => {
    // A minute of the page goes by in a second: the worker is silent for longer than a dead one was ever waited for.
    const slow = (place, ms) => `{
      const method = ${place};
      ${place} = function (...given) {
        silent(${ms});
        return method.apply(this, given);
      };
    }`;
    const address = await packageWith('/slow/', {
      'wasm/chord-relaxed.js': sabotage(`${SILENT} ${slow('HeaderReader.prototype.open', 1000)} ${slow('Engine.prototype.step', 200)}`),
    });
    const result = await withChord(stage, (page) => page.evaluate(async (model) => {
      let calls = 0;
      // From the moment that the core has started: a worker may not start sixty times as slowly.
      const onProgress = ({ phase }) => { if (phase === 'header' && (calls += 1) === 1) window.hurry(); };
      return chord.outcome({ model, onProgress });
    }, MODEL), { address });
    assert.equal(result.code, undefined, result.message);
    assert.equal(result.ids.length, 6);
  });

  test('42 a store that falls silent is WorkerFailed', async () => {
    const script = await readFile(join(root, 'pkg/io-worker.js'), 'utf8');
    const address = await packageWith('/silent-store/', {
      'io-worker.js': `${SILENT}\n${script}\nglobalThis.onmessage = () => silent();`,
    });
    const error = await withChord(stage, (page) => page.evaluate((model) => chord.modelStore.verify(model).catch(chord.failure), MODEL), { address });
    assert.equal(error.code, 'WorkerFailed');
  });

  test('17 a worker that never starts is replaced by another', async () => {
    const address = await packageWith('/sleepy/', {});
    // The first of each script stands still before it has said a word, as nested workers in Firefox did.
    for (const name of ['engine-worker.js', 'io-worker.js', 'store-worker.js']) {
      server.fault(`/sleepy/${name}`, [{ body: `${SILENT} silent();`, headers: { 'content-type': 'text/javascript', 'cache-control': 'no-store' } }]);
    }
    const result = await outcome(address);
    assert.equal(result.code, undefined, result.message);
  });

  test('40 a tab that is frozen in the middle goes on afterwards', { skip: notInFirefox('it does not tell which process a tab is') }, async () => {
    /** Longer than any worker may be silent. */
    const FROZEN_MS = 10_000;
    const [rate, trickle] = [5_000_000, 200_000];
    const whole = server.files.get(LARGE).length;
    const sent = () => server.requests(LARGE).reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    const before = sent();
    server.throttle.bytesPerSecond = rate;
    try {
      const { result, gapMs, left } = await withChord(stage, async (page) => {
        await page.evaluate(() => {
          let lastMs = performance.now();
          window.gapMs = 0;
          setInterval(() => {
            window.gapMs = Math.max(window.gapMs, performance.now() - lastMs);
            lastMs = performance.now();
          }, 50);
        });
        const session = await stage.browser.newBrowserCDPSession();
        const { processInfo } = await session.send('SystemInfo.getProcessInfo');
        const renderers = processInfo.filter(({ type }) => type === 'renderer');
        const outcome = page.evaluate((model) => chord.outcome({ model, network: { idleMs: 700 } }), LARGE);
        while (sent() < before + whole / 4) await new Promise((done) => setTimeout(done, 10));
        // So little that it fits the buffers on the way, and the answers stay open.
        server.throttle.bytesPerSecond = trickle;
        // A headless browser only says that it freezes a tab, so the system does: page and workers stand still.
        for (const { id } of renderers) process.kill(id, 'SIGSTOP');
        await new Promise((done) => setTimeout(done, FROZEN_MS));
        for (const { id } of renderers) process.kill(id, 'SIGCONT');
        const rest = before + whole - sent();
        server.throttle.bytesPerSecond = rate;
        return { result: await outcome, gapMs: await page.evaluate(() => window.gapMs), left: rest };
      });
      assert.equal(result.ids?.length, 6, result.message);
      assert.ok(gapMs > FROZEN_MS * 0.9, `it was frozen for ${gapMs} ms`);
      assert.ok(left > 0, 'there was more to come');
    } finally {
      server.throttle.bytesPerSecond = Infinity;
    }
  });

  test('41 works where there is no SharedArrayBuffer', async () => {
    const script = await readFile(join(root, 'pkg/engine-worker.js'), 'utf8');
    const address = await packageWith('/unshared/', { 'engine-worker.js': `delete globalThis.SharedArrayBuffer;\n${script}` });
    const result = await withChord(stage, (page) => page.evaluate(async (model) => {
      delete globalThis.SharedArrayBuffer;
      return { ...await chord.outcome({ model }), isIsolated: crossOriginIsolated };
    }, MODEL), { address });
    assert.deepEqual([result.ids?.length, result.isIsolated], [6, false], result.message);
  });

  test('63 works under a policy without eval and blob:, and does nothing that it forbids', async () => {
    const csp = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; img-src data:";
    const [result, violations] = await withChord(stage, (page) => page.evaluate(async (model) => {
      const forbidden = [];
      document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => forbidden.push(violatedDirective));
      return [await chord.outcome({ model }), forbidden];
    }, MODEL), { csp });
    assert.deepEqual([result.ids?.length, violations], [6, []], result.message);
  });

  test('a wasm file of the wrong type still works', async () => {
    const address = await packageWith('/typeless/', {});
    server.fault('/typeless/wasm/chord-relaxed.wasm', { headers: { 'content-type': 'text/plain' } });
    assert.equal((await outcome(address)).ids.length, 6);
  });

  test('damaged wasm is WorkerFailed', async () => {
    assert.equal((await outcome(await packageWith('/damaged/', { 'wasm/chord-relaxed.wasm': 'no wasm' }))).code, 'WorkerFailed');
  });

  test('39 a trap ends the engine, every call and no other engine', async () => {
    const address = await packageWith('/trapped/', {
      'wasm/chord-relaxed.js': sabotage("Engine.prototype.step = () => { throw new WebAssembly.RuntimeError('unreachable'); };"),
    });
    const result = await withChord(stage, (page) => page.evaluate(async (model) => {
      const engine = await chord.open({ model });
      const calls = [engine.completions.create({ prompt: 'a' }), engine.completions.create({ prompt: 'b' })].map((promise) => promise.catch(chord.failure));
      const codes = (await Promise.all(calls)).map(({ code, retryable }) => [code, retryable]);
      const late = await engine.tokenize('x').catch((error) => error.code);
      await engine.dispose();
      const sound = await import('/pkg/index.js');
      const other = await sound.createEngine({ model });
      const { usage } = await other.completions.create({ prompt: 'a', max_tokens: 1 });
      await other.dispose();
      return { codes, late, tokens: usage.completion_tokens };
    }, MODEL), { address });
    assert.deepEqual(result, { codes: [['EnginePanicked', true], ['EnginePanicked', true]], late: 'EnginePanicked', tokens: 1 });
  });

  for (const method of ['HeaderReader.prototype.open', 'Engine.prototype.want', 'Engine.prototype.prepare', 'Engine.prototype.start', 'Engine.prototype.step']) {
    test(`50 memory that cannot be had in ${method.split('.').at(-1)} is OutOfMemory`, async () => {
      const address = await packageWith(`/full-${method}/`, {
        'wasm/chord-relaxed.js': sabotage(`${method} = () => { throw { code: 'OutOfMemory', message: 'no memory', retryable: true, details: { bytes: 9 } }; };`),
      });
      const result = await outcome(address);
      assert.equal(result.code, 'OutOfMemory');
      assert.equal(result.details.bytes, 9);
    });
  }
});

describe('server-side rendering', () => {
  test('importing the package in Node touches nothing', async () => {
    const chord = await import(join(root, 'pkg/index.js'));
    assert.deepEqual(Object.keys(chord).sort(), ['ChordError', 'createEngine', 'modelStore', 'plan']);
    await assert.rejects(chord.createEngine({ model: 'https://example.com/model.gguf' }), { code: 'UnsupportedBrowser' });
    assert.deepEqual(await chord.modelStore.list(), []);
  });
});
