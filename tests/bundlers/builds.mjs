/** How an app that uses the package is built with each bundler. All write to `to`, with index.html at its top. */

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build as esbuild } from 'esbuild';
import { build as vite } from 'vite';
import webpack from 'webpack';
import { root } from '../support/browser.mjs';

/** A project folder with the app, and the package where npm would have put it. */
export function project(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  for (const name of ['app.js', 'index.html']) cpSync(join(root, 'tests/bundlers', name), join(folder, name));
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  cpSync(join(root, 'pkg'), join(folder, 'node_modules/wasm-chord'), { recursive: true });
  return folder;
}

export const builds = {
  /** Vite finds workers and wasm files by itself. */
  async vite(from, to) {
    await vite({
      root: from,
      base: './',
      logLevel: 'warn',
      configFile: false,
      build: { outDir: to, emptyOutDir: true, target: 'es2022' },
    });
  },

  /** So does webpack. */
  async webpack(from, to) {
    const compiler = webpack({
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
  },

  /** esbuild leaves addresses of other files alone, so the workers and wasm files go beside the bundle. */
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
    const installed = join(from, 'node_modules/wasm-chord');
    for (const name of ['engine-worker.js', 'io-worker.js', 'store-worker.js', 'wasm']) cpSync(join(installed, name), join(to, name), { recursive: true });
    cpSync(join(from, 'index.html'), join(to, 'index.html'));
  },

  /** No bundler: the page says with an import map where the package lies. */
  async plain(from, to) {
    cpSync(from, to, { recursive: true });
    const map = '<script type="importmap">{"imports":{"wasm-chord":"./node_modules/wasm-chord/index.js"}}</script>';
    const page = readFileSync(join(from, 'index.html'), 'utf8').replace('<body>', `<body>${map}`);
    writeFileSync(join(to, 'index.html'), page);
  },
};
