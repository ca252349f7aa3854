/** How an app that uses the package is built with each bundler. All write to `to`, with index.html at its top. */

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rspack } from '@rspack/core';
import { build as esbuild } from 'esbuild';
import { rollup } from 'rollup';
import * as vite8 from 'vite';
import * as vite7 from 'vite7';
import webpack from 'webpack';
import { root } from '../support/browser.mjs';

/**
 * A project folder with the app, and the package where npm would have put it; under another name if one is given, as
 * by `npm install other@npm:wasm-chord`.
 */
export function project(folder, { name = 'wasm-chord', files = {} } = {}) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  mkdirSync(join(folder, 'public'));
  for (const file of ['app.js', 'index.html']) cpSync(join(root, 'tests/bundlers', file), join(folder, file));
  const app = readFileSync(join(folder, 'app.js'), 'utf8');
  writeFileSync(join(folder, 'app.js'), app.replace("'wasm-chord'", `'${name}'`));
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(folder, file), bytes);
  cpSync(join(root, 'pkg'), join(folder, 'node_modules', name), { recursive: true });
  return folder;
}

/** Vite finds workers and wasm files by itself. */
const viteBuild = (vite) => async (from, to) => {
  await vite.build({
    root: from,
    base: './',
    logLevel: 'warn',
    configFile: false,
    build: { outDir: to, emptyOutDir: true, target: 'es2022' },
  });
};

/** So do webpack and Rspack, which takes the same options. */
const webpackBuild = (bundler) => async (from, to) => {
  const compiler = bundler({
    mode: 'production',
    target: ['web', 'es2022'],
    context: from,
    entry: './app.js',
    output: { path: to, filename: 'app.js', publicPath: 'auto', module: true },
    experiments: { outputModule: true },
  });
  const stats = await new Promise((done, failed) => compiler.run((error, stats) => (error ? failed(error) : done(stats))));
  await new Promise((done) => compiler.close(done));
  if (stats.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }));
  cpSync(join(from, 'index.html'), join(to, 'index.html'));
};

/** esbuild and Rollup leave addresses of other files alone, so the workers and wasm files go beside the bundle. */
function copyBeside(from, to) {
  const installed = join(from, 'node_modules/wasm-chord');
  for (const name of ['engine-worker.js', 'io-worker.js', 'store-worker.js', 'wasm']) cpSync(join(installed, name), join(to, name), { recursive: true });
  cpSync(join(from, 'index.html'), join(to, 'index.html'));
}

export const builds = {
  'vite 8': viteBuild(vite8),
  'vite 7': viteBuild(vite7),
  webpack: webpackBuild(webpack),
  rspack: webpackBuild(rspack),

  async rollup(from, to) {
    const installed = join(from, 'node_modules/wasm-chord/index.js');
    // Does what @rollup/plugin-node-resolve does for the one package that there is.
    const resolve = { name: 'resolve', resolveId: (id) => (id === 'wasm-chord' ? installed : undefined) };
    const bundle = await rollup({ input: join(from, 'app.js'), plugins: [resolve] });
    await bundle.write({ dir: to, format: 'es' });
    await bundle.close();
    copyBeside(from, to);
  },

  async esbuild(from, to) {
    await esbuild({
      absWorkingDir: from,
      entryPoints: ['app.js'],
      bundle: true,
      format: 'esm',
      target: 'es2022',
      outdir: to,
      logLevel: 'warning',
    });
    copyBeside(from, to);
  },

  /** No bundler: the page says with an import map where the package lies. */
  async plain(from, to) {
    cpSync(from, to, { recursive: true });
    const map = '<script type="importmap">{"imports":{"wasm-chord":"./node_modules/wasm-chord/index.js"}}</script>';
    const page = readFileSync(join(from, 'index.html'), 'utf8').replace('<body>', `<body>${map}`);
    writeFileSync(join(to, 'index.html'), page);
  },
};

/** A dev server gives its address to `body`, and is closed afterwards. */
const viteServer = (vite) => async (from, options, body) => {
  const server = await vite.createServer({
    root: from,
    logLevel: 'error',
    configFile: false,
    server: { port: 0, host: 'localhost' },
    ...options,
  });
  try {
    await server.listen();
    return await body(server.resolvedUrls.local[0]);
  } finally {
    await server.close();
  }
};

export const devServers = { 'vite 8': viteServer(vite8), 'vite 7': viteServer(vite7) };
