// The models that are kept on this device: what they take, whether they are sound, and how to be rid of them.

import { modelStore, type StoredModel } from '/pkg/index.js';
import { labelOf } from './address.js';
import { announce, button, byId, make } from './dom.js';
import { explain } from './errors.js';
import { bytes } from './format.js';

/** Lists what is stored, and asks `onUse` to load what a person chooses. */
export class StoredModels {
  readonly #onUse: (source: string) => void;

  constructor(onUse: (source: string) => void) {
    this.#onUse = onUse;
    byId('persist').addEventListener('click', () => void this.#persist());
  }

  /** Looks anew at what is stored. */
  async show(): Promise<void> {
    const list = byId('stored-models');
    try {
      const models = await modelStore.list();
      models.sort((a, b) => b.lastUsed - a.lastUsed);
      list.replaceChildren(...models.map((model) => this.#row(model)));
      if (models.length === 0) list.append(make('li', 'facts', 'Nothing yet.'));
    } catch (error) {
      list.replaceChildren(make('li', 'facts', explain(error).sentence));
    }
    await this.#showEstimate();
  }

  #row(model: StoredModel): HTMLElement {
    const name = labelOf(model.source);
    const message = make('p', 'message', '');
    message.hidden = true;
    const say = (text: string) => {
      message.hidden = false;
      message.textContent = text;
      announce(`${name}: ${text}`);
    };
    const act = async (running: HTMLButtonElement, work: () => Promise<void>) => {
      running.disabled = true;
      await work().catch((error: unknown) => say(explain(error).sentence));
      running.disabled = false;
    };
    const named = (label: string, onClick: (self: HTMLButtonElement) => void) => {
      const made = button(label, () => onClick(made));
      made.setAttribute('aria-label', `${label} ${name}`);
      return made;
    };
    const use = named(model.complete ? 'Load' : 'Go on', () => this.#onUse(model.source));
    const check = named('Check', (self) =>
      void act(self, async () => {
        say('Every byte is read and checked…');
        say((await modelStore.verify(model.source)) ? 'Every byte is sound.' : 'Some of it is missing or damaged. Loading it again mends that.');
      }),
    );
    const remove = named('Delete', (self) =>
      void act(self, async () => {
        await modelStore.delete(model.source);
        announce(`${name} is deleted`);
        await this.show();
        byId('models').focus();
      }),
    );
    const size = model.complete ? bytes(model.bytes) : `${bytes(model.storedBytes)} of ${bytes(model.bytes)}`;
    const facts = make('div', '', make('div', '', name), make('div', 'facts', `${size}, last used ${day(model.lastUsed)}`));
    return make('li', '', facts, make('div', 'actions', use, check, remove), message);
  }

  async #showEstimate(): Promise<void> {
    const { usageBytes, quotaBytes, persisted } = await modelStore.estimate();
    const room = quotaBytes > 0 ? `${bytes(usageBytes)} in use, ${bytes(quotaBytes)} granted by the browser.` : '';
    const fate = persisted ? 'It deletes none of it by itself.' : 'It may delete what is kept when space gets scarce.';
    byId('storage-estimate').textContent = `${room} ${fate}`.trim();
    byId('persist').hidden = persisted;
  }

  async #persist(): Promise<void> {
    const granted = await modelStore.persist();
    await this.#showEstimate();
    if (!granted) byId('storage-estimate').textContent = 'The browser did not agree. It asks again when this page is used more often.';
  }
}

/** "today", "yesterday", or the date. */
function day(time: number): string {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return 'today';
  if (time >= midnight - 86_400_000) return 'yesterday';
  return new Date(time).toLocaleDateString('en', { day: 'numeric', month: 'long', year: 'numeric' });
}
