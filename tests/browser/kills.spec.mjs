// The durable store when its workers, its tab or its browser end at any moment: what is committed is whole and
// right, and a download goes on where it was. Tests are numbered by the faults that the package must survive.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { joined, overlap, sentRanges } from '../support/sent.mjs';
import { tinyModel } from '../support/tiny-gguf.mjs';
import { damage, install, withChord } from './engine-page.mjs';
import { isFirefox, notInFirefox, openStage, root } from './support.mjs';

const SMALL = '/small.gguf';
const LARGE = '/large.gguf';
const small = tinyModel({ layers: 1 });
/** Each is fetched by a stream of its own. */
const LAYERS = 3;
const large = tinyModel({ layers: LAYERS, feedForward: 4096 });
/** About ten pages of each. */
const SMALL_PAGE = 32 * 1024;
const LARGE_PAGE = 256 * 1024;
/** Ranges that are fetched at a time. */
const STREAMS = 4;
/** A response is read in pieces of so many bytes, so that pages arrive in parts. */
const READ_BYTES = 20_000;

const stage = await openStage({ files: { [SMALL]: small, [LARGE]: large } });
const { server } = stage;
/** However fast a page comes, it is recorded in parts. */
const stepMs = 0;
const ofSmall = { model: SMALL, network: { backoffMs: 20 }, storeSettings: { pageBytes: SMALL_PAGE, stepMs, ownerSilentMs: 10_000 } };
const ofLarge = { model: LARGE, network: { backoffMs: 20 }, storeSettings: { pageBytes: LARGE_PAGE, stepMs, ownerSilentMs: 3000 } };
const expected = {};

const outcome = (page, options) => page.evaluate((given) => window.chord.outcome(given), options);

function assertSame(result, { model }) {
  assert.equal(result.code, undefined, result.message);
  assert.deepEqual([result.ids, result.logprobs], [expected[model].ids, expected[model].logprobs]);
}

/** The answers with bytes of weights that `body` was given, and what it gives. */
async function answered(path, body) {
  const from = server.log.length;
  const result = await body();
  const answers = server.log.slice(from).filter((entry) => entry.path === path && entry.method === 'GET' && entry.range !== 'bytes=0-0');
  return { result, answers };
}

before(async () => {
  for (const options of [ofSmall, ofLarge]) {
    expected[options.model] = await withChord(stage, (page) => outcome(page, { ...options, store: 'none' }));
    assert.equal(expected[options.model].ids?.length, 6, expected[options.model].message);
  }
});

/**
 * What the first worker of a script begins with: it ends at its store operation number `kill`, a write half
 * done. It tells the test when that is, and what it has written of pages; with `isTold`, its owner that it failed.
 */
const dying = (kill, isTold) => `{
  const channel = new BroadcastChannel('killed');
  let count = 0, isDead = false;
  const die = () => {
    isDead = true;
    channel.postMessage('killed');
    MessagePort.prototype.postMessage = () => undefined;
    globalThis.postMessage = () => undefined;
    BroadcastChannel.prototype.postMessage = () => undefined;
    if (${isTold}) reportError(new Error('killed'));
    close();
  };
  const counted = (prototype, names, during = () => undefined) => {
    for (const name of names) {
      const method = prototype[name];
      prototype[name] = function (...given) {
        count += 1;
        if (count === ${kill}) {
          during.call(this, method, given, true);
          die();
        }
        // What is dead does nothing more, though its code runs on for a moment.
        if (isDead) throw new Error('dead');
        during.call(this, method, given, false);
        return method.apply(this, given);
      };
    }
  };
  const { read } = ReadableStreamBYOBReader.prototype;
  ReadableStreamBYOBReader.prototype.read = function (view) {
    return read.call(this, view.subarray(0, ${READ_BYTES}));
  };
  const names = new WeakMap();
  const { createSyncAccessHandle } = FileSystemFileHandle.prototype;
  FileSystemFileHandle.prototype.createSyncAccessHandle = async function (...given) {
    const handle = await createSyncAccessHandle.apply(this, given);
    names.set(handle, this.name);
    return handle;
  };
  counted(FileSystemDirectoryHandle.prototype, ['getDirectoryHandle', 'getFileHandle', 'removeEntry']);
  counted(FileSystemFileHandle.prototype, ['createSyncAccessHandle']);
  counted(FileSystemSyncAccessHandle.prototype, ['truncate', 'flush', 'close']);
  counted(FileSystemSyncAccessHandle.prototype, ['write'], function (write, [bytes, options], isLast) {
    const part = isLast ? bytes.subarray(0, bytes.length >> 1) : bytes;
    if (isLast) write.call(this, part, options);
    if (names.get(this) === 'pages') channel.postMessage([options.at, options.at + part.length]);
  });
}`;

/** Runs `body` while the first worker of a script begins with `stub`; the next are sound. */
async function sabotaged(name, stub, body) {
  const path = `/pkg/${name}`;
  const script = await readFile(join(root, path), 'utf8');
  server.fault(path, [{ body: `${stub}\n${script}`, headers: { 'content-type': 'text/javascript' } }]);
  try {
    return await body();
  } finally {
    server.fault(path, undefined);
  }
}

/** Opens an engine and generates, unless a worker is killed meanwhile: then all of it ends at once, as with its tab. */
const killedTab = (page, options) => page.evaluate(async (given) => {
  const written = [];
  let isKilled = false;
  const channel = new BroadcastChannel('killed');
  const killed = new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      if (data !== 'killed') {
        written.push(data);
        return;
      }
      isKilled = true;
      resolve();
    };
  });
  const abort = new AbortController();
  const opening = window.chord.open({ ...given, signal: abort.signal });
  const running = opening.then(async (engine) => {
    const completion = await engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0 });
    await engine.loaded;
    return completion;
  }).catch(() => undefined);
  await Promise.race([running, killed]);
  abort.abort();
  await opening.then((engine) => engine.dispose(), () => undefined);
  channel.close();
  return { isKilled, written };
}, options);

/** The files of the stored model as they lie on the disk, in base64. */
const onDisk = (page) => page.evaluate(async () => {
  const store = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord').catch(() => undefined);
  const read = async (folder, name) => {
    const file = await folder.getFileHandle(name).then((handle) => handle.getFile(), () => new Blob([]));
    return new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.split(',')[1] ?? '');
      reader.readAsDataURL(file);
    });
  };
  // Pages come after the records of them: a worker may be writing.
  for await (const folder of store?.values() ?? []) return { journal: await read(folder, 'journal'), pages: await read(folder, 'pages') };
  return { pages: '', journal: '' };
});

/**
 * The ranges of the file that the journal lists, a page or the first bytes of one each. Fails if one of them is
 * not what the model has there.
 */
function committed({ pages, journal }, model, pageBytes) {
  const [data, records] = [Buffer.from(pages, 'base64'), Buffer.from(journal, 'base64')];
  if (records.length < 12) return [];
  const end = 12 + records.readUInt32LE(8);
  if (records.length < end + 4 || records.readUInt32LE(end) !== crc32(records.subarray(0, end))) return [];
  const seed = records.readUInt32LE(end);
  const listed = new Map();
  for (let at = end + 4; at + 44 <= records.length; at += 44) {
    if (records.readUInt32LE(at + 40) !== crc32(records.subarray(at, at + 40), seed)) continue;
    const [page, length] = [records.readUInt32LE(at), records.readUInt32LE(at + 4)];
    const start = page * pageBytes;
    const bytes = model.subarray(start, Math.min(start + length, start + pageBytes));
    assert.equal(length, bytes.length);
    assert.deepEqual(records.subarray(at + 8, at + 40), createHash('sha256').update(bytes).digest());
    assert.ok(data.subarray(start, start + length).equals(bytes), `page ${page} is not what it should be`);
    listed.set(page, [start, start + length]);
  }
  return [...listed.values()];
}

/** A record for the end of a journal: a page begins with these bytes. */
function record({ journal }, page, bytes) {
  const head = Buffer.from(journal, 'base64');
  const seed = head.readUInt32LE(12 + head.readUInt32LE(8));
  const made = Buffer.alloc(44);
  made.writeUInt32LE(page, 0);
  made.writeUInt32LE(bytes.length, 4);
  createHash('sha256').update(bytes).digest().copy(made, 8);
  made.writeUInt32LE(crc32(made.subarray(0, 40), seed), 40);
  return made;
}

/** Those of them that are not a whole page. */
const begunOf = (ranges, model, pageBytes) => ranges.filter(([start, end]) => end < Math.min(start + pageBytes, model.length));

/** The ranges that requests asked for. */
const askedRanges = (answers) => answers.map(({ range }) => /^bytes=(\d+)-(\d+)$/.exec(range).slice(1).map(Number)).map(([from, to]) => [from, to + 1]);


const verified = (page, path) => page.evaluate((url) => window.chord.modelStore.verify(url), path);
const deleted = (page, path) => page.evaluate((url) => window.chord.modelStore.delete(url), path);

/** How the tabs of a download end; only Chromium lets a test crash one. */
const ENDINGS = isFirefox ? ['close', 'close', 'close'] : ['close', 'crash', 'close', 'crash', 'close'];

/** A kill that never comes: the end of the list of operations. */
const OPERATIONS_MAX = 500;
/** Operations of a worker, at least. Where only one worker may open a file, the other tries and leaves it. */
const leastOperations = (name) => (isFirefox && name === 'store-worker.js' ? 3 : 10);

describe('a tab', () => {
  for (const name of ['io-worker.js', 'store-worker.js']) {
    test(`30 that ends at any store operation of its ${name} leaves what can be gone on from, and loses a page a stream at most`, () => withChord(stage, async (page) => {
      let kill = 1;
      let begun = 0;
      for (; kill < OPERATIONS_MAX; kill += 1) {
        const run = () => sabotaged(name, dying(kill, false), () => killedTab(page, ofSmall));
        const { isKilled, written } = await (name === 'io-worker.js' ? run() : sabotaged('io-worker.js', dying('NaN', false), run));
        if (!isKilled) break;
        const what = `killed at operation ${kill}`;
        const listed = committed(await onDisk(page), small, SMALL_PAGE);
        begun += begunOf(listed, small, SMALL_PAGE).length;
        await page.evaluate(() => window.chord.modelStore.list());
        const { result, answers } = await answered(SMALL, () => outcome(page, ofSmall));
        assertSame(result, ofSmall);
        const asked = askedRanges(answers);
        for (const range of listed) assert.equal(overlap(asked, [range]), 0, `${what}: ${range} was fetched though it was stored`);
        const again = overlap(joined(written), joined(asked));
        assert.ok(again <= STREAMS * SMALL_PAGE, `${what}: ${again} bytes that were written were fetched again`);
        assert.equal(await verified(page, SMALL), true, what);
        assert.equal(await deleted(page, SMALL), true, what);
      }
      assert.ok(kill > leastOperations(name) && kill < OPERATIONS_MAX, `${kill} operations`);
      if (!isFirefox || name === 'io-worker.js') assert.ok(begun > 0, 'no page was recorded in part');
    }));
  }
});

describe('an engine', () => {
  for (const name of ['io-worker.js', 'store-worker.js']) {
    test(`30 whose ${name} dies at any store operation goes on, and stores the same`, () => withChord(stage, async (page) => {
      let kill = 1;
      for (; kill < OPERATIONS_MAX; kill += 1) {
        const isKilled = await page.evaluate(() => {
          window.notices = new BroadcastChannel('killed');
          window.isKilled = false;
          window.notices.onmessage = ({ data }) => { window.isKilled ||= data === 'killed'; };
        }).then(() => sabotaged(name, dying(kill, true), () => outcome(page, ofSmall))).then((result) => {
          assertSame(result, ofSmall);
          return page.evaluate(() => {
            window.notices.close();
            return window.isKilled;
          });
        });
        if (!isKilled) break;
        assert.equal(await verified(page, SMALL), true, `killed at operation ${kill}`);
        assert.equal(await deleted(page, SMALL), true, `killed at operation ${kill}`);
      }
      assert.ok(kill > leastOperations(name) && kill < OPERATIONS_MAX, `${kill} operations`);
    }));
  }

  test('30 whose store worker does not start, or whose browser lets only one worker open its files, stores the same', () => withChord(stage, async (page) => {
    for (const stub of ["throw new Error('no');", "FileSystemFileHandle.prototype.createSyncAccessHandle = () => Promise.reject(new DOMException('no', 'NoModificationAllowedError'));"]) {
      const { result, answers } = await answered(LARGE, () => sabotaged('store-worker.js', stub, () => outcome(page, ofLarge)));
      assertSame(result, ofLarge);
      assert.ok(answers.reduce((sum, { sentBytes }) => sum + sentBytes, 0) <= large.length);
      assert.equal(await verified(page, LARGE), true, stub);
      assert.equal(await deleted(page, LARGE), true, stub);
    }
  }));
});

describe('a page that was recorded in part', () => {
  /** Bytes after which a response stalls: in the middle of its third page. */
  const STALL_BYTES = 2.5 * LARGE_PAGE;
  const wholePage = ([start]) => [start, Math.min(start + LARGE_PAGE, large.length)];
  const listed = async (page) => committed(await onDisk(page), large, LARGE_PAGE);

  /** A tab that fetches the model, whose layers have all stalled in the middle of a page. */
  async function stalledTab(page) {
    server.fault(LARGE, () => ({ stallAfter: STALL_BYTES }));
    const tab = await page.context().newPage();
    await tab.goto(server.url('/blank.html'));
    await tab.evaluate(install, '/pkg/index.js');
    void outcome(tab, ofLarge).catch(() => undefined);
    while (begunOf(await listed(page), large, LARGE_PAGE).length < LAYERS) await new Promise((done) => setTimeout(done, 20));
    // However long the test takes, the tab gets no further.
    server.fault(LARGE, { stallAfter: 0 });
    return tab;
  }

  async function close(tab) {
    await tab.close();
    server.fault(LARGE, undefined);
  }

  /** What is on the disk when such a tab has been closed: all of it, and that which is not a whole page. */
  async function leftBehind(page) {
    await close(await stalledTab(page));
    while (server.requests(LARGE).some(({ done }) => !done)) await new Promise((done) => setTimeout(done, 10));
    const ranges = await listed(page);
    return { ranges, begun: begunOf(ranges, large, LARGE_PAGE) };
  }

  test('30 is gone on with where the record ends', () => withChord(stage, async (page) => {
    const { ranges, begun } = await leftBehind(page);
    const { result, answers } = await answered(LARGE, () => outcome(page, ofLarge));
    assertSame(result, ofLarge);
    const asked = askedRanges(answers);
    for (const range of ranges) assert.equal(overlap(asked, [range]), 0, `${range} was fetched again`);
    for (const [, end] of begun) assert.ok(asked.some(([from]) => from === end), `nothing was asked for from ${end} on`);
    assert.equal(await verified(page, LARGE), true);
  }));

  test('34 and damaged on the disk is fetched again whole, and the others are not', () => withChord(stage, async (page) => {
    const { ranges, begun: [bad] } = await leftBehind(page);
    const at = bad[1] - 1;
    await damage(page, 'pages', { at, to: at + 1, value: large[at] ^ 1 });
    const { result, answers } = await answered(LARGE, () => outcome(page, ofLarge));
    assertSame(result, ofLarge);
    const asked = joined(askedRanges(answers));
    assert.equal(overlap(asked, [wholePage(bad)]), LARGE_PAGE);
    for (const range of ranges) if (range !== bad) assert.equal(overlap(asked, [range]), 0, `${range} was fetched again`);
    assert.equal(await verified(page, LARGE), true);
  }));

  test('20 is forgotten when its file has changed on the server', () => withChord(stage, async (page) => {
    await leftBehind(page);
    const other = tinyModel({ layers: LAYERS, feedForward: 4096, seed: 2 });
    server.files.set(LARGE, other);
    try {
      const { result, answers } = await answered(LARGE, () => outcome(page, ofLarge));
      assert.deepEqual(result.logprobs, (await outcome(page, { ...ofLarge, store: 'none' })).logprobs);
      assert.notDeepEqual(result.logprobs, expected[LARGE].logprobs);
      assert.equal(overlap(joined(askedRanges(answers)), [[0, other.length]]), other.length);
      const kept = committed(await onDisk(page), other, LARGE_PAGE);
      assert.equal(overlap(joined(kept), [[0, other.length]]), other.length);
    } finally {
      server.files.set(LARGE, large);
    }
  }));

  test('37 is gone on with by the tab that takes over', { skip: notInFirefox('it lets one worker at a time open a file') }, () => withChord(stage, async (page) => {
    const leader = await stalledTab(page);
    const ranges = await listed(page);
    const { result, answers } = await answered(LARGE, async () => {
      const following = outcome(page, ofLarge);
      await page.evaluate(async () => {
        while (!(await navigator.locks.query()).pending.some(({ name }) => name.startsWith('wasm-chord.store.'))) await new Promise((done) => setTimeout(done, 10));
      });
      await close(leader);
      return following;
    });
    assertSame(result, ofLarge);
    for (const range of ranges) assert.equal(overlap(askedRanges(answers), [range]), 0, `${range} was fetched again`);
    assert.equal(await verified(page, LARGE), true);
  }));

  test('18 and whose rest cannot be had is an error, after which it is gone on with', () => withChord(stage, async (page) => {
    assertSame(await outcome(page, ofLarge), ofLarge);
    // In the middle of the first layer, so that nobody else waits for a stream that brings it.
    const [number, length] = [5, 1000];
    const start = number * LARGE_PAGE;
    await damage(page, 'journal', { tail: record(await onDisk(page), number, large.subarray(start, start + length)) });
    server.fault(LARGE, ({ range }) => (range === 'bytes=0-0' ? undefined : { status: 404 }));
    assert.equal((await outcome(page, ofLarge)).code, 'NotFound');
    server.fault(LARGE, undefined);
    const { result, answers } = await answered(LARGE, () => outcome(page, ofLarge));
    assertSame(result, ofLarge);
    assert.deepEqual(askedRanges(answers), [[start + length, start + LARGE_PAGE]]);
    assert.equal(await verified(page, LARGE), true);
  }));
});

describe('a download', () => {
  /** Bytes that each visit writes before it ends: from a part of a page to several pages of each stream. */
  const WRITTEN_BYTES = [0.3, 6.3, 2.7, 4.9, 1.6].map((pages) => pages * LARGE_PAGE);
  /** Whoever finds the store taken waits for it: its owner is gone, and its lock passes on. */
  const patient = { ...ofLarge, storeSettings: { ...ofLarge.storeSettings, ownerSilentMs: 600_000 } };
  /** A disk on which each flush takes longer than several pages take to come. */
  const slowDisk = `{
    const { flush } = FileSystemSyncAccessHandle.prototype;
    FileSystemSyncAccessHandle.prototype.flush = function () {
      for (const startMs = performance.now(); performance.now() < startMs + 300;);
      return flush.call(this);
    };
  }`;

  /** A tab that fetches the model until it has written so many bytes, and then ends in some way: what it wrote. */
  async function visit(page, ending, bytes) {
    await page.evaluate((enough) => {
      window.written = [];
      window.notices = new BroadcastChannel('killed');
      window.enough = new Promise((resolve) => {
        window.notices.onmessage = ({ data }) => {
          window.written.push(data);
          if (window.written.reduce((sum, [from, to]) => sum + to - from, 0) >= enough) resolve();
        };
      });
    }, bytes);
    const tab = await page.context().newPage();
    await tab.goto(server.url('/blank.html'));
    await tab.evaluate(install, '/pkg/index.js');
    void outcome(tab, patient).catch(() => undefined);
    await page.evaluate(() => window.enough);
    if (ending === 'crash') void (await page.context().newCDPSession(tab)).send('Page.crash').catch(() => undefined);
    else await tab.close();
    while (server.requests(LARGE).some(({ done }) => !done)) await new Promise((done) => setTimeout(done, 10));
    await tab.close();
    return page.evaluate(() => {
      window.notices.close();
      return window.written;
    });
  }

  for (const [where, storeStub] of [['', ''], [' on a slow disk', slowDisk]]) {
    test(`30 whose tab is closed or crashes again and again${where} loses a page a stream at most each time`, () => withChord(stage, async (page) => {
      server.throttle.bytesPerSecond = 4_000_000;
      const visits = [];
      for (const [index, ending] of ENDINGS.entries()) {
        visits.push(await answered(LARGE, () => sabotaged('io-worker.js', dying('NaN', false), () => (
          sabotaged('store-worker.js', storeStub, () => visit(page, ending, WRITTEN_BYTES[index]))))));
      }
      server.throttle.bytesPerSecond = Infinity;
      const last = await answered(LARGE, () => outcome(page, patient));
      assertSame(last.result, ofLarge);
      const again = visits.map(({ result }, index) => {
        const later = [...visits.slice(index + 1), last].flatMap(({ answers }) => answers);
        return overlap(joined(result), sentRanges(later));
      });
      for (const bytes of again) assert.ok(bytes <= STREAMS * LARGE_PAGE, `${again.join(', ')} bytes that had come were sent again`);
      assert.equal(await verified(page, LARGE), true);
      assert.deepEqual((await answered(LARGE, () => outcome(page, patient))).answers, []);
    }));
  }
});
