/**
 * Tries the package as npm would publish it in real stacks, from empty folders: installs each from the registry, serves
 * and builds an app with it, and asks in Chromium whether it answers.
 *
 *     cargo xtask build && node tests/stacks/run.mjs [--keep FOLDER] [NAME…]
 *
 * Without names all are tried, which downloads about a gigabyte. Some stacks need Node 22 or newer. With --keep, folders
 * and what is installed in them stay, and are used again.
 */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { emitted } from '../bundlers/emitted.mjs';
import { launch, root } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { stacks } from './stacks.mjs';

/** A dev server compiles what is asked of it, and a machine may be slow. */
const ANSWER_MS_MAX = 180_000;
const MODEL = '/models/chord-tiny.gguf';
const ENVIRONMENT = {
  ...process.env, CI: '1', NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1', ASTRO_TELEMETRY_DISABLED: '1', NUXT_TELEMETRY_DISABLED: '1',
  PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
};

const { values, positionals } = parseArgs({ options: { keep: { type: 'string' } }, allowPositionals: true });
const names = positionals.length > 0 ? positionals : Object.keys(stacks);
const unknown = names.filter((name) => !(name in stacks));
if (unknown.length > 0) throw new Error(`no such stack: ${unknown.join(', ')}; there are ${Object.keys(stacks).join(', ')}`);

const home = values.keep ?? mkdtempSync(join(tmpdir(), 'stacks-'));
mkdirSync(home, { recursive: true });
const tarball = packed();
const models = await startServer({ roots: { '/models/': join(root, 'models') } });
const browser = await launch();
let failures = 0;
for (const name of names) {
  const lines = await tried(name).catch((error) => [`FAILED  ${error.message}`]);
  failures += lines.filter((line) => line.startsWith('FAILED')).length;
  for (const line of lines) console.log(`${name.padEnd(13)} ${line}`);
}
await browser.close();
await models.close();
if (!values.keep) rmSync(home, { recursive: true, force: true });
process.exitCode = failures > 0 ? 1 : 0;

/** The file that would be published. */
function packed() {
  const output = execFileSync('npm', ['pack', '--silent', '--pack-destination', home], { cwd: join(root, 'pkg'), encoding: 'utf8' });
  return join(home, output.trim().split('\n').at(-1));
}

/** Installs one stack, and tells how its dev server and its build did. */
async function tried(name) {
  const stack = stacks[name];
  const folder = join(home, name);
  install(folder, stack);
  const lines = [`of ${stack.packages.map((spec) => versionOf(folder, spec)).join(', ')}`];
  for (const [kind, attempt] of [['dev', dev], ['build', build]]) {
    if (!stack[kind]) continue;
    lines.push(await attempt(folder, stack).then((text) => `ok      ${kind}: ${text}`, (error) => `FAILED  ${kind}: ${error.message}`));
  }
  return lines;
}

function install(folder, { packages, files }) {
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  const manifest = join(folder, 'package.json');
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "name": "app", "private": true, "type": "module" }\n');
  const missing = packages.filter((spec) => !existsSync(join(folder, 'node_modules', bare(spec))));
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...missing, tarball];
  rmSync(join(folder, 'node_modules/wasm-chord'), { recursive: true, force: true });
  execFileSync('npm', args, { cwd: folder, env: ENVIRONMENT, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** The name in `name@version`. */
function bare(spec) {
  return spec.replace(/(?<=.)@.*/, '');
}

function versionOf(folder, spec) {
  const { name, version } = JSON.parse(readFileSync(join(folder, 'node_modules', bare(spec), 'package.json'), 'utf8'));
  return `${name} ${version}`;
}

/** Starts a program of an npm package, in a group of its own. What it says is kept in `child.said`. */
function start(folder, [program, ...args]) {
  const child = spawn(join(folder, 'node_modules/.bin', program), args, { cwd: folder, env: ENVIRONMENT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  child.said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { child.said += text; });
  return child;
}

async function dev(folder, stack) {
  const port = await freePort();
  const child = start(folder, stack.dev(String(port)));
  const ended = once(child, 'exit').then(() => { throw new Error(`the server ended:\n${tail(child.said)}`); });
  try {
    await Promise.race([listening(port), ended]);
    return await Promise.race([answerAt(`http://localhost:${port}/`), ended]);
  } catch (error) {
    throw new Error(`${error.message}\n${tail(child.said)}`);
  } finally {
    ended.catch(() => undefined);
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

async function build(folder, stack) {
  const output = join(folder, stack.output);
  rmSync(output, { recursive: true, force: true });
  const child = start(folder, stack.build);
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`ended with ${code}:\n${tail(child.said)}`);
  for (const [from, to] of stack.copy ?? []) cpSync(join(folder, from), join(folder, to), { recursive: true });
  const server = await startServer({ roots: { '/': output } });
  try {
    const said = await answerAt(server.url('/'));
    const { workers, wasmFiles, scriptBytes } = emitted(output);
    if (workers !== (stack.workers ?? 3) || wasmFiles !== 5) throw new Error(`there are ${workers} workers and ${wasmFiles} wasm files`);
    return `${said}; ${workers} workers, ${wasmFiles} wasm files, ${Math.round(scriptBytes / 1024)} KiB of scripts`;
  } finally {
    await server.close();
  }
}

/** The end of what a program said. */
function tail(text) {
  return text.trim().split('\n').slice(-15).join('\n');
}

async function freePort() {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves when something answers at a port. */
async function listening(port) {
  for (;;) {
    const isThere = await fetch(`http://localhost:${port}/`).then(() => true, () => false);
    if (isThere) return;
    await new Promise((done) => setTimeout(done, 300));
  }
}

/** What the page at an address says that the model answered. */
async function answerAt(address) {
  const context = await browser.newContext();
  const said = [];
  try {
    const page = await context.newPage();
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(error.message));
    await page.goto(`${address}?model=${encodeURIComponent(models.url(MODEL))}`, { timeout: ANSWER_MS_MAX });
    const result = await page.waitForFunction(() => document.body?.dataset.result, undefined, { timeout: ANSWER_MS_MAX });
    const { text, error } = JSON.parse(await result.jsonValue());
    if (error !== undefined || !text) throw new Error(error ?? 'an empty answer');
    return `answered ${JSON.stringify(text)}`;
  } catch (error) {
    throw new Error(`${error.message}; the page said: ${said.slice(-5).join(' | ')}`);
  } finally {
    await context.close();
  }
}
