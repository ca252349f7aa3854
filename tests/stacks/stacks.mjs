/**
 * The stacks that run.mjs tries. Each has the npm packages that it is made of, the files of an app, and commands:
 * `dev` serves the app on a port, `build` writes it into `output`, where index.html is at the top. In a command, the
 * first word is a program of the packages. `copy` names what is copied after the build, and `workers` how many there are
 * in the output if not three.
 */

/** Opens the model and writes into the page how it answered. Does nothing where there is no page. */
const ANSWER = `
import { createEngine } from 'wasm-chord';

export async function answer() {
  try {
    const model = new URLSearchParams(location.search).get('model');
    const engine = await createEngine({ model, store: 'none', device: 'cpu' });
    const { choices } = await engine.chat.completions.create({
      messages: [{ role: 'user', content: 'Tell me a story.' }], max_tokens: 8, temperature: 0,
    });
    await engine.dispose();
    document.body.dataset.result = JSON.stringify({ text: choices[0].message.content });
  } catch (error) {
    document.body.dataset.result = JSON.stringify({ error: error.code + ': ' + error.message });
  }
}
`;
const MAIN = "import { answer } from './answer.js';\nanswer();\n";
const PAGE = (script) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>app</title>
<link rel="icon" href="data:,">
<body><script type="module" src="${script}"></script></body></html>
`;

const vite = (version) => ({
  packages: [`vite@${version}`],
  files: { 'index.html': PAGE('./main.js'), 'main.js': MAIN, 'answer.js': ANSWER },
  dev: (port) => ['vite', '--port', port, '--strictPort'],
  build: ['vite', 'build'],
  output: 'dist',
});

const webpackFiles = {
  'main.js': MAIN,
  'answer.js': ANSWER,
  'public/index.html': PAGE('./main.js').replace(' type="module"', ' defer'),
};
const webpackConfig = `export default {
  mode: 'production', entry: './main.js', output: { filename: 'main.js', publicPath: 'auto' },
  devServer: { static: 'public', hot: false, liveReload: false },
};\n`;

const next = (bundler, workers) => ({
  packages: ['next', 'react', 'react-dom'],
  files: {
    'next.config.mjs': "export default { output: 'export' };\n",
    'app/layout.jsx': 'export default function Layout({ children }) { return <html lang="en"><body>{children}</body></html>; }\n',
    'app/page.jsx': `'use client';
import { useEffect } from 'react';
import { answer } from './answer.js';
export default function Page() { useEffect(() => { answer(); }, []); return <main>app</main>; }\n`,
    'app/answer.js': ANSWER,
  },
  dev: (port) => ['next', 'dev', bundler, '--port', port],
  build: ['next', 'build', bundler],
  output: 'out',
  workers,
});

/** Copies what a bundler that does not follow `new URL(…, import.meta.url)` leaves behind. */
const copyBeside = (folder) => ['engine-worker.js', 'io-worker.js', 'store-worker.js', 'wasm'].map((name) => [`node_modules/wasm-chord/${name}`, `${folder}/${name}`]);

export const stacks = {
  'vite-5': vite(5),
  'vite-6': vite(6),
  'vite-7': vite(7),
  'vite-8': vite(8),
  webpack: {
    packages: ['webpack', 'webpack-cli', 'webpack-dev-server'],
    files: { ...webpackFiles, 'webpack.config.mjs': webpackConfig },
    dev: (port) => ['webpack', 'serve', '--mode', 'development', '--port', port],
    build: ['webpack'],
    output: 'dist',
    copy: [['public/index.html', 'dist/index.html']],
  },
  rspack: {
    packages: ['@rspack/core', '@rspack/cli', '@rspack/dev-server'],
    files: { ...webpackFiles, 'rspack.config.mjs': webpackConfig },
    dev: (port) => ['rspack', 'serve', '--mode', 'development', '--port', port],
    build: ['rspack', 'build'],
    output: 'dist',
    copy: [['public/index.html', 'dist/index.html']],
  },
  rollup: {
    packages: ['rollup', '@rollup/plugin-node-resolve'],
    files: { 'index.html': PAGE('./main.js'), 'main.js': MAIN, 'answer.js': ANSWER },
    build: ['rollup', 'main.js', '--plugin', 'node-resolve', '--dir', 'dist'],
    output: 'dist',
    copy: [['index.html', 'dist/index.html'], ...copyBeside('dist')],
  },
  esbuild: {
    packages: ['esbuild'],
    files: { 'index.html': PAGE('./main.js'), 'main.js': MAIN, 'answer.js': ANSWER },
    build: ['esbuild', 'main.js', '--bundle', '--format=esm', '--minify', '--outdir=dist'],
    output: 'dist',
    copy: [['index.html', 'dist/index.html'], ...copyBeside('dist')],
  },
  parcel: {
    packages: ['parcel'],
    files: { 'index.html': PAGE('./main.js'), 'main.js': MAIN, 'answer.js': ANSWER },
    dev: (port) => ['parcel', 'index.html', '--port', port, '--no-hmr'],
    build: ['parcel', 'build', 'index.html', '--no-source-maps'],
    output: 'dist',
  },
  // Turbopack puts the file of a worker's address beside the bundle that it makes of the worker; nobody fetches it.
  next: next('--turbopack', 6),
  'next-webpack': next('--webpack', 3),
  sveltekit: {
    packages: ['@sveltejs/kit', '@sveltejs/vite-plugin-svelte', '@sveltejs/adapter-static', 'svelte', 'vite'],
    files: {
      'vite.config.js': `import adapter from '@sveltejs/adapter-static';
import { sveltekit } from '@sveltejs/kit/vite';
export default { plugins: [sveltekit({ adapter: adapter() })] };\n`,
      'src/app.html': '<!doctype html><html lang="en"><head><meta charset="utf-8">%sveltekit.head%</head><body>%sveltekit.body%</body></html>\n',
      'src/routes/+layout.js': 'export const prerender = true;\n',
      'src/routes/+page.svelte': "<script>import { onMount } from 'svelte'; import { answer } from '../answer.js'; onMount(() => { answer(); });</script>\n<main>app</main>\n",
      'src/answer.js': ANSWER,
    },
    dev: (port) => ['vite', 'dev', '--port', port, '--strictPort'],
    build: ['vite', 'build'],
    output: 'build',
  },
  astro: {
    packages: ['astro'],
    files: {
      'astro.config.mjs': 'export default {};\n',
      'src/pages/index.astro': `---
import { createEngine } from 'wasm-chord';
---
<html lang="en"><head><meta charset="utf-8"><title>app</title></head>
<body data-server={typeof createEngine}><script>import { answer } from '../answer.js'; answer();</script></body></html>\n`,
      'src/answer.js': ANSWER,
    },
    dev: (port) => ['astro', 'dev', '--port', port],
    build: ['astro', 'build'],
    output: 'dist',
  },
  nuxt: {
    packages: ['nuxt'],
    files: {
      'nuxt.config.ts': 'export default defineNuxtConfig({ telemetry: false });\n',
      'app/app.vue': "<script setup>import { onMounted } from 'vue'; import { answer } from './answer.js'; onMounted(() => { answer(); });</script>\n<template><main>app</main></template>\n",
      'app/answer.js': ANSWER,
    },
    dev: (port) => ['nuxt', 'dev', '--port', port],
    build: ['nuxt', 'generate'],
    output: '.output/public',
  },
};
