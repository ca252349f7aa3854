// The test server itself: a fault test is worth only what its server is.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { parseRange } from './response.mjs';
import { sentAgain, sentRanges } from './sent.mjs';
import { startServer } from './server.mjs';

const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7) & 255);
let server;

before(async () => (server = await startServer({ files: { '/file': bytes } })));
after(() => server.close());
afterEach(() => {
  server.heal();
  server.log.length = 0;
});

const get = (headers = {}, options = {}) => fetch(server.url('/file'), { headers, ...options });
const body = async (response) => new Uint8Array(await response.arrayBuffer());

test('ranges follow RFC 9110', () => {
  assert.deepEqual(parseRange('bytes=2-4', 10), { start: 2, end: 5 });
  assert.deepEqual(parseRange('bytes=2-', 10), { start: 2, end: 10 });
  assert.deepEqual(parseRange('bytes=8-99', 10), { start: 8, end: 10 });
  assert.deepEqual(parseRange('bytes=-3', 10), { start: 7, end: 10 });
  assert.equal(parseRange('bytes=10-', 10), 'unsatisfiable');
  assert.equal(parseRange('bytes=-0', 10), 'unsatisfiable');
  for (const header of [undefined, 'bytes=4-2', 'bytes=-', 'bytes=0-1,4-5', 'pages=1-2']) {
    assert.equal(parseRange(header, 10), undefined);
  }
});

test('a file, a range, HEAD, and the log', async () => {
  const whole = await get();
  assert.equal(whole.status, 200);
  assert.deepEqual(await body(whole), bytes);
  const part = await get({ range: 'bytes=1000-200999' });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), 'bytes 1000-200999/300000');
  assert.equal(part.headers.get('etag'), whole.headers.get('etag'));
  assert.deepEqual(await body(part), bytes.slice(1000, 201000));
  const head = await get({}, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), '300000');
  assert.equal((await get({ range: 'bytes=300000-' })).status, 416);
  assert.equal((await get({ 'if-match': '"other"' })).status, 412);
  assert.equal((await fetch(server.url('/none'))).status, 404);
  assert.deepEqual(server.requests('/file', 'GET').map((entry) => entry.sentBytes), [300000, 200000, 0, 0]);
});

test('faults of status and headers', async () => {
  server.fault('/file', [{ status: 503, retryAfter: 2 }, undefined, { etag: null }, { hideHeaders: true }, { html: true }]);
  const busy = await get();
  assert.equal(busy.status, 503);
  assert.equal(busy.headers.get('retry-after'), '2');
  assert.equal((await get()).status, 200);
  assert.equal((await get()).headers.get('etag'), null);
  assert.equal((await get()).headers.get('access-control-expose-headers'), null);
  assert.match(await (await get()).text(), /^<!doctype html>/);
  assert.equal((await get()).status, 200, 'the list is used up');
});

test('faults of ranges', async () => {
  server.fault('/file', [
    { ignoreRange: true },
    { contentRange: 'bytes 0-9/300000' },
    { shiftRange: 5 },
    { bodyDelta: -3 },
    { bodyDelta: 4 },
    { flipBit: 12 },
    { gzip: true },
  ]);
  const range = () => get({ range: 'bytes=10-19' });
  assert.equal((await range()).status, 200);
  assert.equal((await range()).headers.get('content-range'), 'bytes 0-9/300000');
  const shifted = await range();
  assert.equal(shifted.headers.get('content-range'), 'bytes 15-19/300000');
  assert.deepEqual(await body(shifted), bytes.slice(15, 20));
  assert.equal((await body(await range())).length, 7);
  assert.equal((await body(await range())).length, 14);
  const flipped = bytes.slice(10, 20);
  flipped[2] ^= 1;
  assert.deepEqual(await body(await range()), flipped);
  const compressed = await range();
  assert.equal(compressed.status, 206);
  assert.equal(compressed.headers.get('content-encoding'), 'gzip');
  assert.deepEqual(await body(compressed), bytes.slice(10, 20));
});

test('connections that break or fall silent', async () => {
  server.fault('/file', [{ disconnectAfter: 1000 }, { stallAfter: 2000 }]);
  await assert.rejects(async () => body(await get()));
  const abort = new AbortController();
  const stalled = await get({}, { signal: abort.signal });
  const reader = stalled.body.getReader();
  let received = 0;
  while (received < 2000) received += (await reader.read()).value.length;
  const next = await Promise.race([reader.read(), new Promise((done) => setTimeout(done, 100, 'silence'))]);
  assert.equal(next, 'silence');
  abort.abort();
  assert.equal(received, 2000);
});

test('bodies of which little comes', async () => {
  server.fault('/file', { trickleAfter: 1000 });
  const abort = new AbortController();
  const reader = (await get({}, { signal: abort.signal })).body.getReader();
  const lengths = [];
  while (lengths.reduce((sum, length) => sum + length, 0) < 1002) lengths.push((await reader.read()).value.length);
  assert.deepEqual(lengths.slice(-2), [1, 1]);
  abort.abort();
});

test('redirects, to signed addresses too', async () => {
  const log = server.log;
  server.fault('/file', () => (log.length === 1 ? { redirect: 'other' } : undefined));
  const moved = await get();
  assert.equal(moved.url, server.otherUrl('/file'));
  assert.deepEqual(await body(moved), bytes);
  server.fault('/file', { signed: { uses: 2, other: true } });
  const signed = await get();
  assert.equal(signed.status, 200);
  assert.equal(new URL(signed.url).origin, server.otherOrigin);
  assert.equal((await fetch(signed.url)).status, 200);
  assert.equal((await fetch(signed.url)).status, 403, 'used twice');
  assert.equal((await get()).status, 200, 'the original address gives a new signature');
});

test('the throttle is shared', async () => {
  const slow = await startServer({ files: { '/file': bytes }, bytesPerSecond: 1_000_000 });
  const start = performance.now();
  await Promise.all([0, 1].map(async () => body(await fetch(slow.url('/file')))));
  const seconds = (performance.now() - start) / 1000;
  await slow.close();
  assert.ok(seconds > 0.55, `600 kB at 1 MB/s took ${seconds.toFixed(2)} s`);
});

test('what was sent again is counted visit by visit', () => {
  const answer = (start, sentBytes) => ({ range: `bytes=${start}-999`, sentBytes });
  assert.deepEqual(sentRanges([answer(10, 5), answer(0, 10), answer(20, 5)]), [[0, 15], [20, 25]]);
  const visits = [[answer(0, 10), answer(20, 5)], [answer(8, 4)], [answer(22, 10), answer(10, 1)]];
  assert.deepEqual(sentAgain(visits), [2 + 3, 1]);
  assert.deepEqual(sentAgain(visits, [[answer(0, 9), answer(20, 2)], [answer(8, 2)]]), [1, 0]);
});
