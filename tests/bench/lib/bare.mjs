/**
 * Runs a function in a page of a browser that no debugger is attached to: what drives a browser through
 * its debugging port makes it keep every response body, a few hundred megabytes that no person's tab holds.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FLAGS, executablePath } from '../../support/browser.mjs';
import { MemoryWatch, descendants, isRenderer, tabSeconds } from './memory.mjs';

/** The page that runs what its address says; serve it at `/bare.html`. What it runs may call `mark()`. */
export const BARE_PAGE = Buffer.from(`<!doctype html><meta charset="utf-8"><title>bench</title><link rel="icon" href="data:,">
<script type="module">
  const { code, options, report } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  globalThis.mark = () => fetch(report, { cache: 'no-store' });
  const send = (answer) => fetch(report, { method: 'POST', body: JSON.stringify(answer) });
  try {
    await send({ value: await (0, eval)(code)(options) });
  } catch (error) {
    await send({ error: String(error?.stack ?? error) });
  }
</script>`);

/** A profile folder that outlives one browser, for what a second visit finds. */
export const newProfile = () => mkdtemp(join(tmpdir(), 'chord-bench-'));

/**
 * Runs `measure(options)`, an async function that needs nothing around it, in a fresh browser.
 * Gives its value, the browser's peak of memory in bytes, and for each `await mark()` in it the seconds that its tab had
 * computed by then.
 */
export async function runBare(server, measure, options, { profile, timeoutMs = 600_000 } = {}) {
  const folder = profile ?? (await newProfile());
  const marks = [];
  const reporter = await startReporter(async () => marks.push(await tabSeconds(browser.pid)));
  const hash = encodeURIComponent(JSON.stringify({ code: `(${measure})`, options, report: reporter.url }));
  const browser = spawn(executablePath(), [...FLAGS, '--headless', `--user-data-dir=${folder}`, `${server.url('/bare.html')}#${hash}`], { stdio: 'ignore' });
  const watch = new MemoryWatch(browser.pid);
  const late = new Promise((_, reject) => setTimeout(reject, timeoutMs, new Error('the page did not report in time')).unref());
  try {
    const answer = await Promise.race([reporter.answer, late]);
    if (answer.error !== undefined) throw new Error(answer.error);
    return { value: answer.value, peak: await watch.stop(), marks };
  } finally {
    await watch.stop();
    const ended = new Promise((done) => browser.once('exit', done));
    browser.kill('SIGTERM');
    await ended;
    reporter.close();
    if (profile === undefined) await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

/** What a browser needs to notice that a tab of it is gone, and to let go of what it had open. */
const MOURNING_MS = 500;

/**
 * Starts `measure(options)` in a browser with this profile, and kills it when `until` resolves: all of the
 * browser, or the `tab` alone, whose browser then ends in good order. `onKill` is called at that moment.
 */
export async function killBare(server, measure, options, { profile, until, victim = 'browser', onKill = () => undefined }) {
  const hash = encodeURIComponent(JSON.stringify({ code: `(${measure})`, options, report: server.url('/nowhere') }));
  // In a group of its own, so that every process of it can be killed at once.
  const browser = spawn(executablePath(), [...FLAGS, '--headless', `--user-data-dir=${profile}`, `${server.url('/bare.html')}#${hash}`], { stdio: 'ignore', detached: true });
  const ended = new Promise((done) => browser.once('exit', done));
  try {
    await until;
    if (victim === 'tab') {
      for (const pid of await descendants(browser.pid)) if (await isRenderer(pid)) process.kill(pid, 'SIGKILL');
      onKill();
      await new Promise((done) => setTimeout(done, MOURNING_MS));
      browser.kill('SIGTERM');
      await Promise.race([ended, new Promise((done) => setTimeout(done, 10 * MOURNING_MS))]);
    }
  } finally {
    if (victim === 'browser') onKill();
    try {
      process.kill(-browser.pid, 'SIGKILL');
    } catch {
      // All of it has ended.
    }
    await ended;
  }
}

/** A server that takes one answer, from any origin, and calls `onMark` before it answers a mark. */
async function startReporter(onMark) {
  let settle;
  const answer = new Promise((done) => (settle = done));
  const server = createServer(async (request, response) => {
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('cross-origin-resource-policy', 'cross-origin');
    let body = '';
    for await (const piece of request) body += piece;
    if (request.method === 'GET') await onMark();
    response.end();
    if (request.method === 'POST') settle(JSON.parse(body));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}/`, answer, close: () => server.close() };
}
