// The demo page. Bundled with
//   esbuild www/demo/main.ts --bundle --format=esm --target=es2022 --external:/pkg/* --outfile=main.js
// and served with index.html and style.css beside it, the package at /pkg/ and models at models/.
//
// Query parameters, for links and tests: ?model= an address or hf: name (empty: load nothing),
// &device=webgpu|cpu, &ctx= context length in tokens, &prompt= a first question.

import { labelOf, urlOf } from './address.js';
import { card, KNOWN } from './catalogue.js';
import { Chat } from './chat.js';
import { byId } from './dom.js';
import { acceptFiles } from './drop.js';
import { decimal } from './format.js';
import { Loader, type Choice } from './loader.js';
import { openModels, revealField, setField } from './settings.js';
import { StoredModels } from './stored-models.js';
import { countTabs, enterTab } from './tabs.js';

const BUNDLED: Choice = {
  source: new URL('models/chord-tiny.gguf', document.baseURI),
  label: 'chord-tiny',
  bundled: true,
};

const EXAMPLES_BUNDLED = ['What is the capital of France?', 'What is wasm-chord?', 'Tell me a story about a fox.'];
const EXAMPLES_ANY = ['Explain rainbows to a child', 'Write a haiku about the sea', 'Compare tea and coffee in a table'];

/** How often map and figures follow while a model loads or an answer is written. */
const FIGURES_INTERVAL_MS = 200;
/** How often the tabs are counted. */
const TABS_INTERVAL_MS = 2000;

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
  waitingText: () => loader.waitingText,
  onFirstToken: (askedAt, firstAt) => loader.showFirstToken(askedAt, firstAt),
  onActivity: () => refreshFigures(false),
  remedies: () => ({
    ...loader.remedies(latest),
    sampling: { label: 'Change the settings', run: () => revealField('sampling', 'temperature') },
  }),
});

const stored = new StoredModels((source) => load(addressed(source)));

function load(choice: Choice): void {
  latest = choice;
  byId<HTMLDialogElement>('models').close();
  remember(choice);
  void loader.load(choice);
}

/** Puts the model into the page's own address, so that a reload or another tab takes it up. */
function remember({ source, bundled }: Choice): void {
  const address = new URL(location.href);
  address.searchParams.delete('prompt');
  address.searchParams.delete('model');
  if (!bundled && typeof source === 'string') address.searchParams.set('model', source);
  history.replaceState(null, '', address);
}

function refreshFigures(isMoving: boolean): void {
  // Figures are a courtesy: an engine that fails says so in the answer, not here.
  loader.refresh(isMoving).catch(() => undefined);
}

function follow(): void {
  if (document.hidden) return;
  if (chat.busy || loader.busy) refreshFigures(true);
  chat.refresh();
  if (chat.speed !== undefined) byId('speed').textContent = decimal(chat.speed);
}

async function showTabs(): Promise<void> {
  const count = await countTabs();
  byId('tabs-proof').textContent = count > 1 ? `${count} tabs are open and share what was fetched.` : 'Another tab reads what this one fetched.';
}

function addressed(address: string): Choice {
  const bundled = urlOf(address, document.baseURI)?.href === String(BUNDLED.source);
  return bundled ? BUNDLED : { source: address, label: labelOf(address) };
}

function listModels(): void {
  const real = () => KNOWN.map((known) => card(known, () => load(addressed(known.source))));
  const toy = card({ name: 'chord-tiny', size: '1 MB', needs: 'a toy that comes with this page' }, () => load(BUNDLED));
  byId('real-models').replaceChildren(...real());
  byId('known-models').replaceChildren(...real(), toy);
}

function start(): void {
  byId('source-form').addEventListener('submit', (event) => {
    event.preventDefault();
    load(addressed(byId<HTMLInputElement>('source').value.trim()));
  });
  acceptFiles((first, ...others) =>
    load({ source: others.length ? [first, ...others] : first, label: first.name, local: true }),
  );
  byId('open-models').addEventListener('click', () => {
    void stored.show();
    openModels();
  });
  byId('open-settings').addEventListener('click', () => byId<HTMLDialogElement>('settings').showModal());
  byId('open-tab').addEventListener('click', () => window.open(location.href, '_blank', 'noopener'));
  const toggle = byId('machine-toggle');
  toggle.addEventListener('click', () => toggle.setAttribute('aria-expanded', String(toggle.getAttribute('aria-expanded') !== 'true')));

  enterTab();
  listModels();
  chat.suggest(EXAMPLES_BUNDLED);
  setInterval(follow, FIGURES_INTERVAL_MS);
  setInterval(() => {
    if (!document.hidden) void showTabs();
  }, TABS_INTERVAL_MS);

  setField('load-options', 'device', parameters.get('device') ?? 'auto');
  setField('load-options', 'contextLength', parameters.get('ctx') ?? '');
  const address = parameters.get('model');
  if (address !== '') load(address === null ? BUNDLED : addressed(address));
}

start();
