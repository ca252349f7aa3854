// Conversations that outlive the page: saved in the store and restored, by any number of threads; prefixes that an app
// ships; answers that go on after a reload; and what becomes of all that when a tab ends at any moment.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { openStage, root } from './support.mjs';

const MODEL = '/model.gguf';
const OTHER = '/other.gguf';
const PREFIX = '/prefix.bin';
const WORKER = '/pkg/engine-worker.js';
const model = tinyModel({ layers: 3, width: 128, feedForward: 512, context: 512 });
const other = tinyModel({ layers: 2, seed: 2 });

const stage = await openStage({ files: { [MODEL]: model, [OTHER]: other, '/tiny.gguf': await readFile(join(root, 'models/chord-tiny.gguf')) } });
const { server } = stage;

const PROMPT = 'the hello '.repeat(20);
const network = { backoffMs: 20 };

/** Opens an engine, runs `body` with it in the page, and gives what that gives or the error. */
const within = (page, options, body, given) => page.evaluate(async ([opening, source, more]) => {
  let engine;
  try {
    engine = await chord.open(opening);
    const tell = (completion) => ({
      ids: completion.choices[0].logprobs.token_ids,
      text: completion.choices[0].text,
      cached: completion.usage.prompt_tokens_details.cached_tokens,
      prompt: completion.usage.prompt_tokens,
    });
    const complete = async (prompt, rest = {}) => tell(await engine.completions.create({ prompt, max_tokens: 6, temperature: 0, logprobs: 0, ignore_eos: true, ...rest }));
    const failed = async (promise) => {
      try {
        return await promise;
      } catch (error) {
        return chord.failure(error);
      }
    };
    // A function of the test, sent as its source.
    return await new Function(`return ${source}`)()({ engine, complete, failed, more });
  } catch (error) {
    return chord.failure(error);
  } finally {
    await engine?.dispose();
  }
}, [{ model: MODEL, network, ...options }, body.toString(), given]);

/** A page that may run functions of the tests. */
const visit = (body, options = {}) => withChord(stage, body, { csp: '', ...options });

/** Asks, and saves that. */
const said = async ({ engine, complete, more }) => {
  const first = await complete(more);
  return { first, session: await engine.sessions.save('chat') };
};

describe('a session', () => {
  test('is saved, listed, restored in another engine at no cost, and deleted', () => visit(async (page) => {
    const { first, session, truth } = await within(page, {}, async ({ engine, complete, more }) => {
      const first = await complete(more);
      const session = await engine.sessions.save('chat');
      return { first, session, truth: await complete(more + first.text) };
    }, PROMPT);
    assert.equal(first.cached, 0);
    assert.equal(session.name, 'chat');
    assert.equal(session.tokens, first.prompt + 5, 'the last token was chosen only');
    assert.ok(session.bytes > session.tokens && Math.abs(session.savedAt - Date.now()) < 600_000);
    await page.reload();
    await page.evaluate(await installed(), '/pkg/index.js');
    const second = await within(page, {}, async ({ engine, complete, more }) => {
      const list = await engine.sessions.list();
      const session = await engine.sessions.restore('chat');
      const asked = await complete(more);
      const models = await chord.modelStore.list();
      return { list, session, asked, models, isGone: await engine.sessions.delete('chat'), again: await engine.sessions.delete('chat'), rest: await engine.sessions.list() };
    }, PROMPT + first.text);
    assert.deepEqual(second.list, [session]);
    assert.deepEqual(second.session, session);
    assert.deepEqual(second.asked.ids, truth.ids);
    assert.equal(second.asked.cached, truth.cached);
    assert.ok(second.asked.cached >= first.prompt);
    assert.ok(second.models[0].sessionBytes > session.bytes);
    assert.deepEqual([second.isGone, second.again, second.rest], [true, false, []]);
  }));

  test('replaces the one of its name, and stands beside others', () => visit(async (page) => {
    const found = await within(page, {}, async ({ engine, complete }) => {
      await complete('hello');
      await engine.sessions.save('one');
      await engine.sessions.save('\u{1F600} "two"/..');
      await complete('hello the hello');
      const latest = await engine.sessions.save('one');
      return { latest, list: await engine.sessions.list(), restored: await engine.sessions.restore('one') };
    });
    assert.deepEqual(found.list.map(({ name }) => name), ['one', '\u{1F600} "two"/..']);
    assert.deepEqual(found.restored, found.latest);
  }));

  test('that is not there, or of another model, is refused with its reason, and the engine goes on', () => visit(async (page) => {
    const { first } = await within(page, {}, said, 'hello');
    const bad = await within(page, {}, async ({ engine, complete, failed }) => ({
      missing: await failed(engine.sessions.restore('nobody')),
      empty: await failed(engine.sessions.save('')),
      number: await failed(engine.sessions.restore(3)),
      option: await failed(engine.sessions.save('chat', { force: true })),
      session: await failed(engine.completions.create({ prompt: 'a' }, { session: 3 })),
      field: await failed(engine.embeddings.create({ input: 'a' }, { session: 'chat' })),
      answer: await complete('hello'),
    }));
    assert.deepEqual([bad.missing.code, bad.missing.details.name], ['NotFound', 'nobody']);
    for (const [error, name] of [[bad.empty, 'name'], [bad.number, 'name'], [bad.option, 'force'], [bad.session, 'session'], [bad.field, 'session']]) {
      assert.deepEqual([error.code, error.details?.name], ['InvalidParameter', name], error.message);
    }
    assert.deepEqual(bad.answer.ids, first.ids);
    // Each model has its own.
    const apart = await within(page, { model: OTHER }, async ({ engine, failed }) => ({ list: await engine.sessions.list(), error: await failed(engine.sessions.restore('chat')) }));
    assert.deepEqual([apart.list, apart.error.code], [[], 'NotFound']);
    // With another length of context it still fits; with too short a one it does not.
    const short = await within(page, { contextLength: 8 }, async ({ engine, failed }) => failed(engine.sessions.restore('chat')));
    assert.equal(short.code, 'ContextOverflow');
    // Another header, and other weights behind the same one.
    const shape = { layers: 3, width: 128, feedForward: 512, context: 512 };
    for (const bytes of [tinyModel({ ...shape, metadata: [['general.name', 8, 'renamed']] }), tinyModel({ ...shape, seed: 9 })]) {
      server.files.set(MODEL, bytes);
      await forgotten(page);
      const error = await within(page, {}, ({ engine, failed }) => failed(engine.sessions.restore('chat')));
      assert.deepEqual([error.code, error.details?.reason], ['InvalidState', 'model'], error.message);
    }
    server.files.set(MODEL, model);
    await forgotten(page);
    const back = await within(page, {}, async ({ engine, complete }) => ({ ...await engine.sessions.restore('chat'), asked: await complete('hello') }));
    assert.deepEqual(back.asked.ids, first.ids, 'it was not lost meanwhile');
  }));

  test('is kept only where the model is', () => visit(async (page) => {
    for (const store of ['none', 'memory']) {
      const none = await within(page, { store }, async ({ engine, complete, failed }) => {
        await complete('hello');
        return { save: await failed(engine.sessions.save('chat')), list: await engine.sessions.list(), error: await failed(engine.sessions.restore('chat')), gone: await engine.sessions.delete('chat') };
      });
      assert.deepEqual([none.save.code, none.save.details.reason, none.list, none.error.code, none.gone], ['StoreFailed', 'no store', [], 'NotFound', false]);
    }
    // Of a file from the person's disk, too; and it goes with the model.
    const found = await page.evaluate(async (path) => {
      const file = new File([await (await fetch(path)).blob()], 'mine.gguf', { lastModified: 5 });
      const open = () => chord.open({ model: file });
      const first = await open();
      await first.completions.create({ prompt: 'hello', max_tokens: 3 });
      const saved = await first.sessions.save('chat');
      await first.dispose();
      const second = await open();
      const restored = await second.sessions.restore('chat');
      await second.dispose();
      const isDeleted = await chord.modelStore.delete(file);
      const third = await open();
      const list = await third.sessions.list();
      await third.dispose();
      return { saved, restored, isDeleted, list };
    }, MODEL);
    assert.deepEqual(found.restored, found.saved);
    assert.deepEqual([found.isDeleted, found.list], [true, []]);
    const gone = await within(page, {}, said, 'hello');
    assert.equal(gone.session.name, 'chat');
    assert.equal(await page.evaluate((path) => chord.modelStore.delete(path), MODEL), true);
    assert.deepEqual(await within(page, {}, ({ engine }) => engine.sessions.list()), []);
  }));

  test('that is damaged is refused, can be saved anew, and poisons nothing', () => visit(async (page) => {
    const { first, session } = await within(page, {}, said, PROMPT);
    for (const at of [0, 30, 28 + 60, 28 + session.bytes - 3, 28 + session.bytes + 4]) {
      await damaged(page, at);
      const found = await within(page, {}, async ({ engine, complete, failed, more }) => {
        const list = await engine.sessions.list();
        const error = await failed(engine.sessions.restore('chat'));
        const asked = await complete(more);
        return { list, error, asked, saved: await engine.sessions.save('chat'), restored: await engine.sessions.restore('chat') };
      }, PROMPT);
      assert.ok(['InvalidState', 'NotFound'].includes(found.error.code), `${at}: ${found.error.message}`);
      assert.deepEqual([found.asked.ids, found.asked.cached], [first.ids, 0], 'nothing of it is used');
      assert.equal(found.restored.tokens, session.tokens);
    }
  }));

  for (const isolated of [false, true]) {
    test(`is the same for any number of threads, ${isolated ? 'in shared memory' : 'by messages'}`, () => visit(async (page) => {
      const ask = async ({ engine, complete, more }) => {
        const { threads } = await engine.stats();
        const restored = more.restore ? await engine.sessions.restore('chat') : undefined;
        const asked = await complete(more.prompt);
        const saved = more.save ? await engine.sessions.save('chat') : undefined;
        return { threads, restored, asked, saved };
      };
      const truth = await within(page, { threads: 1 }, async ({ complete, more }) => {
        const first = await complete(more);
        return { first, next: await complete(more + first.text) };
      }, PROMPT);
      const longer = PROMPT + truth.first.text;
      for (const [from, to] of [[2, 1], [1, 2], [2, 2]]) {
        const first = await within(page, { threads: from }, ask, { prompt: PROMPT, save: true });
        assert.deepEqual([first.threads, first.asked?.ids], [from, truth.first.ids], JSON.stringify(first));
        const second = await within(page, { threads: to }, ask, { prompt: longer, restore: true });
        assert.deepEqual([second.threads, second.asked?.ids, second.asked?.cached], [to, truth.next.ids, truth.next.cached], `${from} to ${to}: ${JSON.stringify(second)}`);
        assert.deepEqual(second.restored, first.saved);
      }
    }, { isolated }));
  }
});

describe('a prefix', () => {
  const messages = [{ role: 'system', content: 'You are the hello. '.repeat(8) }];
  const question = { role: 'user', content: 'hello?' };
  const chat = async ({ engine, more }) => {
    const { choices, usage } = await engine.chat.completions.create({ messages: more, max_tokens: 6, temperature: 0, ignore_eos: true });
    await engine.loaded;
    return { text: choices[0].message.content, usage, warnings: engine.model.warnings, requests: (await engine.stats()).source.requests };
  };
  /** What `exportPrefix` gives, as the server has it from then on. */
  const exported = async (page, options, input) => {
    const bytes = await within(page, options, async ({ engine, more }) => {
      const blob = await engine.exportPrefix(more);
      return Array.from(new Uint8Array(await blob.arrayBuffer()));
    }, input);
    assert.ok(Array.isArray(bytes), JSON.stringify(bytes));
    return Buffer.from(bytes);
  };

  test('is shipped with an app and costs nothing; on the second visit no download either', () => visit(async (page) => {
    const truth = await within(page, { store: 'none' }, chat, [...messages, question]);
    server.files.set(PREFIX, await exported(page, { store: 'none' }, messages));
    // Beside one byte of each, which tells whether they have changed.
    const asked = () => server.log.filter(({ path, range }) => (path === PREFIX || path === MODEL) && range !== 'bytes=0-0').length;
    let requests = 0;
    for (const visit of [1, 2]) {
      const { usage, text, warnings } = await within(page, { prefix: PREFIX }, chat, [...messages, question]);
      assert.deepEqual([text, warnings], [truth.text, truth.warnings]);
      const { cached_tokens: cached } = usage.prompt_tokens_details;
      assert.ok(cached > 120 && usage.prompt_tokens - cached < 20, `${cached} of ${usage.prompt_tokens}`);
      if (visit === 2) assert.equal(asked(), requests);
      await page.waitForFunction(async () => (await chord.modelStore.list()).filter(({ complete }) => complete).length === 2);
      requests = asked();
    }
    // Two threads take up what one has computed, and a Blob does as well.
    const blob = await page.evaluate(async ([path, model, given]) => {
      const prefix = await (await fetch(path)).blob();
      const engine = await chord.open({ model, prefix, threads: 2 });
      const { usage, choices } = await engine.chat.completions.create({ messages: given, max_tokens: 6, temperature: 0, ignore_eos: true });
      await engine.dispose();
      return { text: choices[0].message.content, cached: usage.prompt_tokens_details.cached_tokens };
    }, [PREFIX, MODEL, [...messages, question]]);
    assert.deepEqual([blob.text, blob.cached > 120], [truth.text, true]);
  }));

  test('that is missing, damaged or of another model costs a warning only', () => visit(async (page) => {
    const good = await exported(page, { store: 'none' }, messages);
    const foreign = await exported(page, { store: 'none', model: OTHER }, 'hello the hello');
    const truth = await within(page, { store: 'none' }, chat, [...messages, question]);
    const flipped = Buffer.from(good);
    flipped[good.length - 100] ^= 1;
    for (const [bytes, why] of [[undefined, /404|no file/i], [foreign, /another model/], [flipped, /damaged/], [good.subarray(0, 900), /ends early/], [model, /no saved sequence/]]) {
      if (bytes) server.files.set(PREFIX, bytes);
      else server.files.delete(PREFIX);
      const { usage, text, warnings } = await within(page, { prefix: PREFIX, store: 'none' }, chat, [...messages, question]);
      assert.equal(text, truth.text, String(why));
      assert.match(warnings?.at(-1) ?? '', why);
      assert.equal(usage.prompt_tokens_details.cached_tokens, 0);
    }
  }));

  test('is of a text, or of messages; whatever else is refused by name', () => visit(async (page) => {
    const found = await within(page, { store: 'none' }, async ({ engine, failed }) => ({
      text: (await engine.exportPrefix('hello the hello')).size,
      empty: await failed(engine.exportPrefix('')),
      none: await failed(engine.exportPrefix([])),
      field: await failed(engine.exportPrefix('a', { tools: [] })),
      unknown: await failed(engine.exportPrefix([{ role: 'user', content: 'a' }], { stream: true })),
      long: await failed(engine.exportPrefix('hello '.repeat(600))),
    }));
    assert.ok(found.text > 1000);
    assert.deepEqual([found.empty, found.none, found.field, found.unknown].map(({ code, details }) => [code, details?.name]), [
      ['InvalidParameter', 'input'], ['InvalidParameter', 'input'], ['InvalidParameter', 'tools'], ['InvalidParameter', 'stream'],
    ]);
    assert.equal(found.long.code, 'ContextOverflow');
    const bad = await page.evaluate((path) => chord.open({ model: path, prefix: 5 }).catch(chord.failure), MODEL);
    assert.deepEqual([bad.code, bad.details.name], ['InvalidParameter', 'prefix']);
  }));
});

describe('an answer', () => {
  const messages = [{ role: 'user', content: 'Tell me a story about a dog.' }];
  const options = { model: '/tiny.gguf', network };
  const request = { messages, max_tokens: 40, temperature: 0 };

  /** The whole of it, and what comes of going on from `answer`. */
  const whole = (page) => within(page, options, async ({ engine, more }) => (await engine.chat.completions.create({ ...more, max_tokens: 120 })).choices[0].message.content, request);
  const goneOn = (page) => within(page, options, async ({ engine, more }) => {
    const { answer } = await engine.sessions.restore('story');
    const messages = [...more.messages, { role: 'assistant', content: answer }];
    const { choices, usage } = await engine.chat.completions.create({ ...more, messages, continue_final_message: true });
    return { answer, rest: choices[0].message.content, usage };
  }, request);

  test('that was cancelled goes on after a reload', () => visit(async (page) => {
    const truth = await whole(page);
    const begun = await within(page, options, async ({ engine, more }) => {
      let text = '';
      for await (const chunk of await engine.chat.completions.create({ ...more, stream: true }, { session: 'story' })) {
        text += chunk.choices[0].delta.content ?? '';
        if (text.length > 20) break;
      }
      // Stands behind the cancelled call.
      const list = await engine.chat.completions.create({ ...more, max_tokens: 1 }).then(() => engine.sessions.list());
      return { text, list };
    }, request);
    assert.equal(begun.list[0]?.name, 'story', JSON.stringify(begun));
    await page.reload();
    await page.evaluate(await installed(), '/pkg/index.js');
    const { answer, rest, usage } = await goneOn(page);
    assert.ok(answer.startsWith(begun.text), `${answer} goes on from ${begun.text}`);
    assert.ok(rest.length > 0 && truth.startsWith(answer + rest), `${answer}|${rest}`);
    assert.ok(usage.prompt_tokens_details.cached_tokens > usage.prompt_tokens - 4, JSON.stringify(usage));
  }));

  test('whose tab was closed goes on from where it was saved last', () => visit(async (page) => {
    const truth = await whole(page);
    // Time flies, so that it is saved often.
    const script = await readFile(join(root, WORKER), 'utf8');
    const hurry = '{ const now = performance.now.bind(performance); performance.now = () => now() * 10_000; }\n';
    server.fault(WORKER, [{ body: hurry + script, headers: { 'content-type': 'text/javascript' } }]);
    const doomed = await page.context().newPage();
    await doomed.goto(page.url());
    await doomed.evaluate(await installed(), '/pkg/index.js');
    await doomed.evaluate(async ([opening, more]) => {
      const engine = await chord.open(opening);
      const answer = await engine.chat.completions.create({ ...more, stream: true }, { session: 'story' });
      let text = '';
      for await (const chunk of answer) {
        text += chunk.choices[0].delta.content ?? '';
        if (text.length > 30) break;
        // Who breaks off cancels: this tab ends first.
        if (text.length > 20) return;
      }
    }, [options, request]);
    await doomed.close();
    server.fault(WORKER, undefined);
    const { answer, rest } = await goneOn(page);
    assert.ok(answer.length > 0 && answer.length < truth.length, answer);
    assert.ok(rest.length > 0 && truth.startsWith(answer + rest), `${answer}|${rest}`);
  }));

  test('that ends leaves nothing to be gone on from', () => visit(async (page) => {
    const found = await within(page, options, async ({ engine, more }) => {
      await engine.chat.completions.create({ ...more, max_tokens: 5 }, { session: 'story' });
      return engine.sessions.list();
    }, request);
    assert.deepEqual([found.length, found[0].name, found[0].answer], [1, 'story', undefined]);
  }));
});

describe('a tab', () => {
  /** What the engine worker begins with: once it is told to, it ends at its store operation number `kill`. */
  const dying = (kill) => `{
    let count = NaN, isDead = false;
    const channel = new BroadcastChannel('arm');
    channel.onmessage = () => { count = 0; channel.postMessage('armed'); };
    const counted = (prototype, names) => {
      for (const name of names) {
        const method = prototype[name];
        prototype[name] = function (...given) {
          if (isDead) throw new Error('dead');
          count += 1;
          if (count !== ${kill}) return method.apply(this, given);
          if (name === 'write') method.call(this, given[0].subarray(0, given[0].length >> 1), given[1]);
          isDead = true;
          MessagePort.prototype.postMessage = () => undefined;
          close();
          throw new Error('dead');
        };
      }
    };
    counted(FileSystemDirectoryHandle.prototype, ['getDirectoryHandle', 'getFileHandle', 'removeEntry', 'entries', 'values']);
    counted(FileSystemFileHandle.prototype, ['createSyncAccessHandle', 'getFile']);
    counted(FileSystemSyncAccessHandle.prototype, ['truncate', 'write', 'flush', 'close']);
  }\n`;

  test('30 that ends at any store operation of saving leaves the old session or the new one', () => visit(async (page) => {
    const script = await readFile(join(root, WORKER), 'utf8');
    const [short, long] = ['hello the hello', PROMPT];
    const found = { old: 0, new: 0 };
    const first = await within(page, {}, said, short);
    const second = await within(page, { store: 'none' }, ({ complete, more }) => complete(more), long);
    let kill = 1;
    for (let isKilled = true; isKilled; kill += 1) {
      server.fault(WORKER, [{ body: dying(kill) + script, headers: { 'content-type': 'text/javascript' } }]);
      isKilled = await page.evaluate(async ([opening, prompt]) => {
        const engine = await chord.open(opening);
        await engine.completions.create({ prompt, max_tokens: 6, temperature: 0, ignore_eos: true });
        await engine.loaded;
        const channel = new BroadcastChannel('arm');
        await new Promise((armed) => {
          channel.onmessage = armed;
          channel.postMessage('');
        });
        channel.close();
        try {
          await engine.sessions.save('chat');
          return false;
        } catch (error) {
          if (error.code !== 'WorkerFailed') throw error;
          return true;
        } finally {
          await engine.dispose();
        }
      }, [{ model: MODEL, network }, long]);
      server.fault(WORKER, undefined);
      const what = `killed at operation ${kill}`;
      const after = await within(page, {}, async ({ engine, complete, more: [short, long] }) => {
        const list = await engine.sessions.list();
        const { tokens } = await engine.sessions.restore('chat');
        const asked = [await complete(long)];
        await engine.sessions.restore('chat');
        asked.push(await complete(short));
        await engine.sessions.save('chat');
        return { list, tokens, asked };
      }, [short, long]);
      assert.equal(after.code, undefined, `${what}: ${after.message}`);
      assert.equal(after.list.length, 1, what);
      const isNew = after.tokens !== first.session.tokens;
      found[isNew ? 'new' : 'old'] += 1;
      assert.equal(after.tokens, isNew ? second.prompt + 5 : first.session.tokens, what);
      assert.deepEqual(after.asked.map(({ ids }) => ids), [second.ids, first.first.ids], what);
      assert.equal(after.asked[isNew ? 0 : 1].cached, (isNew ? second : first.first).prompt - 1, what);
      const files = await page.evaluate(async () => {
        const names = [];
        const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
        for await (const folder of store.values()) {
          if (folder.kind !== 'directory') continue;
          for await (const name of (await folder.getDirectoryHandle('sessions')).keys()) names.push(name);
        }
        return names;
      });
      assert.equal(files.length, 1, `${what}: nothing is left behind: ${files}`);
    }
    assert.ok(kill > 10 && found.old > 5 && found.new > 1, JSON.stringify({ kill, ...found }));
  }, { allow: [/dead/] }));
});

/** What puts the package into a page. */
async function installed() {
  const { install } = await import('./engine-page.mjs');
  return install;
}

/** Removes the pages of the stored model, as when its file has changed, and leaves its sessions. */
const forgotten = (page) => page.evaluate(async () => {
  const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
  for await (const folder of store.values()) {
    for (const name of folder.kind === 'directory' ? ['pages', 'journal'] : []) {
      // The workers of an engine that was just disposed may still hold them.
      for (let tries = 0; ; tries += 1) {
        const thrown = await folder.removeEntry(name).then(() => undefined, (error) => error);
        if (!thrown || thrown.name === 'NotFoundError') break;
        if (tries === 50) throw thrown;
        await new Promise((done) => setTimeout(done, 100));
      }
    }
  }
});

/** Changes a byte of the one saved session. */
const damaged = (page, at) => page.evaluate(async (place) => {
  const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
  for await (const folder of store.values()) {
    if (folder.kind !== 'directory') continue;
    for await (const handle of (await folder.getDirectoryHandle('sessions')).values()) {
      const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
      bytes[place] ^= 1;
      const writable = await handle.createWritable();
      await writable.write(bytes);
      await writable.close();
    }
  }
}, at);

/** Conversations by turns, each a few rounds long: what their answers are, and how many tokens of each prompt were computed before. */
const byTurns = async ({ engine, complete, more: names }) => {
  const texts = names.map((name) => `${name} `.repeat(30));
  const seen = [];
  for (let round = 0; round < 3; round += 1) {
    for (const [index, text] of texts.entries()) {
      const answer = await complete(text);
      seen.push(answer);
      texts[index] = `${text}${answer.text} ${names[index]}`;
    }
  }
  return { seen, kept: (await engine.stats()).kept };
};

describe('conversations that take turns', () => {
  for (const threads of [1, 2]) {
    test(`are computed once each, by ${threads} threads`, () => visit(async (page) => {
      const names = ['the hello', 'a world', 'one two'];
      const [kept, few, none, tight] = await Promise.all([{}, { maxSequences: 2 }, { maxSequences: 1 }, { maxResidentBytes: 64e6 }]
        .map((options) => within(page, { threads, ...options }, byTurns, names)));
      for (const other of [few, none, tight]) assert.deepEqual(other.seen.map(({ ids }) => ids), kept.seen.map(({ ids }) => ids));
      kept.seen.slice(names.length).forEach(({ cached }, index) => assert.ok(cached >= kept.seen[index].prompt - 3, `${cached} of ${kept.seen[index].prompt}`));
      for (const { cached } of [...few.seen, ...none.seen, ...tight.seen]) assert.ok(cached < 20, `${cached}`);
      assert.deepEqual([kept, few, none, tight].map((result) => result.kept.sequences), [2, 1, 0, 0]);
      assert.ok(kept.kept.bytes > few.kept.bytes && few.kept.bytes > 0 && none.kept.bytes === 0, JSON.stringify([kept.kept, few.kept]));
    }));
  }

  test('are answered right though calls are cancelled at any moment', () => visit(async (page) => {
    const [cancelled, truth] = await Promise.all([true, false].map((isCut) => within(page, {}, async ({ engine, complete, more }) => {
      const seen = [];
      for (let delayMs = 0; delayMs < 10; delayMs += 1) {
        const stop = new AbortController();
        const prompt = 'a world '.repeat(30 + delayMs);
        const cut = more && engine.completions.create({ prompt, max_tokens: 20, ignore_eos: true }, { signal: stop.signal }).catch(() => undefined);
        if (delayMs > 0) setTimeout(() => stop.abort(), 2 * delayMs);
        else stop.abort();
        await cut;
        seen.push((await complete('the hello '.repeat(30))).ids);
      }
      return seen;
    }, isCut)));
    assert.deepEqual(cancelled, truth);
    assert.equal(truth.length, 10);
  }));

  test('and the file that a prefix came from is not needed again', () => visit(async (page) => {
    const bytes = await page.evaluate(async ([source, text]) => {
      const engine = await chord.open({ model: source });
      const prefix = await engine.exportPrefix(text);
      await engine.dispose();
      return Array.from(new Uint8Array(await prefix.arrayBuffer()));
    }, [MODEL, PROMPT]);
    server.files.set(PREFIX, Buffer.from(bytes));
    const [other, cached] = await within(page, { prefix: PREFIX }, async ({ complete, more }) => [await complete('a world '.repeat(30)), (await complete(`${more}the`)).cached], PROMPT);
    assert.equal(other.cached, 1, 'the token that all texts begin with');
    assert.ok(cached > 30, `${cached}`);
  }));
});
