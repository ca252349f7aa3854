// Where models come from and how servers misbehave: each case gives the same tokens as a sound server,
// or the right error. Tests are numbered by the faults that the package must survive.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { deadline } from '../support/deadline.mjs';
import { VOCABULARY_SIZE, tinyModel } from '../support/tiny-gguf.mjs';
import { withChord } from './engine-page.mjs';
import { gpuTest, openStage, root } from './support.mjs';

const MODEL = '/model.gguf';
const model = tinyModel({ layers: 3, feedForward: 4096 });
const parts = tinyModel({ layers: 3, feedForward: 4096, parts: 3 });
const partPath = (number) => `/split-0000${number}-of-00003.gguf`;

/** Network settings that make tests quick. */
const network = { idleMs: 700, backoffMs: 20 };

const stage = await openStage({
  files: { [MODEL]: model, ...Object.fromEntries(parts.map((part, index) => [partPath(index + 1), part])) },
});
const { server } = stage;
let expected;

const run = (options) => withChord(stage, (page) => page.evaluate((given) => window.chord.outcome(given), { network, ...options }));

/** The outcome of opening the model while its server misbehaves, with the requests that were made. */
async function faulty(fault, options = {}) {
  server.fault(MODEL, fault);
  const from = server.log.length;
  try {
    const result = await run({ model: MODEL, ...options });
    return { ...result, requests: server.log.slice(from).filter(({ path, method }) => path === MODEL && method === 'GET') };
  } finally {
    server.fault(MODEL, undefined);
  }
}

function assertSame(result) {
  assert.equal(result.code, undefined, result.message);
  assert.deepEqual([result.ids, result.logprobs], [expected.ids, expected.logprobs]);
}

/** A fault for every request but the first `count`. */
const afterwards = (count, fault) => {
  let seen = 0;
  return () => {
    seen += 1;
    return seen > count ? fault : undefined;
  };
};

before(async () => {
  expected = await run({ model: MODEL });
  assert.equal(expected.ids?.length, 6, expected.message);
});

describe('a sound server', () => {
  test('is asked for single ranges that cover the file about once', async () => {
    const result = await faulty(undefined);
    assertSame(result);
    for (const { range } of result.requests) assert.match(range, /^bytes=\d+-\d+$/);
    assert.equal(result.source.requests, result.requests.length);
    assert.equal(result.source.retries, 0);
    assert.ok(result.source.fetchedBytes <= model.length + 256 * 1024, 'only the header may be read twice');
  });

  test('never has more than four requests at a time', async () => {
    let most = 0;
    await faulty(() => {
      most = Math.max(most, server.requests(MODEL).filter((entry) => !entry.done).length);
      return { delayMs: 30 };
    });
    assert.ok(most > 1 && most <= 4, `${most} at a time`);
  });
});

describe('the embedding table', () => {
  const path = '/wide.gguf';
  const wide = tinyModel({ width: 1024, layers: 2 });
  // The table is the first tensor, and the head's matrix, of the same size, the last.
  const tableBytes = 4 * VOCABULARY_SIZE * 1024;
  const layerBytes = 4 * (3 * 1024 * 1024 + 3 * 128 * 1024 + 2 * 1024);
  const tableEnd = wide.length - tableBytes - 4 * 1024 - 2 * layerBytes;

  for (const store of ['none', 'opfs']) {
    test(`comes after the first token, whose rows come alone (store: ${store})`, async () => {
      server.files.set(path, wide);
      const requests = [];
      // Longer than the first token takes, and shorter than a server may be silent.
      const delayMs = Math.min(await deadline(2500), 8000);
      server.fault(path, ({ range }) => {
        const [first, last] = range.match(/\d+/g).map(Number);
        requests.push({ first, length: last - first + 1 });
        return first > 0 && first < tableEnd - 65536 && last - first >= 4096 ? { delayMs } : undefined;
      });
      const ask = (options) => withChord(stage, (page) => page.evaluate(async (given) => {
        const engine = await window.chord.open(given);
        const stream = await engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2, stream: true, ignore_eos: true });
        const ids = [];
        let table;
        for await (const chunk of stream) {
          table ??= (await engine.stats()).groups[0];
          ids.push(...(chunk.choices[0]?.logprobs?.token_ids ?? []));
        }
        await engine.loaded;
        const after = (await engine.stats()).groups[0];
        await engine.dispose();
        return { ids, table, after };
      }, { model: path, store, network: { ...network, idleMs: 60_000 }, storeSettings: { pageBytes: 65536 }, ...options }));
      const early = await ask({});
      server.fault(path, undefined);
      assert.ok(['absent', 'fetching'].includes(early.table), `the table was ${early.table}`);
      assert.equal(early.after, 'pinned');
      const rows = requests.filter(({ length }) => length === 4096);
      assert.ok(rows.length >= 3 && rows.length <= 16, `${rows.length} rows`);
      // A visit that finds the table before it begins gives the same tokens.
      const late = await withChord(stage, (page) => page.evaluate(async (given) => {
        const engine = await window.chord.open(given);
        await engine.loaded;
        const { choices } = await engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2, ignore_eos: true });
        await engine.dispose();
        return choices[0].logprobs.token_ids;
      }, { model: path, store, network }));
      assert.deepEqual(early.ids, late);
    });
  }
});

/** Code that destroys the GPU's device when it is given work for that time. */
const losing = (time) => `{
  const { requestDevice } = GPUAdapter.prototype;
  const { submit } = GPUQueue.prototype;
  let device;
  let submits = 0;
  GPUAdapter.prototype.requestDevice = async function (...given) { return device = await requestDevice.apply(this, given); };
  GPUQueue.prototype.submit = function (...given) {
    submits += 1;
    if (submits === ${time}) device.destroy();
    return submit.apply(this, given);
  };
}`;

describe('servers that ignore ranges', () => {
  test('16 are read in order with one request', async () => {
    for (const noLength of [false, true]) {
      const result = await faulty({ ignoreRange: true, noLength });
      assertSame(result);
      assert.equal(result.requests.length, 1);
    }
  });

  test('16, 18 are read again up to where the connection broke', async () => {
    const broken = { ignoreRange: true, disconnectAfter: model.length / 2 };
    assertSame(await faulty([broken, broken, { ignoreRange: true }]));
  });

  test('16 cannot be paged from', async () => {
    const { budgetBytes, weightBytes } = await withChord(stage, (page) => page.evaluate((path) => window.chord.plan(path), MODEL));
    const result = await faulty({ ignoreRange: true }, { maxResidentBytes: Math.floor(budgetBytes - weightBytes / 8) });
    assert.equal(result.code, 'InvalidSource', result.message);
  });
  gpuTest('43 are read again for a device that takes another\'s place', async () => {
    const onGpu = await openStage({ gpu: true, files: { [MODEL]: model } });
    const script = await readFile(join(root, 'pkg/engine-worker.js'), 'utf8');
    onGpu.server.fault(MODEL, { ignoreRange: true });
    // While it loads, and in the middle of the answer.
    for (const submit of [2, 12]) {
      onGpu.server.files.set('/pkg/engine-worker.js', Buffer.from(`${losing(submit)}\n${script}`));
      const result = await withChord(onGpu, (page) => page.evaluate((given) => window.chord.outcome(given), {
        network, model: MODEL, device: 'webgpu', store: 'none',
      }), { allow: [/software|fallback|WebGPU|device/i] });
      assert.deepEqual(result.ids, expected.ids, `lost at ${submit}: ${result.message}`);
      assert.equal(onGpu.server.requests(MODEL).length, submit === 2 ? 2 : 4, 'the file was sent twice');
    }
  });
});

describe('broken answers', () => {
  test('17 a wrong Content-Range is refused', async () => {
    for (const fault of [{ shiftRange: 100 }, { contentRange: 'bytes 7-8/9' }, { contentRange: 'nonsense' }, { headers: { 'content-range': null } }]) {
      const result = await faulty(fault);
      assert.equal(result.code, 'Http', JSON.stringify(fault));
      assert.equal(result.details.status, 206);
    }
  });

  test('17 a body that is longer than its range is refused', async () => {
    assert.equal((await faulty({ bodyDelta: 10 })).code, 'Http');
    assert.equal((await faulty({ bodyDelta: 10, noLength: true })).code, 'Http');
  });

  test('17 a body that is shorter than its range is completed', async () => {
    assertSame(await faulty({ bodyDelta: -10, noLength: true, times: 3 }));
    assertSame(await faulty({ bodyDelta: -10, times: 2 }));
  });

  test('18 connections that break again and again are resumed', async () => {
    const result = await faulty({ disconnectAfter: 200_000 });
    assertSame(result);
    assert.ok(result.source.retries > 10);
    assert.ok(result.source.fetchedBytes <= model.length + 4 * 1024 * 1024, 'bytes that came are not asked for again');
  });

  test('19 a stalled connection is given up and asked again', async () => {
    const result = await faulty([undefined, { stallAfter: 1000 }]);
    assertSame(result);
    assert.equal(result.source.retries, 1);
  });

  test('40 time in which the tab did not run is not held against the server', async () => {
    // The worker stands still for longer than a server may be silent, with answers on their way.
    const frozen = `{
      const { fetch } = globalThis;
      let count = 0;
      globalThis.fetch = (...given) => {
        count += 1;
        if (count % 2 === 0) setTimeout(() => { for (const start = performance.now(); performance.now() - start < 1000;); }, 20);
        return fetch(...given);
      };
    }`;
    server.files.set('/pkg/io-worker.js', Buffer.from(`${frozen}\n${await readFile(join(root, 'pkg/io-worker.js'), 'utf8')}`));
    try {
      const result = await faulty(() => ({ delayMs: 100 }));
      assertSame(result);
      assert.equal(result.source.retries, 0);
    } finally {
      server.files.delete('/pkg/io-worker.js');
    }
  });

  test('19 a server that never answers is a Timeout', async () => {
    const started = Date.now();
    const result = await faulty({ delayMs: 60_000 });
    assert.equal(result.code, 'Timeout');
    assert.equal(result.retryable, true);
    assert.ok(Date.now() - started < await deadline(10_000));
  });

  test('18, 19, 23 servers that give nothing are given up within 10 s, whatever they do instead', async () => {
    const faults = {
      'are silent': { delayMs: 60_000 },
      'stop after the headers': afterwards(1, { stallAfter: 0 }),
      'answer late and then stop': afterwards(1, { delayMs: 3000, stallAfter: 0 }),
      'break every connection': afterwards(1, { disconnectAfter: 0 }),
      'are busy for a moment, again and again': { status: 503, retryAfter: 3 },
      'are busy for longer': { status: 429, retryAfter: 7 },
      'fail': afterwards(1, { status: 500 }),
    };
    const entries = Object.entries(faults);
    for (const half of [entries.slice(0, 3), entries.slice(3)]) {
      await Promise.all(half.map(async ([name, fault]) => {
        const path = `/${name}.gguf`;
        server.files.set(path, model);
        server.fault(path, fault);
        const [result, ms] = await withChord(stage, (page) => page.evaluate(async (given) => {
          const started = performance.now();
          return [await window.chord.outcome({ model: given, store: 'none' }), performance.now() - started];
        }, path));
        assert.ok(['Timeout', 'Network', 'Http'].includes(result.code), `${name}: ${result.code} ${result.message}`);
        assert.equal(result.retryable, true, name);
        assert.ok(ms < await deadline(10_000), `${name}: ${ms} ms`);
      }));
    }
  });

  test('a server that is not there is a Network error', async () => {
    const result = await run({ model: 'http://127.0.0.1:9/model.gguf' });
    assert.equal(result.code, 'Network');
    assert.equal(result.retryable, true);
  });

  test('25 a compressed range is refused', async () => {
    const { code } = await faulty({ gzip: true });
    // Chromium itself refuses an encoding that the request did not allow.
    assert.ok(code === 'Http' || code === 'Network', code);
  });

  test('27 a web page, an empty file and nothing at all are no models', async () => {
    const page = await faulty({ html: true });
    assert.equal(page.code, 'InvalidGguf');
    assert.match(page.message, /web page/);
    server.files.set('/empty.gguf', Buffer.alloc(0));
    assert.equal((await run({ model: '/empty.gguf' })).code, 'InvalidGguf');
    assert.equal((await run({ model: '/nothing.gguf' })).code, 'NotFound');
  });

  test('10, 17 a file that ends early is no model', async () => {
    for (const length of [5_000, model.length - 100_000]) {
      server.files.set('/short.gguf', model.subarray(0, length));
      assert.equal((await run({ model: '/short.gguf' })).code, 'InvalidGguf');
      server.fault('/short.gguf', { ignoreRange: true, noLength: true });
      assert.equal((await run({ model: '/short.gguf' })).code, 'InvalidGguf');
      server.fault('/short.gguf', undefined);
    }
  });
});

describe('files that change', () => {
  test('20 are noticed by their ETag', async () => {
    const result = await faulty(afterwards(2, { etag: '"another"' }));
    assert.equal(result.code, 'SourceChanged');
    assert.equal(result.details.now.etag, '"another"');
  });

  test('20 are noticed by their size', async () => {
    // The right range of a file that says nothing but its size.
    let seen = 0;
    const result = await faulty(({ range }) => {
      seen += 1;
      const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(range).slice(1).map(Number);
      const last = Math.min(to, model.length - 1);
      return { etag: null, lastModified: null, contentRange: `bytes ${from}-${last}/${model.length + (seen > 2 ? 1 : 0)}` };
    });
    assert.equal(result.code, 'SourceChanged');
    assert.deepEqual([result.details.before.size, result.details.now.size], [model.length, model.length + 1]);
  });

  test('22 are noticed by HTTP 412 and 416', async () => {
    for (const status of [412, 416]) assert.equal((await faulty(afterwards(2, { status }))).code, 'SourceChanged');
  });

  test('21 are the same where a tag is weak, or names a compression, in some answers', async () => {
    let count = 0;
    const tags = ['"v1"', 'W/"v1"', '"v1-gzip"', 'W/"v1--gzip"', '"v1;br"'];
    assertSame(await faulty(() => ({ etag: tags[count++ % tags.length] })));
    assert.equal((await faulty(afterwards(2, { etag: 'W/"v2"' }))).code, 'SourceChanged');
  });

  test('21 a weak ETag or none will do', async () => {
    assertSame(await faulty({ etag: 'W/"weak"' }));
    assertSame(await faulty({ etag: null }));
  });
});

describe('busy servers', () => {
  test('23 are given the time they ask for', async () => {
    for (const status of [429, 503]) {
      const started = Date.now();
      assertSame(await faulty([undefined, { status, retryAfter: 1 }]));
      assert.ok(Date.now() - started >= 1000);
    }
  });

  test('23 that ask for too long fail at once and say how long', async () => {
    const result = await faulty({ status: 503, retryAfter: 3600 });
    assert.equal(result.code, 'Http');
    assert.equal(result.retryable, true);
    assert.equal(result.details.retryAfterMs, 3_600_000);
    assert.equal(result.requests.length, 1);
  });

  test('23 are asked again after their own errors, not after refusals', async () => {
    let count = 0;
    assertSame(await faulty(() => {
      count += 1;
      return count % 3 === 0 ? { status: 500 } : undefined;
    }));
    const refused = await faulty({ status: 403 });
    assert.equal(refused.code, 'Http');
    assert.equal(refused.retryable, false);
    assert.equal(refused.requests.length, 1);
  });

  test('an engine whose download failed goes on with the next call', async () => {
    server.fault(MODEL, afterwards(2, { disconnectAfter: 0 }));
    const ids = await withChord(stage, async (page) => {
      const failed = await page.evaluate(async (options) => {
        window.engine = await window.chord.open(options);
        const call = await window.engine.completions.create({ prompt: 'hello' }).catch(window.chord.failure);
        const loaded = await window.engine.loaded.catch(window.chord.failure);
        return [call.code, loaded.code];
      }, { model: MODEL, network });
      assert.deepEqual(failed, ['Network', 'Network']);
      server.fault(MODEL, undefined);
      return page.evaluate(async () => {
        const completion = await window.engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2 });
        await window.engine.loaded;
        return completion.choices[0].logprobs.token_ids;
      });
    });
    assert.deepEqual(ids, expected.ids);
  });
});

describe('other origins', () => {
  test('are read when they expose their headers', async () => {
    assertSame(await run({ model: server.otherUrl(MODEL) }));
  });

  test('26 that hide headers are named, with the headers', async () => {
    const result = await faulty({ hideHeaders: true }, { model: server.otherUrl(MODEL) });
    assert.equal(result.code, 'CorsHeaders');
    assert.deepEqual(result.details.headers, ['Content-Range', 'ETag']);
    assert.match(result.message, /Content-Range.*ETag/);
  });

  test('26 that do not allow the page are a Network error', async () => {
    assert.equal((await faulty({ noCors: true }, { model: server.otherUrl(MODEL) })).code, 'Network');
  });

  test('24 a redirect is followed once, and a signed address that expires is asked for again', async () => {
    const once = await faulty({ signed: { other: true } });
    assertSame(once);
    assert.equal(once.requests.filter(({ status }) => status === 302).length, 1);
    const again = await faulty({ signed: { other: true, uses: 2 } });
    assertSame(again);
    assert.ok(again.requests.filter(({ status }) => status === 302).length > 1);
  });
});

describe('access tokens', () => {
  const headers = { Authorization: 'Bearer secret' };
  const isFirst = (entry) => `http://localhost:${entry.port}` === server.origin;
  const guarded = (name, behind) => (entry) => {
    if (!isFirst(entry)) return undefined;
    return entry.headers[name] === undefined ? { status: 401 } : behind;
  };
  const sentToOther = (requests) => requests.filter((entry) => !isFirst(entry));

  test('go to the original address', async () => {
    assertSame(await faulty(guarded('authorization'), { headers }));
    assert.equal((await faulty(guarded('authorization'))).code, 'Http');
  });

  test('67 are never forwarded to another origin', async () => {
    const result = await faulty(guarded('authorization', { redirect: 'other' }), { headers });
    assertSame(result);
    assert.ok(sentToOther(result.requests).length > 1);
    for (const entry of sentToOther(result.requests)) assert.equal(entry.headers.authorization, undefined);
  });

  test('67 in headers that browsers would forward do not follow a redirect', async () => {
    const result = await faulty((entry) => {
      if (!isFirst(entry)) return undefined;
      return entry.headers['x-key'] ? { redirect: 'other' } : { redirect: '/refused' };
    }, { headers: { 'X-Key': 'secret' } });
    assert.equal(result.code, 'InvalidSource');
    assert.equal(sentToOther(result.requests).length, 0);
  });

  test('are not sent to the origins of other parts', async () => {
    const from = server.log.length;
    assertSame(await run({ model: [partPath(1), server.otherUrl(partPath(2)), partPath(3)], headers }));
    const others = sentToOther(server.log.slice(from)).filter(({ method }) => method === 'GET');
    assert.ok(others.length > 0);
    for (const entry of others) assert.equal(entry.headers.authorization, undefined);
  });
});

describe('the hub', () => {
  const LIST = '/api/models/some/repo/tree/main';
  const sizes = {
    'README.md': 10, 'mmproj-model-Q4_K_M.gguf': 10, 'model-Q4_K.gguf': 10, 'broken-Q8_0-00001-of-00002.gguf': 10,
    'Q4_K_M/model-Q4_K_M.gguf': model.length, ...Object.fromEntries(parts.map((part, index) => [`split-Q2_K-0000${index + 1}-of-00003.gguf`, part.length])),
  };
  const onHub = (name, options) => run({ model: name, network: { ...network, hub: server.origin }, ...options });

  before(() => {
    const entries = Object.entries(sizes).map(([path, size]) => ({ type: 'file', path, size, lfs: { oid: 'a'.repeat(64), size } }));
    server.files.set(LIST, Buffer.from(JSON.stringify(entries.slice(0, 4))));
    server.files.set('/page-2', Buffer.from(JSON.stringify(entries.slice(4))));
    server.fault(LIST, () => ({ headers: { link: `<${server.url('/page-2')}>; rel="next"` } }));
    server.files.set('/some/repo/resolve/main/Q4_K_M/model-Q4_K_M.gguf', model);
    parts.forEach((part, index) => server.files.set(`/some/repo/resolve/main/split-Q2_K-0000${index + 1}-of-00003.gguf`, part));
  });

  test('gives a file by name', async () => {
    assertSame(await onHub('hf:some/repo/Q4_K_M/model-Q4_K_M.gguf'));
    assertSame(await onHub('hf:some/repo/split-Q2_K-00001-of-00003.gguf'));
  });

  test('gives a quantisation whatever its case, not a longer name nor a projector', async () => {
    assertSame(await onHub('hf:some/repo:q4_k_m'));
    assertSame(await onHub('hf:some/repo:Q2_K'));
  });

  test('gives the usual quantisation where none is named, by whatever people write or paste', async () => {
    const page = `${server.origin}/some/repo`;
    const file = 'Q4_K_M/model-Q4_K_M.gguf';
    for (const name of [
      'hf:some/repo', 'hf://some/repo', 'HF:some/repo/', 'hf.co/some/repo:Q4_K_M', 'huggingface.co/some/repo', 'hf.co/some/repo/blob/main/' + file,
      page, `${page}/tree/main`, `${page}/blob/main/${file}`, `${page}/resolve/main/${file}?download=true`, `${page}?show_file_info=${encodeURIComponent(file)}`,
    ]) assertSame(await onHub(name));
    assertSame(await run({ model: 'hf:some/repo', hub: server.origin }));
    assertSame(await run({ model: page, hub: new URL(`${server.origin}/`) }));
  });

  test('gives another revision', async () => {
    const from = server.log.length;
    server.files.set('/api/models/some/repo/tree/refs/pr/1', Buffer.from(JSON.stringify([{ type: 'file', path: 'new-Q8_0.gguf', size: model.length }])));
    server.files.set('/some/repo/resolve/refs/pr/1/new-Q8_0.gguf', model);
    for (const name of ['hf:some/repo@refs%2Fpr%2F1', 'hf:some/repo@refs%2Fpr%2F1:Q8_0', 'hf:some/repo@refs%2Fpr%2F1/new-Q8_0.gguf', `${server.origin}/some/repo/blob/refs%2Fpr%2F1/new-Q8_0.gguf`]) {
      assertSame(await onHub(name));
    }
    assert.ok(server.log.slice(from).every(({ path }) => !path.includes('/main')));
    assert.equal((await onHub('hf:some/repo@gone')).code, 'NotFound');
  });

  test('never gives what goes with a model, and lists the candidates where several are meant', async () => {
    const chosen = async (paths, quant = '') => {
      server.files.set('/api/models/a/b/tree/main', Buffer.from(JSON.stringify(paths.map((path) => ({ type: 'file', path, size: 10 })))));
      const from = server.log.length;
      const { details } = await onHub(`hf:a/b${quant}`, { store: 'none' });
      const asked = server.log.slice(from).find(({ path }) => path.startsWith('/a/b/resolve/main/'));
      return asked?.path.slice('/a/b/resolve/main/'.length) ?? details;
    };
    const aside = ['mmproj.gguf', 'q-mmproj-F16.gguf', 'draft-Q4_K_M.gguf', 'lora-Q4_K_M.gguf', 'imatrix.gguf', 'm-MTP-Q4_K_M.gguf', 'MTP/Q4_K_M.gguf'];
    assert.equal(await chosen([...aside, 'a-long-name-of-a-model-Q4_K_M.gguf']), 'a-long-name-of-a-model-Q4_K_M.gguf');
    assert.equal(await chosen([...aside, 'a-long-name-of-a-model-Q4_K_M.gguf'], ':Q4_K_M'), 'a-long-name-of-a-model-Q4_K_M.gguf');
    assert.deepEqual((await chosen([...aside, 'model-Q8_0.gguf'], ':Q4_K_M')).available.includes('model-Q8_0.gguf'), true);
    assert.equal(await chosen(['mmproj.gguf', 'small-draft-Q4_0.gguf']), 'small-draft-Q4_0.gguf');
    // Tags stand between any separators, and a longer tag is another one where there are both.
    for (const path of ['m.Q5_K_M.gguf', 'm_q5_k_m.gguf', 'Q5_K_M/m.gguf', 'UD-Q5_K_M.gguf']) assert.equal(await chosen(['m-Q5_K_S.gguf', path], ':q5_K_M'), path);
    assert.equal(await chosen(['m-Q4_K_M.gguf', 'm-Q4_K.gguf'], ':Q4_K'), 'm-Q4_K.gguf');
    assert.equal(await chosen(['m-UD-Q4_K_M.gguf', 'm-Q4_K_M.gguf'], ':Q4_K_M'), 'm-Q4_K_M.gguf');
    // The nearest to the usual one.
    assert.equal(await chosen(['m-Q8_0.gguf', 'm-Q2_K.gguf', 'm-F16.gguf', 'm-Q5_K_M.gguf']), 'm-Q5_K_M.gguf');
    assert.equal(await chosen(['the-only-one.gguf']), 'the-only-one.gguf');
    for (const [paths, quant] of [[['v1-Q4_0.gguf', 'v1-longer-Q4_0.gguf'], ':Q4_0'], [['v1-Q4_0.gguf', 'v2-Q4_0.gguf'], ''], [['m-Q4_K_M.gguf', 'm-Q4_K_S.gguf'], ':Q4_K'], [['a.gguf', 'b.gguf'], '']]) {
      assert.deepEqual((await chosen(paths, quant)).candidates, paths);
    }
  });

  test('that wants a token gives one code, whether the repository or the file is closed', async () => {
    server.fault('/api/models/closed/repo/tree/main', { status: 401 });
    server.fault('/some/repo/resolve/main/Q4_K_M/model-Q4_K_M.gguf', { status: 403 });
    try {
      for (const name of ['hf:closed/repo', 'hf:some/repo']) {
        const { code, message } = await onHub(name);
        assert.equal(code, 'Http');
        assert.match(message, /private or gated.*access token/);
      }
    } finally {
      server.fault('/some/repo/resolve/main/Q4_K_M/model-Q4_K_M.gguf', undefined);
    }
  });

  test('is named by an address', async () => {
    for (const hub of ['', 'ftp://hub', 'https://user:secret@hub', 5, null]) {
      const result = await run({ model: 'hf:some/repo', hub });
      assert.deepEqual([result.code, result.details.name], ['InvalidParameter', 'hub']);
    }
  });

  test('says what there is when it has none, or not all parts', async () => {
    for (const quant of ['IQ1_S', 'Q8_0']) {
      const result = await onHub(`hf:some/repo:${quant}`);
      assert.equal(result.code, 'NotFound');
      assert.ok(result.details.available.includes('model-Q4_K.gguf'));
      assert.match(result.message, /model-Q4_K\.gguf/);
    }
  });

  test('that knows no such repository is NotFound, that answers nonsense is Http', async () => {
    assert.equal((await onHub('hf:no/repo:Q4_0')).code, 'NotFound');
    server.files.set('/api/models/odd/repo/tree/main', Buffer.from('<html>'));
    assert.equal((await onHub('hf:odd/repo:Q4_0')).code, 'Http');
  });

  test('gets the access token with its list', async () => {
    const from = server.log.length;
    assertSame(await onHub('hf:some/repo:Q4_K_M', { headers: { Authorization: 'Bearer secret' } }));
    const toHub = server.log.slice(from).filter(({ path }) => path.includes('/repo/') || path === '/page-2');
    assert.ok(toHub.length > 3);
    for (const entry of toHub) assert.equal(entry.headers.authorization, 'Bearer secret', entry.path);
  });
});

describe('layers that are fetched for every token', () => {
  const PATH = '/deep.gguf';

  test('are asked for further ahead where answers are late, unless it is said how far', async () => {
    server.files.set(PATH, tinyModel({ layers: 10, feedForward: 256 }));
    const whole = await run({ model: PATH });
    assert.equal(whole.ids?.length, 6, whole.message);
    const { leastBytes, budgetBytes } = await withChord(stage, (page) => page.evaluate((path) => window.chord.planned({ model: path, store: 'none' }), PATH));
    server.fault(PATH, () => ({ delayMs: 150 }));
    const tight = { model: PATH, store: 'none', maxResidentBytes: Math.round((leastBytes + budgetBytes) / 2) };
    for (const [options, isLong] of [[{}, true], [{ prefetchDistance: 1 }, false]]) {
      const { ids, layers } = await run({ ...tight, ...options });
      assert.deepEqual(ids, whole.ids);
      assert.ok(isLong ? layers.ring > 2 : layers.ring === 2, JSON.stringify(layers));
      assert.equal(layers.direct, 0);
    }
    server.fault(PATH, undefined);
  });
});

describe('local files and parts', () => {
  const local = (kind, paths, isTight = false) => withChord(stage, (page) => page.evaluate(async ([wanted, from, least]) => {
    const blobs = await Promise.all(from.map(async (path) => (await fetch(path)).blob()));
    const wrapped = blobs.map((blob) => (wanted === 'file' ? new File([blob], 'model.gguf') : blob));
    const given = wrapped.length === 1 ? wrapped[0] : wrapped;
    const { leastBytes, weightBytes } = await window.chord.plan(given);
    return { leastBytes, weightBytes, ...await window.chord.outcome({ model: given, ...least ? { maxResidentBytes: leastBytes } : {} }) };
  }, [kind, paths, isTight]));

  test('a File and a Blob are read in place', async () => {
    for (const kind of ['file', 'blob']) {
      const result = await local(kind, [MODEL]);
      assertSame(result);
      assert.equal(result.source.requests, 0);
    }
  });

  test('a File, a Blob and a list of parts need hardly any memory for weights: they are read where they are', async () => {
    for (const [kind, paths] of [['file', [MODEL]], ['blob', [MODEL]], ['file', [1, 2, 3].map(partPath)]]) {
      const result = await local(kind, paths, true);
      assertSame(result);
      assert.ok(result.leastBytes < result.weightBytes / 2, `${result.leastBytes} of ${result.weightBytes}`);
      assert.ok(result.layers.direct > 0 && result.layers.pinned === 0 && result.layers.ring === 0, JSON.stringify(result.layers));
      assert.ok(result.source.storeBytes > 2 * model.length && result.source.requests === 0, JSON.stringify(result.source));
    }
  });

  test('a File that changes on the disk is SourceChanged, and goes on once it is what it was', () => withChord(stage, async (page) => {
    const folder = await mkdtemp(join(tmpdir(), 'chord-test-'));
    try {
      const path = join(folder, 'model.gguf');
      const write = async (bytes, seconds) => {
        await writeFile(path, bytes);
        await utimes(path, seconds, seconds);
      };
      await write(model, 1_000_000_000);
      await page.evaluate(() => document.body.append(Object.assign(document.createElement('input'), { type: 'file' })));
      await page.setInputFiles('input', path);
      const ask = () => page.evaluate(async () => {
        const completion = await window.engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2 }).catch(window.chord.failure);
        return { code: completion.code, message: completion.message, ids: completion.choices?.[0].logprobs.token_ids, words: await window.engine.tokenize('hello') };
      });
      await page.evaluate(async () => {
        const [file] = document.querySelector('input').files;
        const { leastBytes } = await window.chord.plan(file);
        window.engine = await window.chord.open({ model: file, maxResidentBytes: leastBytes });
        await window.engine.loaded;
      });
      const { ids, words } = await ask();
      assert.deepEqual(ids, expected.ids);
      await write(Buffer.alloc(model.length, 1), 1_000_000_005);
      for (let call = 0; call < 2; call += 1) {
        const changed = await ask();
        assert.equal(changed.code, 'SourceChanged', changed.message);
        assert.match(changed.message, /model\.gguf/);
        assert.deepEqual(changed.words, words);
      }
      await write(model, 1_000_000_000);
      assert.deepEqual((await ask()).ids, expected.ids);
      await page.evaluate(() => window.engine.dispose());
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }));

  test('a list of parts is one model', async () => {
    const paths = [1, 2, 3].map(partPath);
    assertSame(await local('file', paths));
    assertSame(await run({ model: paths }));
    assertSame(await run({ model: paths.map((path) => server.url(path)) }));
  });

  test('the URL of any part stands for all', async () => {
    assertSame(await run({ model: partPath(2) }));
  });

  test('parts are streamed too where ranges are ignored', async () => {
    for (const number of [1, 2, 3]) server.fault(partPath(number), { ignoreRange: true });
    assertSame(await run({ model: partPath(1) }));
    server.fault(partPath(2), undefined);
    assertSame(await run({ model: partPath(1) }));
    for (const number of [1, 3]) server.fault(partPath(number), undefined);
  });

  test('66 missing, doubled and disordered parts are refused', async () => {
    for (const numbers of [[1, 2], [1, 1, 2], [2, 1, 3], [1, 3, 2]]) {
      const result = await run({ model: numbers.map(partPath) });
      assert.ok(['InvalidSource', 'InvalidGguf', 'InvalidModel'].includes(result.code), `${numbers}: ${result.code ?? 'accepted'}`);
    }
  });
});

describe('addresses of other schemes', () => {
  /** Code that answers an app's scheme by the server's files, as `answer` says. */
  const app = (answer) => `{
    const { fetch } = globalThis;
    const answer = ${answer};
    globalThis.fetch = (url, init = {}) => {
      if (!/^(capacitor|tauri|chrome-extension):/.test(url)) return fetch(url, init);
      if (init.headers?.some(([name]) => name !== 'Range')) throw new Error('a header that no app asked for');
      return answer(fetch, '${server.origin}' + new URL(url).pathname, init);
    };
  }`;
  const apps = {
    'with ranges': '(fetch, url, init) => fetch(url, init)',
    'without ranges': '(fetch, url, init) => fetch(url, { signal: init.signal })',
    'that fail where a range is asked for': "async (fetch, url, init) => { if (init.headers.length) throw new TypeError('Failed to fetch'); return fetch(url, { signal: init.signal }); }",
    'that refuse ranges': 'async (fetch, url, init) => init.headers.length ? new Response(null, { status: 501 }) : fetch(url, { signal: init.signal })',
    'that send a part and do not say which': "async (fetch, url, init) => { const { body, status } = await fetch(url, init); return new Response(body, { status }); }",
    'without a status': "async (fetch, url, init) => { const whole = await fetch(url, { signal: init.signal }); return whole.ok ? Object.defineProperty(new Response(whole.body), 'status', { value: 0 }) : whole; }",
  };

  for (const [name, answer] of Object.entries(apps)) {
    test(`an app's own are read, of apps ${name}`, async () => {
      server.files.set('/pkg/io-worker.js', Buffer.from(`${app(answer)}\n${await readFile(join(root, 'pkg/io-worker.js'), 'utf8')}`));
      try {
        assertSame(await run({ model: `capacitor://localhost${MODEL}` }));
        assertSame(await run({ model: `tauri://localhost${partPath(1)}`, headers: { 'X-Key': 'secret' }, store: 'none' }));
        assert.equal((await run({ model: 'chrome-extension://abcdef/nothing.gguf' })).code, 'NotFound');
      } finally {
        server.files.delete('/pkg/io-worker.js');
      }
    });
  }

  test('a blob: and a data: URL are read like a file', async () => {
    const read = (of) => withChord(stage, (page) => page.evaluate(async ([kind, path]) => {
      const blob = await (await fetch(path)).blob();
      const address = () => new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
      });
      const given = kind === 'blob' ? URL.createObjectURL(blob) : await address();
      const { leastBytes } = await window.chord.plan(given);
      return window.chord.outcome({ model: kind === 'blob' ? new URL(given) : given, maxResidentBytes: leastBytes });
    }, [of, MODEL]), { csp: undefined });
    for (const kind of ['blob', 'data']) assertSame(await read(kind));
    assert.equal((await run({ model: 'blob:http://localhost/gone' })).code, 'NotFound');
    assert.equal((await withChord(stage, (page) => page.evaluate(() => window.chord.outcome({ model: 'data:,GGML' })), { csp: undefined })).code, 'InvalidGguf');
  });

  test('a relative name is of the page, whatever its scheme', async () => {
    server.files.set('/pkg/io-worker.js', Buffer.from(`${app(apps['without ranges'])}\n${await readFile(join(root, 'pkg/io-worker.js'), 'utf8')}`));
    try {
      const result = await withChord(stage, (page) => page.evaluate((given) => {
        document.head.append(Object.assign(document.createElement('base'), { href: 'capacitor://localhost/app/index.html' }));
        return window.chord.outcome({ model: `..${given}` });
      }, MODEL));
      assertSame(result);
    } finally {
      server.files.delete('/pkg/io-worker.js');
    }
  });
});

describe('hostile names', () => {
  const names = [
    'javascript:alert(1)', 'file:///etc/passwd', 'ftp://host/model.gguf', 'http://',
    'http://user:password@127.0.0.1/model.gguf', 'hf:', 'hf:owner', 'hf:owner/repo@..', 'hf:owner/repo:', 'hf:owner/repo@', 'hf:owner/repo:Q4/file.gguf', 'hf:../../api/whoami.gguf', 'hf:owner/repo/../../other.gguf',
    'hf:owner/repo:Q4/..', 'hf:owner/repo/a\\b.gguf', 'hf:owner/repo/a?b.gguf', 'hf:owner/repo//a.gguf',
    '/model-00000-of-00002.gguf', '/model-00003-of-00002.gguf', '/model-00001-of-99999.gguf',
  ];

  test('66 are refused before any request', async () => {
    await withChord(stage, async (page) => {
      const from = server.log.length;
      const code = (name) => page.evaluate((given) => window.chord.outcome({ model: given }).then((result) => result.code), name);
      for (const name of names) assert.equal(await code(name), 'InvalidSource', name);
      assert.equal(await code([]), 'InvalidSource');
      assert.equal(await code(Array.from({ length: 2000 }, () => '/a.gguf')), 'InvalidSource');
      for (const given of [null, 5, {}, [{}], '', ' ', ['']]) assert.equal(await code(given), 'InvalidParameter');
      assert.equal(server.log.length, from);
    });
  });
});
