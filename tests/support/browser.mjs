/** The browser that specs and benches drive, and where things lie. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The wasm builds with the `selftest` feature; `cargo xtask test` says where they are. */
export const selftest = process.env.CHORD_SELFTEST ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'selftest');

/** The reference data, or undefined where there is none. */
export const sharedData = [join(root, '../shared/data'), process.env.CHORD_SHARED_DATA].find(
  (folder) => folder !== undefined && existsSync(folder),
);

const BROWSERS = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

export const FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** WebGPU on the CPU. */
const GPU_FLAGS = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** A page that loads nothing by itself. */
export const BLANK_PAGE = Buffer.from(
  '<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">',
);

/** The machine's Chromium or Chrome. */
export function executablePath() {
  const found = process.env.CHROME_PATH || BROWSERS.find((path) => existsSync(path));
  if (!found) throw new Error('no Chromium or Chrome found: name it in CHROME_PATH');
  return found;
}

/** Starts it, headless. */
export async function launch({ gpu = false, args = [] } = {}) {
  return chromium.launch({ executablePath: executablePath(), args: [...FLAGS, ...(gpu ? GPU_FLAGS : []), ...args] });
}
