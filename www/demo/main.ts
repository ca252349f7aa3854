// The demo page. Bundled with
//   esbuild www/demo/main.ts --bundle --format=esm --target=es2022 --external:/pkg/* --outfile=main.js
// and served with index.html and style.css beside it, the package at /pkg/ and models at models/.
//
// Query parameters, for links and tests: ?model= an address or hf: name (empty: load nothing),
// &device=webgpu|cpu, &ctx= context length in tokens, &prompt= a first question.

import { Chat } from './chat.js';
import { byId } from './dom.js';
import { acceptFiles } from './drop.js';
import { chooseAnother, Loader, type Choice } from './loader.js';
import { revealField, setField } from './settings.js';

const BUNDLED: Choice = {
  source: new URL('models/chord-tiny.gguf', document.baseURI),
  label: 'chord-tiny',
  bundled: true,
};

const EXAMPLES_BUNDLED = ['What is the capital of France?', 'What is wasm-chord?', 'Tell me a story about a fox.'];
const EXAMPLES_ANY = ['Explain rainbows to a child', 'Write a haiku about the sea', 'What can you help me with?'];

/** How often map and figures follow while a model loads or an answer is written. */
const FIGURES_INTERVAL_MS = 200;

const parameters = new URLSearchParams(location.search);
let firstQuestion = parameters.get('prompt') ?? '';
let latest = BUNDLED;

const loader = new Loader((engine, choice) => {
  chat.suggest(choice.bundled ? EXAMPLES_BUNDLED : EXAMPLES_ANY);
  chat.use(engine?.model.hasText ? engine : undefined);
  if (!engine) return;
  chat.ask(firstQuestion);
  firstQuestion = '';
});

const chat = new Chat({
  modelComplete: () => loader.complete,
  onActivity: () => refreshFigures(false),
  remedies: () => ({
    ...loader.remedies(latest),
    sampling: { label: 'Change the settings', run: () => revealField('sampling', 'temperature') },
  }),
});

function load(choice: Choice): void {
  latest = choice;
  void loader.load(choice);
}

function refreshFigures(isMoving: boolean): void {
  // Figures are a courtesy: an engine that fails says so in the answer, not here.
  loader.refresh(isMoving).catch(() => undefined);
}

/** "hf:owner/repo:Q4_K_M" → "repo:Q4_K_M"; "https://host/path/file.gguf?x" → "file.gguf". */
function labelOf(address: string): string {
  const path = address.replace(/[?#].*/s, '');
  return path.split('/').filter(Boolean).at(-1) ?? address;
}

function addressed(address: string): Choice {
  const bundled = new URL(address, document.baseURI).href === String(BUNDLED.source);
  return bundled ? BUNDLED : { source: address, label: labelOf(address) };
}

function start(): void {
  byId('source-form').addEventListener('submit', (event) => {
    event.preventDefault();
    load(addressed(byId<HTMLInputElement>('source').value.trim()));
  });
  byId('load-bundled').addEventListener('click', () => load(BUNDLED));
  acceptFiles((first, ...others) =>
    load({ source: others.length ? [first, ...others] : first, label: first.name, local: true }),
  );
  setInterval(() => {
    if ((chat.busy || loader.busy) && !document.hidden) refreshFigures(true);
  }, FIGURES_INTERVAL_MS);

  setField('load-options', 'device', parameters.get('device') ?? 'auto');
  setField('load-options', 'contextLength', parameters.get('ctx') ?? '');
  const wide = matchMedia('(min-width: 56rem)').matches;
  for (const fold of ['chooser', 'figures']) byId<HTMLDetailsElement>(fold).open = wide;
  chat.suggest(EXAMPLES_BUNDLED);

  const address = parameters.get('model');
  if (address === '') chooseAnother();
  else load(address === null ? BUNDLED : addressed(address));
}

start();
