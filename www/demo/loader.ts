// Loads a model: asks before a large one, shows its progress, hands over the engine as soon as it can be
// talked to, and explains what went wrong.

import { createEngine, plan, type Engine, type ModelSource, type Progress } from '/pkg/index.js';
import { announce, button, byId, make } from './dom.js';
import { isAbort } from './errors.js';
import { hideFigures, showFigures } from './figures.js';
import { arrivingStates, groupStates, LayerStrip } from './layer-strip.js';
import { MemorySlider } from './memory-slider.js';
import { notice, type Remedies } from './notice.js';
import { question } from './plan-card.js';
import { progressText, RateMeter } from './progress.js';
import { Traffic } from './traffic.js';
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
  readonly #traffic = new Traffic();
  readonly #memory = new MemorySlider((ceiling) => void this.#reopen(ceiling));
  #engine: Engine | undefined;
  /** The model that is loaded. */
  #choice: Choice | undefined;
  #complete = false;
  /** Tokens per second of the last answer. */
  #lastSpeed: number | undefined;
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
    await this.#attempt(choice, async (current) => {
      if (!this.#complete) await this.#clear(choice); // Half a model is of no use beside the next one.
      if (!choice.bundled && !(await this.#agreed(choice, options, current))) return;
      await this.#unload(choice);
      this.#memory.hide();
      await this.#start(choice, options, current.signal);
    });
  }

  /** Opens the present model again under another ceiling. The conversation goes on with it. */
  async #reopen(ceiling: number | undefined): Promise<void> {
    const options = loadOptions();
    const choice = this.#choice;
    if (!options || !choice) return;
    delete options.maxResidentBytes;
    if (ceiling !== undefined) options.maxResidentBytes = ceiling;
    await this.#attempt(choice, async (current) => {
      await this.#unload(choice);
      await this.#start(choice, options, current.signal);
    });
  }

  /** Runs one attempt to load, which ends the one before. */
  async #attempt(choice: Choice, work: (current: AbortController) => Promise<void>): Promise<void> {
    this.#current?.abort();
    const current = new AbortController();
    this.#current = current;
    byId('load-notice').replaceChildren();
    try {
      await work(current);
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

  /** Whether layers move: the model is still loading. */
  get busy(): boolean {
    return this.#engine !== undefined && !this.#complete;
  }

  /** Draws the engine's figures and the map of its layers; with rates while it loads or answers. */
  async refresh(isMoving = false): Promise<void> {
    const engine = this.#engine;
    if (!engine) return;
    const stats = await engine.stats();
    if (engine !== this.#engine) return;
    showFigures(stats);
    this.#traffic.show(stats.source, performance.now(), isMoving);
    this.#strip.show(groupStates(stats.groups));
    this.#lastSpeed = stats.last?.decodeTokensPerSecond;
    if (this.#lastSpeed !== undefined) this.#memory.measured(this.#lastSpeed);
  }

  async #start(choice: Choice, options: LoadOptions, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const meter = new RateMeter();
    document.body.dataset['model'] = 'loading';
    byId('model-name').textContent = choice.label;
    byId('load-cancel').hidden = false;
    byId('load-progress').hidden = false;
    announce(`Loading ${choice.label}`);
    this.#showProgress({ phase: 'header', fraction: 0, loadedBytes: 0, totalBytes: 0 }, meter);

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
    this.#choice = choice;
    document.body.dataset['model'] = engine.model.hasText ? 'open' : 'none';
    this.#showModel(engine, choice);
    this.#onEngine(engine, choice);
    this.refresh().catch(() => undefined); // What fails here fails below, where it is reported.
    await cancellable(engine.loaded, signal);
    this.#complete = true;
    announce(`${byId('model-name').textContent} is ready`);
    await this.refresh();
    await this.#offerCeilings(choice, options, signal);
  }

  /** Shows between which ceilings there is a choice. */
  async #offerCeilings(choice: Choice, { maxResidentBytes, ...others }: LoadOptions, signal: AbortSignal): Promise<void> {
    // The engine runs: what the plan cannot say is no failure of it.
    const whole = await plan(choice.source, { ...others, signal }).catch(() => undefined);
    if (!whole || signal.aborted || !this.#engine) return;
    this.#memory.show(whole, maxResidentBytes);
    if (this.#lastSpeed !== undefined) this.#memory.measured(this.#lastSpeed);
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
    if (layers) byId('layers').hidden = false;
    // Once there is an engine it tells more.
    if (layers && !this.#engine) this.#strip.show(arrivingStates(layer ?? 0, layers));
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
    this.#memory.hide();
    byId('layers').hidden = true;
    byId('model-name').textContent = 'No model loaded';
    byId('load-bundled').hidden = false;
    document.body.dataset['model'] = 'none';
  }

  async #unload(choice: Choice): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#complete = false;
    this.#lastSpeed = undefined;
    this.#traffic.reset();
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
