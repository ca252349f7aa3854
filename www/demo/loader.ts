// Loads a model: asks before a large one, shows its progress, hands over the engine as soon as it can be
// talked to, and explains what went wrong.

import { createEngine, plan, type Engine, type ModelSource, type Progress } from '/pkg/index.js';
import { announce, button, byId, make } from './dom.js';
import { isAbort } from './errors.js';
import { hideFigures, showFigures } from './figures.js';
import { arrivingStates, groupStates, LayerStrip } from './layer-strip.js';
import { notice, type Remedies } from './notice.js';
import { question } from './plan-card.js';
import { progressText, RateMeter } from './progress.js';
import { loadOptions, revealField, setField, type LoadOptions } from './settings.js';

/** A model that someone chose. */
export interface Choice {
  source: ModelSource;
  /** What to call it until its own name is known. */
  label: string;
  /** The model that comes with the page: small, known to work, loaded without asking. */
  bundled?: boolean;
  /** A file on the person's disk: nothing is downloaded. */
  local?: boolean;
}

export class Loader {
  readonly #onEngine: (engine: Engine | undefined, choice: Choice) => void;
  readonly #strip = new LayerStrip(byId('layer-strip'), byId('layer-legend'));
  #engine: Engine | undefined;
  #complete = false;
  #current: AbortController | undefined;

  /** `onEngine` is called with an engine when it can be talked to, and with undefined when it goes. */
  constructor(onEngine: (engine: Engine | undefined, choice: Choice) => void) {
    this.#onEngine = onEngine;
    byId('load-cancel').addEventListener('click', () => this.#current?.abort());
  }

  /** Whether every byte of the model is local. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Loads a model in place of the present one. Settles when it is complete, has failed or was cancelled. */
  async load(choice: Choice): Promise<void> {
    const options = loadOptions();
    if (!options) return;
    this.#current?.abort();
    const current = new AbortController();
    this.#current = current;
    byId('load-notice').replaceChildren();
    try {
      if (!this.#complete) await this.#clear(choice); // Half a model is of no use beside the next one.
      if (!choice.bundled && !(await this.#agreed(choice, options, current))) return;
      await this.#unload(choice);
      await this.#start(choice, options, current.signal);
    } catch (error) {
      if (this.#current === current) await this.#failed(error, choice);
    } finally {
      if (this.#current === current) {
        this.#current = undefined;
        byId('load-cancel').hidden = true;
        byId('load-progress').hidden = true;
      }
    }
  }

  /** Draws the engine's figures and the map of its layers. */
  async refresh(): Promise<void> {
    const engine = this.#engine;
    if (!engine) return;
    const stats = await engine.stats();
    if (engine !== this.#engine) return;
    showFigures(stats);
    this.#strip.show(groupStates(stats.groups));
  }

  async #start(choice: Choice, options: LoadOptions, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const meter = new RateMeter();
    document.body.dataset['model'] = 'loading';
    byId('model-name').textContent = choice.label;
    byId('load-cancel').hidden = false;
    byId('load-progress').hidden = false;
    announce(`Loading ${choice.label}`);
    this.#showProgress({ phase: 'header', loadedBytes: 0, totalBytes: 0 }, meter);

    const engine = await createEngine({
      model: choice.source,
      ...options,
      signal,
      onProgress: (progress) => {
        if (!signal.aborted) this.#showProgress(progress, meter);
      },
    });
    if (signal.aborted) await engine.dispose();
    signal.throwIfAborted();
    this.#engine = engine;
    document.body.dataset['model'] = engine.model.hasText ? 'open' : 'none';
    this.#showModel(engine, choice);
    this.#onEngine(engine, choice);
    this.refresh().catch(() => undefined); // What fails here fails below, where it is reported.
    await cancellable(engine.loaded, signal);
    this.#complete = true;
    announce(`${byId('model-name').textContent} is ready`);
    await this.refresh();
  }

  /** Asks before anything large is fetched, or when the plan says that the model will not fit. */
  async #agreed(choice: Choice, options: LoadOptions, current: AbortController): Promise<boolean> {
    const { signal } = current;
    const place = byId('load-notice');
    const looking = make('span', 'facts', `Looking at ${choice.label}…`);
    place.replaceChildren(make('p', 'row', looking, button('Cancel', () => current.abort(), 'quiet')));
    const outlook = await plan(choice.source, { ...options, signal });
    place.replaceChildren();
    const ask = question(outlook, choice.label, choice.local ?? false);
    if (!ask || signal.aborted) return !signal.aborted;
    return new Promise((resolve) => {
      const settle = (answer: boolean) => {
        place.replaceChildren();
        resolve(answer);
      };
      const go = button(ask.go, () => settle(true), 'primary');
      ask.card.append(make('p', 'actions', go, button('Not now', () => settle(false), 'quiet')));
      place.replaceChildren(ask.card);
      signal.addEventListener('abort', () => settle(false), { once: true });
      go.focus();
    });
  }

  #showProgress(progress: Progress, meter: RateMeter): void {
    const { loadedBytes, totalBytes, layer, layers } = progress;
    meter.add(performance.now(), loadedBytes);
    const bar = byId<HTMLProgressElement>('load-bar');
    if (totalBytes > 0) {
      bar.max = totalBytes;
      bar.value = loadedBytes;
    } else {
      bar.removeAttribute('value');
    }
    byId('load-text').textContent =
      progress.phase === 'compile' ? 'Preparing the engine' : progressText(loadedBytes, totalBytes, meter.rate());
    if (layers) {
      byId('layers').hidden = false;
      this.#strip.show(arrivingStates(layer ?? 0, layers));
    }
  }

  #showModel(engine: Engine, choice: Choice): void {
    const { name, architecture, quantization, contextLength, warnings, hasText } = engine.model;
    byId('model-name').textContent = name || choice.label;
    byId('model-facts').textContent = [architecture, quantization, `${contextLength.toLocaleString('en')} tokens of context`]
      .filter(Boolean)
      .join(', ');
    const notes = hasText ? warnings : ['This model reads token ids instead of text, so it cannot chat.', ...warnings];
    byId('load-notice').replaceChildren(...notes.map((note) => make('p', 'facts', `Note: ${note}`)));
    byId('model-facts').hidden = false;
    if (!choice.bundled) byId<HTMLDetailsElement>('chooser').open = false;
    byId('load-bundled').hidden = choice.bundled ?? false;
    byId('chooser').querySelector('summary')?.replaceChildren('Choose another model');
  }

  /** Explains a failure. A model that was complete before is still there if the new one was only looked at. */
  async #failed(error: unknown, choice: Choice): Promise<void> {
    if (!this.#complete) await this.#clear(choice);
    const cancelled = isAbort(error);
    byId('load-notice').replaceChildren(...(cancelled ? [] : [notice(error, this.remedies(choice))]));
    if (cancelled) announce('Loading cancelled');
  }

  /** What can be done about a model that does not load or an engine that fails. */
  remedies(choice: Choice): Remedies {
    const again = () => void this.load(choice);
    return {
      retry: { label: 'Try again', run: again },
      reload: { label: 'Load the model again', run: again },
      cpu: { label: 'Use the CPU', run: () => (setField('load-options', 'device', 'cpu'), again()) },
      choose: { label: 'Choose another model', run: chooseAnother },
      context: { label: 'Change the context', run: () => revealField('load-options', 'contextLength') },
      sampling: { label: 'Change the options', run: () => revealField('load-options', 'contextLength') },
      ceiling: { label: 'Change the ceiling', run: () => revealField('load-options', 'ceiling') },
    };
  }

  /** Unloads, and shows that no model is there. */
  async #clear(choice: Choice): Promise<void> {
    await this.#unload(choice);
    byId('layers').hidden = true;
    byId('model-name').textContent = 'No model loaded';
    byId('load-bundled').hidden = false;
    document.body.dataset['model'] = 'none';
  }

  async #unload(choice: Choice): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#complete = false;
    byId('model-facts').hidden = true;
    hideFigures();
    if (!engine) return;
    this.#onEngine(undefined, choice);
    await engine.dispose();
  }
}

/** Opens the chooser and puts the caret into its first field. */
export function chooseAnother(): void {
  byId<HTMLDetailsElement>('chooser').open = true;
  byId('source').focus();
}

/** Rejects as soon as the signal is aborted, for work that the signal itself does not reach. */
function cancellable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}
