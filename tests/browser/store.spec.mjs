// The durable store: what is on disk is used, what is damaged is fetched again, and nothing is ever mixed.
// Tests are numbered by the faults that the package must survive.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { WEBKIT_FILES } from '../support/webkit-files.mjs';
import { damage, install, withChord } from './engine-page.mjs';
import { isFirefox, notInFirefox, openStage, root } from './support.mjs';

const MODEL = '/model.gguf';
const PAGE_BYTES = 256 * 1024;
/** Ranges that are fetched at a time. */
const STREAMS = 4;
const model = tinyModel({ layers: 3, feedForward: 4096 });
const PAGES = Math.ceil(model.length / PAGE_BYTES);
/** However slowly a page comes, it is recorded once: when it is whole. */
const stepMs = 1e9;
const storeSettings = { pageBytes: PAGE_BYTES, stepMs, ownerSilentMs: 3000 };
const options = { model: MODEL, network: { backoffMs: 20 }, storeSettings };

const stage = await openStage({ files: { [MODEL]: model } });
const { server } = stage;
let expected;

/** Whether workers get a file system that behaves as WebKit's: see store-webkit.spec.mjs. */
const isLikeWebkit = process.env.CHORD_FILES === 'webkit';
const scripts = {};
for (const name of ['io-worker.js', 'engine-worker.js', 'store-worker.js']) {
  const script = await readFile(join(root, 'pkg', name), 'utf8');
  scripts[name] = isLikeWebkit ? `${WEBKIT_FILES}\n${script}` : script;
  server.files.set(`/pkg/${name}`, Buffer.from(scripts[name]));
}

const outcome = (page, more = {}) => page.evaluate((given) => window.chord.outcome(given), { ...options, ...more });

function assertSame(result) {
  assert.equal(result.code, undefined, result.message);
  assert.deepEqual([result.ids, result.logprobs], [expected.ids, expected.logprobs]);
}

/** What `body` gives, and the requests for the model that were made meanwhile. */
async function counted(body) {
  const from = server.log.length;
  const result = await body();
  const requests = server.log.slice(from).filter(({ path, method }) => path === MODEL && method === 'GET');
  return { result, requests, sentBytes: requests.reduce((sum, { sentBytes }) => sum + sentBytes, 0) };
}

/** Resolves when so many bytes of the model have been sent from now on, to the requests that got them. */
async function sentOf(bytes) {
  const from = server.log.length;
  for (;;) {
    const requests = server.log.slice(from).filter(({ path }) => path === MODEL);
    if (requests.reduce((sum, { sentBytes }) => sum + sentBytes, 0) >= bytes) return requests;
    await new Promise((done) => setTimeout(done, 10));
  }
}

/**
 * Fails if bytes of weights were requested: one byte asks whether the file is still the same, once it is open.
 * That of the engine before may come late.
 */
function assertNoWeights({ requests, sentBytes }, what) {
  assert.ok(requests.length <= 2 && requests.every(({ range }) => range === 'bytes=0-0') && sentBytes <= requests.length, `${what ?? ''} ${requests.map(({ range }) => range)}`);
}

/** Another page of the same profile, with the package in it. */
async function another(page) {
  const next = await page.context().newPage();
  await next.goto(server.url('/blank.html'));
  await next.evaluate(install, '/pkg/index.js');
  return next;
}

/** Bytes of the journal's header and of one record. */
const journalSizes = (page) => page.evaluate(async (pages) => {
  const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
  for await (const folder of root.values()) {
    const { size } = await (await folder.getFileHandle('journal')).getFile();
    return { header: size - pages * 44, record: 44 };
  }
  return undefined;
}, PAGES);

/** Runs `body` while IO workers, or those of another script, begin with the code `stub`. */
async function stubbed(stub, body, name = 'io-worker.js') {
  const path = `/pkg/${name}`;
  server.files.set(path, Buffer.from(`${stub}\n${scripts[name]}`));
  try {
    return await body();
  } finally {
    server.files.set(path, Buffer.from(scripts[name]));
  }
}

/** Why tests of files that several workers have open cannot run, or false. */
const unshared = (isFirefox || isLikeWebkit) && `not in ${isFirefox ? 'Firefox' : 'WebKit'}: it lets one worker at a time open a file`;

/** Runs `body` in a browser that lets one worker at a time open a file. */
async function exclusively(body) {
  const stub = 'delete FileSystemSyncAccessHandle.prototype.mode; { const open = FileSystemFileHandle.prototype.createSyncAccessHandle; FileSystemFileHandle.prototype.createSyncAccessHandle = function () { return open.call(this); }; }';
  const workers = ['io-worker.js', 'engine-worker.js', 'store-worker.js'];
  return workers.reduce((inner, name) => () => stubbed(stub, inner, name), body)();
}

/** Code that runs `before` ahead of each write of more than a record; it may throw, or return another count of bytes. */
const writing = (before) => `{
  const { write } = FileSystemSyncAccessHandle.prototype;
  let calls = 0, bytes = 0;
  FileSystemSyncAccessHandle.prototype.write = function (chunk, options) {
    calls += 1;
    bytes += chunk.length;
    ${before}
    return write.call(this, chunk, options);
  };
}`;

before(async () => {
  expected = await withChord(stage, (page) => outcome(page, { store: 'none' }));
  assert.equal(expected.ids?.length, 6, expected.message);
});

/** What IO workers begin with where there is no connection. */
const OFFLINE = "Object.defineProperty(navigator, 'onLine', { get: () => false });";

/**
 * Opens an engine, waits until it is loaded and `until` a warning came, the whole was checked, or so many
 * milliseconds are over, and gives its answer, its warnings and the states of its groups.
 */
const lingering = (page, until = 500, more = {}) => page.evaluate(async ([given, wanted]) => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const isChecked = async () => {
    const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
    for await (const folder of store.values()) {
      if (folder.kind === 'directory' && await folder.getFileHandle('checked').then(() => true, () => false)) return true;
    }
    return false;
  };
  const engine = await window.chord.open(given);
  try {
    await engine.loaded;
    if (typeof wanted === 'number') await pause(wanted);
    const isOver = async () => (wanted === 'warned' ? engine.model.warnings.length > 0 : typeof wanted === 'number' || isChecked());
    for (let tries = 0; tries < 4000 && !await isOver(); tries += 1) await pause(50);
    const completion = await engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2 });
    const { token_ids: ids, token_logprobs: logprobs } = completion.choices[0].logprobs;
    const { groups } = await engine.stats();
    return { ids, logprobs, groups, warnings: engine.model.warnings };
  } finally {
    await engine.dispose();
  }
}, [{ ...options, ...more }, until]);

describe('a stored model', () => {
  test('29 is opened without a request, even where the server is gone', () => withChord(stage, async (page) => {
    const cold = await counted(() => outcome(page));
    assertSame(cold.result);
    assert.ok(cold.sentBytes <= model.length, `${cold.sentBytes} of ${model.length}`);
    server.fault(MODEL, { disconnectAfter: 0 });
    const warm = await counted(() => outcome(page));
    server.fault(MODEL, undefined);
    assertSame(warm.result);
    assertNoWeights(warm);
    assert.equal(warm.result.source.fetchedBytes, 0);
    assert.ok(warm.result.source.storeBytes >= model.length * 0.9, `${warm.result.source.storeBytes}`);
  }));

  test('29 makes not a single request where there is no connection', () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    await stubbed(OFFLINE, async () => {
      const { result, requests } = await counted(() => lingering(page));
      assertSame(result);
      assert.equal(requests.length, 0);
    });
  }));

  test('20, 29 is compared with the server once it is open, by one byte', () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    const { result, requests, sentBytes } = await counted(() => lingering(page));
    assertSame(result);
    assert.deepEqual([requests.map(({ range }) => range), sentBytes], [['bytes=0-0'], 1]);
    assert.deepEqual(result.warnings, []);
    for (const fault of [{ status: 404 }, { status: 503 }, { disconnectAfter: 0 }]) {
      server.fault(MODEL, fault);
      const failing = await counted(() => lingering(page));
      assertSame(failing.result);
      assert.ok(failing.requests.length <= 2, 'Chromium itself repeats a request that was cut off');
      server.fault(MODEL, undefined);
    }
    const again = await counted(() => outcome(page));
    assertSame(again.result);
    assertNoWeights(again);
  }));

  test('20, 29 that has changed on the server is used to the end, and fetched anew the next time', () => withChord(stage, async (page) => {
    const other = tinyModel({ layers: 3, feedForward: 4096, seed: 2 });
    assertSame(await outcome(page));
    server.files.set(MODEL, other);
    try {
      const old = await counted(() => lingering(page, 'warned'));
      assertSame(old.result);
      assert.equal(old.sentBytes, 1);
      assert.match(old.result.warnings.join(), /has changed on its server/);
      await stubbed(OFFLINE, async () => {
        const offline = await counted(() => outcome(page));
        assertSame(offline.result);
        assert.equal(offline.requests.length, 0);
      });
      const fresh = await counted(() => outcome(page));
      assert.equal(fresh.result.code, undefined, fresh.result.message);
      assert.notDeepEqual(fresh.result.logprobs, expected.logprobs);
      assert.ok(fresh.sentBytes >= other.length * 0.9 && fresh.sentBytes <= other.length + 1, `${fresh.sentBytes} of ${other.length}`);
      assert.deepEqual((await outcome(page, { store: 'none' })).logprobs, fresh.result.logprobs);
      assert.equal(await page.evaluate((url) => window.chord.modelStore.verify(url), MODEL), true);
      const warm = await counted(() => outcome(page));
      assert.deepEqual(warm.result.logprobs, fresh.result.logprobs);
      assertNoWeights(warm);
    } finally {
      server.files.set(MODEL, model);
    }
  }));

  test('34 damaged in one page has that page fetched again alone', () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    const { header, record } = await journalSizes(page);
    const cases = {
      'a record that is wrong': ['journal', { at: header + 2 * record + 9, to: header + 2 * record + 10, value: 0x5a }],
      'a torn tail': ['journal', { cut: -5 }],
      'a flipped byte': ['pages', { at: 3 * PAGE_BYTES + 7, to: 3 * PAGE_BYTES + 8, value: 0x5a }],
      'a zeroed page': ['pages', { at: 2 * PAGE_BYTES, to: 3 * PAGE_BYTES }],
      'a short file': ['pages', { cut: (PAGES - 1) * PAGE_BYTES + 10 }],
    };
    for (const [name, [file, edit]] of Object.entries(cases)) {
      await damage(page, file, edit);
      const { result, sentBytes } = await counted(() => outcome(page));
      assertSame(result);
      assert.ok(sentBytes > 0 && sentBytes <= PAGE_BYTES + 1, `${name}: ${sentBytes}`);
      const again = await counted(() => outcome(page));
      assertNoWeights(again, name);
    }
  }));

  test('34 damaged in its first page can be planned for, and opened under a ceiling', { skip: unshared }, () => withChord(stage, async (page) => {
    const plan = () => page.evaluate((given) => window.chord.planned(given), options);
    assertSame(await outcome(page));
    const whole = await plan();
    const flipped = { at: 7, to: 8, value: 0x5a };
    await damage(page, 'pages', flipped);
    const { result, sentBytes } = await counted(plan);
    assert.deepEqual({ ...result, usageBytes: 0 }, { ...whole, usageBytes: 0, downloadBytes: result.downloadBytes, storedBytes: result.storedBytes });
    assert.ok(sentBytes > 0 && sentBytes <= 2 * PAGE_BYTES, `${sentBytes}`);
    for (const at of [7, 3 * PAGE_BYTES + 7]) {
      await damage(page, 'pages', { ...flipped, at, to: at + 1 });
      const run = await counted(() => outcome(page, { maxResidentBytes: Math.round(whole.budgetBytes * 0.6) }));
      assertSame(run.result);
      assert.ok(run.sentBytes > 0 && run.sentBytes <= PAGE_BYTES + 1, `${run.sentBytes}`);
    }
  }));

  test('34 damaged under two tabs is mended by the one that owns it', { skip: unshared }, () => withChord(stage, async (page) => {
    const other = await another(page);
    await page.evaluate(async (given) => {
      window.engine = await window.chord.open(given);
      await window.engine.loaded;
    }, options);
    /** What the other tab does before it reads a page the first time, or every time. */
    const reading = (before) => `{
      const read = FileSystemSyncAccessHandle.prototype.read;
      let times = 0;
      FileSystemSyncAccessHandle.prototype.read = function (bytes, options) {
        const isPage = options?.at === ${3 * PAGE_BYTES} && bytes.length === ${PAGE_BYTES};
        if (isPage) times += 1;
        if (isPage && times === 1) { ${before.first ?? ''} }
        const count = read.call(this, bytes, options);
        if (isPage) { ${before.always ?? ''} }
        return count;
      };
    }`;
    // Damaged on disk; read damaged once; read damaged whenever this tab tries.
    const cases = [
      [{ first: `this.write(new Uint8Array(9), { at: ${3 * PAGE_BYTES + 5} }); this.flush();` }, 1],
      [{ always: 'if (times === 1) bytes[100] ^= 1;' }, 0],
      [{ always: 'bytes[100] ^= 1;' }, 1],
    ];
    for (const [before, pages] of cases) {
      const { result, sentBytes } = await counted(() => stubbed(reading(before), () => outcome(other)));
      assertSame(result);
      assert.ok(sentBytes >= pages * PAGE_BYTES / 2 && sentBytes <= pages * PAGE_BYTES + 1, `${sentBytes} of ${pages}`);
    }
    await page.evaluate(() => window.engine.dispose());
    assertNoWeights(await counted(() => outcome(page)));
    assert.equal(await page.evaluate((url) => window.chord.modelStore.verify(url), MODEL), true);
  }));

  test('34, 36 whose journal is damaged at its head, or of another layout, is fetched again', () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    for (const edit of [{ at: 0, to: 40 }, { at: 4, to: 5, value: 9 }, { cut: 0 }, { cut: 20 }]) {
      await damage(page, 'journal', edit);
      const { result, sentBytes } = await counted(() => outcome(page));
      assertSame(result);
      assert.ok(sentBytes > model.length * 0.9 && sentBytes <= model.length, `${sentBytes}`);
    }
    assertNoWeights(await counted(() => outcome(page)));
  }));

  test('20 that changed on the server while it was stored in part is fetched anew', () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    await damage(page, 'pages', { cut: 3 * PAGE_BYTES });
    server.fault(MODEL, { etag: '"another"' });
    const { result, sentBytes } = await counted(() => outcome(page));
    server.fault(MODEL, undefined);
    assertSame(result);
    assert.ok(sentBytes > model.length * 0.9 && sentBytes <= model.length + 1, `${sentBytes}`);
  }));

  test('20 that changes in the middle is SourceChanged, and forgotten', () => withChord(stage, async (page) => {
    let count = 0;
    server.fault(MODEL, () => {
      count += 1;
      return count > 3 ? { etag: '"another"' } : undefined;
    });
    assert.equal((await outcome(page)).code, 'SourceChanged');
    server.fault(MODEL, undefined);
    const { result, sentBytes } = await counted(() => outcome(page));
    assertSame(result);
    assert.ok(sentBytes > model.length * 0.9, `${sentBytes}`);
  }));

  test('21, 27 is kept only with a version, and only if it is a model', () => withChord(stage, async (page) => {
    for (const fault of [{ etag: null, headers: { 'last-modified': null } }, { etag: 'W/"1"', headers: { 'last-modified': null } }]) {
      server.fault(MODEL, fault);
      for (const _ of [1, 2]) {
        const { result, sentBytes } = await counted(() => outcome(page));
        assertSame(result);
        assert.ok(sentBytes > model.length * 0.9, `${sentBytes}`);
      }
    }
    server.fault(MODEL, { html: true });
    assert.equal((await outcome(page)).code, 'InvalidGguf');
    server.fault(MODEL, undefined);
    assertSame(await outcome(page));
    assertNoWeights(await counted(() => outcome(page)));
  }));

  test('29 is planned from the disk, and what is still to fetch is told', () => withChord(stage, async (page) => {
    const planned = (more = {}) => page.evaluate((given) => window.chord.planned(given), { ...options, ...more });
    const absent = await counted(() => planned());
    assert.deepEqual([absent.result.storedBytes, absent.result.downloadBytes], [0, model.length]);
    assert.deepEqual(await page.evaluate(() => window.chord.modelStore.list()), []);
    assertSame(await outcome(page));
    const { result, requests } = await counted(() => planned());
    assert.deepEqual([result.storedBytes, result.downloadBytes, requests.length], [model.length, 0, 0]);
    assert.deepEqual([(await planned({ store: 'none' })).storedBytes, result.fits, result.reasons], [0, true, []]);
    await damage(page, 'journal', { cut: -3 * 44 });
    const partly = await planned();
    assert.equal(partly.storedBytes + partly.downloadBytes, model.length);
    assert.ok(partly.downloadBytes > 2 * PAGE_BYTES && partly.downloadBytes <= 3 * PAGE_BYTES, `${partly.downloadBytes}`);
    await page.evaluate(() => { navigator.storage.estimate = () => Promise.resolve({ quota: 1000, usage: 900 }); });
    const tight = await planned();
    assert.equal(tight.fits, true);
    assert.match(tight.reasons.join(), /grants 100 bytes more/);
  }));

  test('shows in the statistics which layers lie on the disk', () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    const { budgetBytes } = await page.evaluate((url) => window.chord.plan(url), MODEL);
    const { groups } = await lingering(page, 0, { maxResidentBytes: Math.round(budgetBytes * 0.8) });
    assert.equal(groups.length, 5);
    assert.ok(groups.includes('stored') && !groups.includes('absent'), groups.join());
    const { groups: unkept } = await lingering(page, 0, { maxResidentBytes: Math.round(budgetBytes * 0.8), store: 'none' });
    assert.ok(unkept.includes('absent') && !unkept.includes('stored'), unkept.join());
    assert.deepEqual((await lingering(page, 0)).groups, Array(5).fill('pinned'));
  }));

  test('shows layers that are computed from disk while they are', { skip: unshared }, () => withChord(stage, async (page) => {
    assertSame(await outcome(page));
    const { seen, layers } = await page.evaluate(async (given) => {
      const { budgetBytes } = await window.chord.planned(given);
      const engine = await window.chord.open({ ...given, maxResidentBytes: Math.round(budgetBytes * 0.6) });
      await engine.loaded;
      let isOver = false;
      const tokens = engine.completions.create({ prompt: 'hello', max_tokens: 60, temperature: 0, ignore_eos: true });
      const seen = new Set();
      void tokens.finally(() => { isOver = true; });
      while (!isOver) (await engine.stats()).groups.forEach((state, group) => seen.add(`${group} ${state}`));
      await tokens;
      const { layers, groups } = await engine.stats();
      await engine.dispose();
      groups.forEach((state, group) => seen.add(`${group} at rest ${state}`));
      return { seen: [...seen], layers };
    }, options);
    const onDisk = [0, 1, 2, 3, 4].filter((group) => seen.includes(`${group} at rest stored`));
    assert.ok(onDisk.length > 0 && onDisk.length < 5 && layers.direct > 0 && layers.hits > 0, JSON.stringify({ seen, layers }));
    assert.ok(onDisk.some((group) => seen.includes(`${group} computing`)), seen.join());
    assert.equal(layers.syncLoads, 0);
  }));

  test('is shared by engines of any ceiling, with the same tokens', { skip: unshared }, () => withChord(stage, async (page) => {
    const whole = await page.evaluate(async (given) => {
      const engine = await window.chord.open(given);
      await engine.loaded;
      const { memory } = await engine.stats();
      await engine.dispose();
      return memory.budgetBytes;
    }, options);
    for (const share of [0.9, 0.7]) {
      const run = await counted(() => outcome(page, { maxResidentBytes: Math.round(whole * share) }));
      assertSame(run.result);
      assertNoWeights(run);
    }
  }));
});

describe('a ceiling', () => {
  test('gives the same tokens while the model is fetched for the first time, each byte once', () => withChord(stage, async (page) => {
    const { budgetBytes, leastBytes } = await page.evaluate((url) => window.chord.plan(url), MODEL);
    for (const maxResidentBytes of [leastBytes, Math.round((leastBytes + budgetBytes) / 2)]) {
      const { result, sentBytes } = await counted(() => outcome(page, { maxResidentBytes }));
      assertSame(result);
      assert.ok(sentBytes <= model.length, `${sentBytes} of ${model.length}`);
      assert.equal(await page.evaluate((url) => window.chord.modelStore.delete(url), MODEL), true);
    }
  }));
});

describe('without a ceiling', () => {
  /** A device with so much memory, as workers see it. */
  const device = (bytes) => `Object.defineProperty(navigator, 'deviceMemory', { get: () => ${bytes} / 2 ** 30 });`;
  const planned = (page, more = {}) => page.evaluate((given) => window.chord.planned(given), { ...options, ...more });

  test('half of the device is used where the rest can be read from disk, and the plan says why', { skip: unshared }, () => withChord(stage, async (page) => {
    const whole = await stubbed(device(2 ** 33), () => planned(page), 'engine-worker.js');
    assert.deepEqual([whole.bound, whole.reasons], ['model', []]);
    const bytes = Math.round(whole.budgetBytes * 1.4);
    await stubbed(device(bytes), async () => {
      const half = await planned(page);
      assert.deepEqual([half.bound, half.budgetBytes, half.fits], ['device', Math.floor(bytes / 2), true]);
      assert.match(half.reasons.join(), /this device has about .* GiB of memory: \d+ bytes of it are used/);
      assertSame(await outcome(page));
      const result = await outcome(page);
      assertSame(result);
      assert.ok(result.layers.direct > 0 && result.layers.pinned < 3, JSON.stringify(result.layers));
      // What is not kept would be fetched for every token: the plan only tells.
      const unkept = await outcome(page, { store: 'none' });
      assertSame(unkept);
      assert.equal(unkept.layers.pinned, 3);
      const asked = await planned(page, { maxResidentBytes: whole.leastBytes });
      assert.deepEqual([asked.bound, asked.budgetBytes], ['caller', whole.leastBytes]);
    }, 'engine-worker.js');
    await stubbed(device(1000), async () => {
      const { budgetBytes, leastBytes, fits } = await planned(page);
      assert.deepEqual([budgetBytes, fits], [leastBytes, true]);
      assertSame(await outcome(page));
    }, 'engine-worker.js');
  }));
});

for (const name of ['hf:some/repo:Q4_0', 'hf:some/repo/model-Q4_0.gguf']) describe(`a model of the hub, ${name},`, () => {
  const LIST = '/api/models/some/repo/tree/main';
  const FILE = '/some/repo/resolve/main/model-Q4_0.gguf';
  const onHub = { model: name, network: { ...options.network, hub: server.origin } };

  const publish = (bytes, oid = createHash('sha256').update(bytes).digest('hex')) => {
    server.files.set(FILE, bytes);
    server.files.set(LIST, Buffer.from(JSON.stringify([{ type: 'file', path: 'model-Q4_0.gguf', size: bytes.length, lfs: { oid, size: bytes.length } }])));
  };
  const requestsOf = async (body) => {
    const from = server.log.length;
    const result = await body();
    return { result, requests: server.log.slice(from).filter(({ path }) => [LIST, FILE].includes(path)) };
  };
  const noteIs = (page, note) => page.evaluate(async (wanted) => {
    const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
    for await (const folder of store.values()) {
      if (folder.kind === 'directory') return folder.getFileHandle(wanted).then(() => true, () => false);
    }
    return undefined;
  }, note);

  test('29 opens by its name without a single request where there is no connection', () => withChord(stage, async (page) => {
    publish(model);
    assertSame(await outcome(page, onHub));
    await stubbed(OFFLINE, async () => {
      const { result, requests } = await requestsOf(() => lingering(page, 500, onHub));
      assertSame(result);
      assert.deepEqual(requests, []);
    });
  }));

  test('21 is the same under another ETag as long as it has the same SHA-256, and another under another', () => withChord(stage, async (page) => {
    publish(model);
    const sent = (requests) => requests.filter(({ path }) => path === FILE).reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    let tag = 0;
    // Of every answer, as from servers that do not agree with each other.
    server.fault(FILE, () => ({ etag: `"${tag += 1}"` }));
    try {
      assertSame(await lingering(page, 'checked', onHub));
      for (let visit = 0; visit < 3; visit += 1) {
        const { result, requests } = await requestsOf(() => lingering(page, 500, onHub));
        assertSame(result);
        assert.deepEqual(result.warnings, []);
        assert.ok(sent(requests) <= 1, `${sent(requests)} bytes`);
      }
      const other = tinyModel({ layers: 3, feedForward: 4096, seed: 2 });
      publish(other);
      const seen = [];
      for (let visit = 0; visit < 2; visit += 1) {
        const { result, requests } = await requestsOf(() => lingering(page, 500, onHub));
        seen.push([result.logprobs[0] === expected.logprobs[0], sent(requests) > other.length * 0.9]);
      }
      // The hub is asked again in the first of these visits or in the second, by when the one before has had its doubts.
      assert.equal(seen[1][0], false);
      assert.equal(seen.filter(([, isFetched]) => isFetched).length, 1, JSON.stringify(seen));
    } finally {
      server.fault(FILE, undefined);
    }
  }));

  test('28 is compared with its SHA-256 once in its life', () => withChord(stage, async (page) => {
    publish(model);
    assertSame(await lingering(page, 'checked', onHub));
    assert.equal(await noteIs(page, 'checked'), true);
    const hashing = `{
      const { postMessage } = MessagePort.prototype;
      MessagePort.prototype.postMessage = function (message, transfer) {
        if (message.type === 'hashed') reportError(new Error('asked to hash again'));
        postMessage.call(this, message, transfer);
      };
    }`;
    await stubbed(hashing, async () => assertSame(await lingering(page, 500, onHub)), 'store-worker.js');
  }));

  test('28 is compared by the one worker that can open it, where it must be one', () => withChord(stage, async (page) => {
    publish(model);
    await exclusively(async () => assertSame(await lingering(page, 'checked', onHub)));
    assert.equal(await noteIs(page, 'checked'), true);
  }));

  test('28 that came with one flipped bit is told, and fetched anew', () => withChord(stage, async (page) => {
    publish(model);
    server.fault(FILE, { flipBit: model.length - 4000 });
    const wrong = await lingering(page, 'warned', onHub);
    server.fault(FILE, undefined);
    assert.match(wrong.warnings.join(), /SHA-256/);
    assert.equal(await noteIs(page, 'doubt'), true);
    // Its room is free at once.
    assert.deepEqual((await page.evaluate(() => window.chord.modelStore.list())).map(({ storedBytes }) => storedBytes), []);
    const from = server.log.length;
    const right = await lingering(page, 'checked', onHub);
    assertSame(right);
    assert.deepEqual(right.warnings, []);
    const sentBytes = server.log.slice(from).filter(({ path }) => path === FILE).reduce((sum, entry) => sum + entry.sentBytes, 0);
    assert.ok(sentBytes > model.length * 0.9, `${sentBytes}`);
    assert.equal(await noteIs(page, 'doubt'), false);
  }));

  test('28 that its server always gives with one flipped bit is fetched twice, not for ever', () => withChord(stage, async (page) => {
    publish(model);
    server.fault(FILE, { flipBit: model.length - 4000 });
    const fetched = async (until) => {
      const from = server.log.length;
      const { warnings, ids } = await lingering(page, until, onHub);
      assert.equal(ids.length, 6);
      return [warnings.length, server.log.slice(from).filter(({ path }) => path === FILE).reduce((sum, entry) => sum + entry.sentBytes, 0)];
    };
    const [first, second, third] = [await fetched('warned'), await fetched('warned'), await fetched('checked')];
    server.fault(FILE, undefined);
    for (const [warnings, bytes] of [first, second]) assert.ok(warnings === 1 && bytes > model.length * 0.9, `${[first, second]}`);
    assert.ok(third[0] === 0 && third[1] <= 1, `${third}`);
  }));
});

describe('an address', () => {
  test('is the same with and without what only says how to show the file', () => withChord(stage, async (page) => {
    assertSame(await outcome(page, { model: `${MODEL}?download=true` }));
    const { result, sentBytes } = await counted(() => outcome(page));
    assertSame(result);
    assert.ok(sentBytes <= 1, `${sentBytes}`);
    assert.equal((await page.evaluate(() => window.chord.modelStore.list())).length, 1);
  }));
});

describe('tabs', () => {
  for (const tabs of [2, 5]) {
    test(`37 ${tabs} at once fetch one model once`, { skip: unshared }, () => withChord(stage, async (page) => {
      const pages = [page, ...await Promise.all(Array.from({ length: tabs - 1 }, () => another(page)))];
      const { result, sentBytes } = await counted(() => Promise.all(pages.map((each) => outcome(each))));
      for (const each of result) assertSame(each);
      assert.ok(sentBytes <= model.length * 1.01, `${sentBytes} of ${model.length}`);
    }));
  }

  test('37 fetch one model once, though taking over is slow', { skip: unshared }, () => withChord(stage, async (page) => {
    // Who takes over waits for a note after it has the lock, and those who wait know little of the journal.
    const slow = `{
      const { getFileHandle } = FileSystemDirectoryHandle.prototype;
      FileSystemDirectoryHandle.prototype.getFileHandle = async function (name, options) {
        if (name === 'doubt' || (name === 'journal' && !options.create)) await new Promise((done) => setTimeout(done, 400));
        return getFileHandle.call(this, name, options);
      };
    }`;
    await stubbed(slow, async () => {
      const pages = [page, await another(page), await another(page)];
      const { result, sentBytes } = await counted(() => Promise.all(pages.map((each) => outcome(each))));
      for (const each of result) assertSame(each);
      assert.ok(sentBytes <= model.length * 1.01, `${sentBytes} of ${model.length}`);
    });
  }));

  test('37 fetch one model once, though the one that fetches has to wait, and the other is slow to ask', { skip: unshared }, () => withChord(stage, async (page) => {
    const slow = `{
      const { getFileHandle } = FileSystemDirectoryHandle.prototype;
      FileSystemDirectoryHandle.prototype.getFileHandle = async function (name, options) {
        if (name === 'journal') await new Promise((done) => setTimeout(done, 1500));
        return getFileHandle.call(this, name, options);
      };
    }`;
    const impatient = { network: { ...options.network, idleMs: 4000 }, storeSettings: { ...storeSettings, ownerSilentMs: 1000 } };
    const stallAfter = 2.5 * PAGE_BYTES;
    server.fault(MODEL, { stallAfter });
    const { result, sentBytes } = await counted(async () => {
      const from = server.log.length;
      const leading = outcome(await another(page), impatient);
      while (server.log.slice(from).filter((entry) => entry.sentBytes === stallAfter).length < 3) await new Promise((done) => setTimeout(done, 10));
      server.fault(MODEL, undefined);
      const following = stubbed(slow, () => outcome(page, impatient));
      return Promise.all([leading, following]);
    });
    for (const each of result) assertSame(each);
    assert.ok(sentBytes <= model.length * 1.01, `${sentBytes} of ${model.length}`);
  }));

  test('37 go on when the one that fetches is killed', { skip: unshared }, () => withChord(stage, async (page) => {
    server.throttle.bytesPerSecond = 3_000_000;
    const leader = await another(page);
    const { result, sentBytes } = await counted(async () => {
      void leader.evaluate((given) => window.chord.outcome(given), options).catch(() => undefined);
      const own = await sentOf(4 * PAGE_BYTES);
      const following = outcome(page);
      await page.evaluate(async () => {
        while (!(await navigator.locks.query()).pending.some(({ name }) => name.startsWith('wasm-chord.store.'))) await new Promise((done) => setTimeout(done, 10));
      });
      await leader.close();
      // Its workers take a moment to end.
      while (own.some(({ done }) => !done)) await new Promise((done) => setTimeout(done, 10));
      server.throttle.bytesPerSecond = Infinity;
      return following;
    });
    assertSame(result);
    assert.ok(sentBytes <= model.length + (STREAMS + 1) * PAGE_BYTES, `${sentBytes} of ${model.length}`);
  }));
});

describe('a browser', () => {
  test('33 without the file system, or that refuses it, works from the network', async () => {
    const stubs = [
      ['navigator.storage.getDirectory = undefined;', 'the model is not kept on this device: there is no private file system here'],
      ["navigator.storage.getDirectory = () => Promise.reject(new DOMException('raw text', 'SecurityError'));", 'the model is not kept on this device: the browser does not allow it here'],
      ["navigator.storage.getDirectory = () => Promise.reject(new DOMException('raw text', 'UnknownError'));", "the model is not kept on this device: the browser's file system failed"],
      ["FileSystemFileHandle.prototype.createSyncAccessHandle = () => Promise.reject(new DOMException('raw text', 'NoModificationAllowedError'));", 'the store is not used: its files are in use elsewhere'],
    ];
    for (const [stub, words] of stubs) {
      await stubbed(stub, () => withChord(stage, async (page) => {
        const { result, sentBytes } = await counted(() => outcome(page));
        assertSame(result);
        assert.ok(sentBytes >= model.length * 0.9, `${sentBytes}`);
        const warnings = await page.evaluate(async (given) => {
          const engine = await window.chord.open(given);
          await engine.dispose();
          return engine.model.warnings;
        }, options);
        assert.deepEqual(warnings.map((warning) => warning.slice(warning.indexOf(': ') + 2)), [words]);
      }));
    }
  });

  test('33 whose files another worker has open for a moment yet stores the same', () => withChord(stage, async (page) => {
    const busy = `{
      const { createSyncAccessHandle } = FileSystemFileHandle.prototype;
      let count = 0;
      FileSystemFileHandle.prototype.createSyncAccessHandle = function (...given) {
        count += 1;
        if (count <= 5) return Promise.reject(new DOMException('in use', 'NoModificationAllowedError'));
        return createSyncAccessHandle.apply(this, given);
      };
    }`;
    await stubbed(busy, async () => assertSame(await outcome(page)));
    assert.equal(await page.evaluate((url) => window.chord.modelStore.verify(url), MODEL), true);
  }));

  test('33 that lets one worker at a time open a file is planned for, and stores the same', { skip: unshared }, () => withChord(stage, async (page) => {
    const planned = (more) => page.evaluate((given) => window.chord.planned(given), { ...options, ...more });
    const shared = await planned({ maxResidentBytes: 1 });
    await exclusively(async () => {
      assertSame(await outcome(page));
      // Layers cannot be read in place, so that they need room to pass through memory.
      const { fits, leastBytes } = await planned({ maxResidentBytes: 1 });
      assert.deepEqual([fits, leastBytes], [false, (await planned({ maxResidentBytes: 1, store: 'none' })).leastBytes]);
      assert.ok(leastBytes > shared.leastBytes);
      assert.equal((await planned({ maxResidentBytes: leastBytes })).fits, true);
      const run = await counted(() => outcome(page, { maxResidentBytes: leastBytes }));
      assertSame(run.result);
      assertNoWeights(run);
    });
  }));

  test('31 whose quota is used up in the middle goes on, and what is stored stays good', () => withChord(stage, async (page) => {
    const full = writing(`if (bytes > ${5 * PAGE_BYTES}) throw new DOMException('full', 'QuotaExceededError');`);
    await stubbed(full, async () => {
      const warnings = await page.evaluate(async (given) => {
        const engine = await window.chord.open(given);
        await engine.loaded;
        await engine.dispose();
        return engine.model.warnings;
      }, options);
      assert.match(warnings.join(), /only a part of the model is kept on this device: the browser grants no more storage$/);
      assertSame(await outcome(page));
    });
    const { result, sentBytes } = await counted(() => outcome(page));
    assertSame(result);
    assert.ok(sentBytes < model.length, `${sentBytes}`);
    assert.equal(await page.evaluate((url) => window.chord.modelStore.verify(url), MODEL), true);
  }));

  test('31 removes the model that was used longest ago, never one in use', () => withChord(stage, async (page) => {
    const paths = ['/one.gguf', '/two.gguf', '/three.gguf'];
    for (const path of paths) server.files.set(path, model);
    const room = 16 * 2 ** 20 + Math.round(2.5 * model.length);
    // Counts what models take, as the browser would.
    const counting = `navigator.storage.estimate = async () => {
      let usage = 0;
      const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord', { create: true });
      for await (const folder of store.values()) {
        if (folder.kind === 'directory') usage += (await (await folder.getFileHandle('pages')).getFile()).size;
      }
      return { quota: ${room}, usage };
    };`;
    const stored = () => page.evaluate(async () => (await window.chord.modelStore.list()).map(({ source }) => new URL(source).pathname).sort());
    await stubbed(counting, async () => {
      for (const path of paths) assertSame(await outcome(page, { model: path }));
      assert.deepEqual(await stored(), ['/three.gguf', '/two.gguf']);
      await page.evaluate(async (given) => { window.engine = await window.chord.open(given); await window.engine.loaded; }, { ...options, model: paths[1] });
      assertSame(await outcome(page, { model: paths[0] }));
      assert.deepEqual(await stored(), ['/one.gguf', '/two.gguf']);
      await page.evaluate(() => window.engine.dispose());
      // One that would not fit whatever was removed costs nothing that is there.
      server.files.set('/huge.gguf', Buffer.concat([model, Buffer.alloc(2 * model.length)]));
      assertSame(await outcome(page, { model: '/huge.gguf' }));
      assert.deepEqual(await stored(), ['/one.gguf', '/two.gguf']);
    });
  }));

  test('32 that writes in several goes stores the same', () => withChord(stage, async (page) => {
    await stubbed(writing('if (chunk.length > 1000) chunk = chunk.subarray(0, 1000 + (chunk.length >> 1));'), async () => assertSame(await outcome(page)));
    assert.equal(await page.evaluate((url) => window.chord.modelStore.verify(url), MODEL), true);
    assertNoWeights(await counted(() => outcome(page)));
  }));

  test('32 that writes nothing stores nothing, and the model works', () => withChord(stage, async (page) => {
    await stubbed(writing('if (chunk.length > 1000 && calls > 20) return 0;'), async () => assertSame(await outcome(page)));
    const { result, sentBytes } = await counted(() => outcome(page));
    assertSame(result);
    assert.ok(sentBytes > 0 && sentBytes <= model.length + 1, `${sentBytes}`);
    assert.equal(await page.evaluate((url) => window.chord.modelStore.verify(url), MODEL), true);
  }));
});

describe('a ceiling without a store', () => {
  test('is planned and warned about with the bytes that it costs for every token', () => withChord(stage, async (page) => {
    const planned = (more) => page.evaluate((given) => window.chord.planned(given), { ...options, ...more });
    const warned = (more) => page.evaluate(async (given) => {
      const engine = await window.chord.open(given);
      await engine.loaded;
      const fetched = async () => (await engine.stats()).source.fetchedBytes;
      const before = await fetched();
      await engine.completions.create({ prompt: [270], max_tokens: 4, ignore_eos: true, temperature: 0, draft_max: 0 });
      const bytes = await fetched() - before;
      const { layers } = await engine.stats();
      await engine.dispose();
      return { bytes, layers, warnings: engine.model.warnings };
    }, { ...options, ...more });
    const { leastBytes } = await planned({ store: 'none' });
    for (const store of ['none', 'memory']) {
      const plan = await planned({ store, maxResidentBytes: leastBytes });
      const { bytes, layers, warnings } = await warned({ store, maxResidentBytes: leastBytes });
      assert.ok(plan.fits && plan.fetchedBytesPerToken > 0);
      const words = new RegExp(`^layers of ${plan.fetchedBytesPerToken} bytes do not fit the ceiling and are not stored`);
      assert.match(plan.reasons.join(), words);
      assert.match(warnings.join(), words);
      assert.equal(layers.passingBytes, plan.fetchedBytesPerToken);
      // Four passes, of which the first may find some layers in the ring already.
      assert.ok(bytes <= 4.2 * plan.fetchedBytesPerToken && bytes >= 2 * plan.fetchedBytesPerToken, `${bytes} of ${plan.fetchedBytesPerToken} a token`);
    }
    for (const more of [{ store: 'none' }, { maxResidentBytes: leastBytes }]) {
      const plan = await planned(more);
      assert.deepEqual([plan.fetchedBytesPerToken, plan.reasons], [0, []]);
      assert.deepEqual((await warned(more)).warnings, []);
    }
    // A store that fails comes to the same.
    await stubbed('navigator.storage.getDirectory = undefined;', async () => {
      assert.match((await warned({ maxResidentBytes: leastBytes })).warnings.join(), /not kept on this device.*fetched again for every token/);
    });
  }));
});

describe('modelStore', () => {
  test('asks the browser to keep what is stored, and tells what it said', () => withChord(stage, async (page) => {
    const said = await page.evaluate(async () => {
      const outcomes = [];
      for (const answer of [true, false]) {
        let asked = 0;
        navigator.storage.persist = async () => { asked += 1; return answer; };
        navigator.storage.persisted = async () => answer;
        outcomes.push([await chord.modelStore.persist(), asked, (await chord.modelStore.estimate()).persisted]);
      }
      navigator.storage.persist = undefined;
      navigator.storage.persisted = undefined;
      outcomes.push([await chord.modelStore.persist(), 0, (await chord.modelStore.estimate()).persisted]);
      return outcomes;
    });
    assert.deepEqual(said, [[true, 1, true], [false, 1, false], [false, 0, false]]);
  }));

  test('lists, verifies and deletes what is there, and says when it is in use', () => withChord(stage, async (page) => {
    const ask = (name, ...given) => page.evaluate(async ([method, args]) => (
      window.chord.modelStore[method](...args).catch(window.chord.failure)), [name, given]);
    assert.deepEqual(await ask('list'), []);
    assert.equal(await ask('delete', MODEL), false);
    assert.equal((await ask('verify', MODEL)).code, 'NotFound');
    const before = Date.now();
    assertSame(await outcome(page, { model: `${MODEL}?X-Amz-Signature=secret&v=1` }));
    assertSame(await outcome(page));
    const list = await ask('list');
    assert.deepEqual(list.map(({ source }) => source).sort(), [server.url(MODEL), server.url(`${MODEL}?v=1`)]);
    for (const { bytes, storedBytes, complete, lastUsed } of list) {
      assert.deepEqual([bytes, storedBytes, complete], [model.length, model.length, true]);
      assert.ok(lastUsed >= before - 1000 && lastUsed <= Date.now() + 1000);
    }
    assert.equal(await ask('verify', MODEL), true);
    await damage(page, 'pages', { at: 9, to: 10, value: 0x5a });
    assert.equal(await ask('verify', MODEL), false);
    await page.evaluate(async (given) => { window.engine = await window.chord.open(given); }, options);
    const refused = await ask('delete', MODEL);
    assert.equal(refused.code, 'StoreFailed');
    assert.match(refused.message, /in use/);
    await page.evaluate(() => window.engine.dispose());
    assert.equal(await ask('delete', MODEL), true);
    assert.deepEqual((await ask('list')).map(({ source }) => source), [server.url(`${MODEL}?v=1`)]);
  }));

  test('35 cleared by the person while a model loads does not stop it', { skip: notInFirefox('nothing clears storage from outside') }, () => withChord(stage, async (page) => {
    server.throttle.bytesPerSecond = 6_000_000;
    const loading = sentOf(model.length / 4);
    const running = outcome(page);
    await loading;
    const session = await page.context().newCDPSession(page);
    await session.send('Storage.clearDataForOrigin', { origin: server.origin, storageTypes: 'all' });
    server.throttle.bytesPerSecond = Infinity;
    assertSame(await running);
    assertSame(await outcome(page));
  }));
});
