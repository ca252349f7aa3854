/** The browser that specs and benches drive, and where things lie. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, firefox } from 'playwright-core';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The wasm builds with the `selftest` feature; `cargo xtask test` says where they are. */
export const selftest = process.env.CHORD_SELFTEST ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'selftest');

/** The reference data, or undefined where there is none. */
export const sharedData = [join(root, '../shared/data'), process.env.CHORD_SHARED_DATA].find(
  (folder) => folder !== undefined && existsSync(folder),
);

/** Specs run in Chromium, or in Firefox where CHORD_BROWSER says so. */
export const isFirefox = process.env.CHORD_BROWSER === 'firefox';
/** For the `skip` of a test: false in Chromium, and in Firefox the reason that is given. */
export const notInFirefox = (reason) => isFirefox && `not in Firefox: ${reason}`;

const CHROMIUMS = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/**
 * Features of Chromium that tests do without. The pages of its own address bar come first: it loads two for each window,
 * which cost more than most tests do. Of several such lists it takes the last only, so that the others are those that
 * playwright-core switches off for steady tests.
 */
const FEATURES_OFF = [
  'WebUIOmniboxAimPopup',
  'WebUIOmniboxPopup',
  'AvoidCorsURLLoaderRestartOnRedirect',
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'BlockOriginHeaderModificationOnRedirect',
  'DestroyProfileOnBrowserClose',
  'DialMediaRouteProvider',
  'GlobalMediaControls',
  'HttpsUpgrades',
  'LensOverlay',
  'MediaRouter',
  'NetworkTimeServiceQuerying',
  'OptimizationHints',
  'PaintHolding',
  'ThirdPartyStoragePartitioning',
  'Translate',
];

export const FLAGS = [
  `--disable-features=${FEATURES_OFF}`,
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/**
 * WebGPU on the CPU. There the instruction that workgroup memory begins as zeros is compiled to a store for each of its
 * words, which takes longer than all else in a shader; without it Dawn writes the loop itself.
 */
const GPU_FLAGS = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
];

const FIREFOXES = ['/usr/bin/firefox-esr', '/usr/bin/firefox', '/Applications/Firefox.app/Contents/MacOS/firefox'];

/** A page that loads nothing by itself. */
export const BLANK_PAGE = Buffer.from(
  '<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">',
);

/** The machine's Chromium or Chrome. */
export function executablePath() {
  const found = process.env.CHROME_PATH || CHROMIUMS.find((path) => existsSync(path));
  if (!found) throw new Error('no Chromium or Chrome found: name it in CHROME_PATH');
  return found;
}

function firefoxPath() {
  const found = process.env.FIREFOX_PATH || FIREFOXES.find((path) => existsSync(path));
  if (!found) throw new Error('no Firefox found: name it in FIREFOX_PATH');
  return found;
}

/**
 * Starts the browser that specs run in, headless: Chromium's headless shell where CHROME_SHELL_PATH names one. Firefox, as
 * it is installed, is driven by WebDriver BiDi.
 */
export async function launch({ gpu = false, args = [] } = {}) {
  if (isFirefox) return firefox.launch({ channel: 'moz-firefox', executablePath: firefoxPath() });
  const program = process.env.CHROME_SHELL_PATH || executablePath();
  return chromium.launch({ executablePath: program, args: [...FLAGS, ...(gpu ? GPU_FLAGS : []), ...args] });
}
