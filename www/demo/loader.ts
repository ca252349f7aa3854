// Loads a model: asks before a large one, shows its progress, hands over the engine as soon as it can be
// talked to, breaks the download off and takes it up again, and explains what went wrong.

import { createEngine, plan, type Engine, type ModelSource, type Progress } from '/pkg/index.js';
import { announce, button, byId, make } from './dom.js';
import { isAbort, isConnection } from './errors.js';
import { hideFigures, showFigures } from './figures.js';
import { bytes, decimal, latency } from './format.js';
import { arrivingStates, groupStates, LayerStrip } from './layer-strip.js';
import { MemorySlider } from './memory-slider.js';
import { notice, type Remedies } from './notice.js';
import { question } from './plan-card.js';
import { progressText, RateMeter } from './progress.js';
import { Traffic } from './traffic.js';
import { loadOptions, openModels, revealField, setField, type LoadOptions } from './settings.js';

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

/** What is said of the claims until there is something to show; the page's own HTML has the words. */
const ARRIVAL_WORDS = byId('arrival-proof').textContent ?? '';
const RESUME_WORDS = byId('resume-proof').textContent ?? '';

export class Loader {
  readonly #onEngine: (engine: Engine | undefined, choice: Choice) => void;
  readonly #strip = new LayerStrip(byId('layer-strip'), byId('layer-legend'));
  readonly #traffic = new Traffic();
  readonly #memory = new MemorySlider((ceiling) => void this.#reopen(ceiling));
  #engine: Engine | undefined;
  /** The model that is loaded, or was until its download was broken off. */
  #choice: Choice | undefined;
  #complete = false;
  #isBroken = false;
  /** Bytes on the disk of a model whose download was broken off. */
  #kept = 0;
  /** Tokens per second of the last answer. */
  #lastSpeed: number | undefined;
  #current: AbortController | undefined;
  /** How much of the model is here, and how many layers. */
  #progress: Progress = { phase: 'header', fraction: 0, loadedBytes: 0, totalBytes: 0 };
  /** When the last byte came, in the clock of performance.now(). */
  #lastByteAt: number | undefined;

  /** `onEngine` is called with an engine when it can be talked to, and with undefined when it goes. */
  constructor(onEngine: (engine: Engine | undefined, choice: Choice) => void) {
    this.#onEngine = onEngine;
    byId('break').addEventListener('click', () => {
      if (this.#isBroken && this.#choice) void this.load(this.#choice, true);
      else this.#current?.abort();
    });
    byId('reload').addEventListener('click', () => location.reload());
  }

  /** Whether layers move: the model is still loading. */
  get busy(): boolean {
    return this.#engine !== undefined && !this.#complete;
  }

  /** What to say while an answer has not begun. */
  get waitingText(): string {
    if (this.#complete) return 'Reading…';
    const { layer = 0, layers } = this.#progress;
    return layers ? `Reading as the layers arrive, ${layer} of ${layers} so far…` : 'Reading as the model arrives…';
  }

  /** Loads a model in place of the present one. Settles when it is complete, has failed or was broken off. */
  async load(choice: Choice, isAgreed = choice.bundled ?? false): Promise<void> {
    const options = loadOptions();
    if (!options) return;
    await this.#attempt(choice, async (current) => {
      if (!this.#complete && !this.#isBroken) await this.#clear(choice); // Half a model is of no use beside the next one.
      const kept = isAgreed ? this.#kept : await this.#agreed(choice, options, current);
      if (kept === undefined) return;
      await this.#unload(choice);
      this.#memory.hide();
      this.#say('resume-proof', kept > 0 ? `${bytes(kept)} of it were here already and do not come again.` : RESUME_WORDS);
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
        this.#showState();
      }
    }
  }

  /** Draws the engine's figures and the map of its layers; with rates while it loads or answers. */
  async refresh(isMoving = false): Promise<void> {
    const engine = this.#engine;
    if (!engine) return;
    const stats = await engine.stats();
    if (engine !== this.#engine) return;
    showFigures(stats);
    byId('resident').textContent = bytes(stats.memory.residentBytes);
    this.#traffic.show(stats.source, performance.now(), isMoving);
    this.#strip.show(groupStates(stats.groups));
    this.#lastSpeed = stats.last?.decodeTokensPerSecond;
    if (this.#lastSpeed === undefined || isMoving) return;
    byId('speed').textContent = decimal(this.#lastSpeed);
    this.#memory.measured(this.#lastSpeed);
  }

  /** Shows when the first token of an answer came; both times in the clock of performance.now(). */
  showFirstToken(askedAt: number, firstAt: number): void {
    byId('first-token').textContent = latency(firstAt - askedAt);
    const last = this.#lastByteAt;
    if (last !== undefined && askedAt > last) return;
    if (last === undefined) this.#say('arrival-proof', 'Asked while it was arriving: it answers already.');
    else this.#say('arrival-proof', `Asked while it was arriving. First token ${latency(Math.max(0, firstAt - last))} after the last byte.`);
  }

  async #start(choice: Choice, options: LoadOptions, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const meter = new RateMeter();
    this.#choice = choice;
    this.#isBroken = false;
    this.#kept = 0;
    this.#lastByteAt = undefined;
    document.body.dataset['model'] = 'loading';
    document.body.toggleAttribute('data-toy', choice.bundled ?? false);
    byId('model-name').textContent = choice.label;
    this.#say('arrival-proof', ARRIVAL_WORDS);
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
    document.body.dataset['model'] = engine.model.hasText ? 'open' : 'none';
    this.#showModel(engine, choice);
    this.#onEngine(engine, choice);
    this.refresh().catch(() => undefined); // What fails here fails below, where it is reported.
    await cancellable(engine.loaded, signal);
    this.#complete = true;
    this.#lastByteAt ??= performance.now();
    this.#showFacts(engine, choice);
    this.#showState();
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

  /**
   * Asks before anything large is fetched, or when the plan says that the model will not fit. How many bytes are here
   * already, where the answer is yes. Who has begun to fetch a model has said yes before.
   */
  async #agreed(choice: Choice, options: LoadOptions, current: AbortController): Promise<number | undefined> {
    const { signal } = current;
    const place = byId('load-notice');
    const looking = make('span', 'facts', `Looking at ${choice.label}…`);
    place.replaceChildren(make('p', 'row', looking, button('Cancel', () => current.abort(), 'quiet')));
    const outlook = await plan(choice.source, { ...options, signal });
    place.replaceChildren();
    const ask = question(outlook, choice.label, choice.local ?? false);
    if (signal.aborted) return undefined;
    if (!ask || (outlook.fits && outlook.storedBytes > 0)) return outlook.storedBytes;
    const isAgreed = await new Promise<boolean>((resolve) => {
      const settle = (answer: boolean) => {
        place.replaceChildren();
        resolve(answer);
      };
      const go = button(ask.go, () => settle(true), 'primary');
      ask.card.append(make('p', 'actions', go, button('Not now', () => settle(false))));
      place.replaceChildren(ask.card);
      signal.addEventListener('abort', () => settle(false), { once: true });
      go.focus();
    });
    return isAgreed ? outlook.storedBytes : undefined;
  }

  #showProgress(progress: Progress, meter: RateMeter): void {
    const { fraction, loadedBytes, totalBytes, layer, layers } = progress;
    this.#progress = progress;
    meter.add(performance.now(), loadedBytes);
    byId<HTMLProgressElement>('load-bar').value = fraction;
    if (totalBytes > 0 && loadedBytes >= totalBytes) this.#lastByteAt ??= performance.now();
    byId('load-text').textContent =
      progress.phase === 'compile' ? 'Preparing the engine' : progressText(loadedBytes, totalBytes, meter.rate());
    // Once there is an engine it tells more.
    if (layers && !this.#engine) this.#strip.show(arrivingStates(layer ?? 0, layers));
    this.#showState();
  }

  /** The line that a phone shows of the model, the bar, and what can be done about the download. */
  #showState(): void {
    const name = byId('model-name').textContent ?? '';
    const isLoading = this.#current !== undefined && document.body.dataset['model'] !== 'none' && !this.#complete;
    const percent = `${Math.floor(this.#progress.fraction * 100)} %`;
    byId('model-line').textContent = isLoading ? `${name}, ${percent}` : this.#isBroken ? `${name}, broken off at ${percent}` : name;
    if (this.#complete) {
      byId<HTMLProgressElement>('load-bar').value = 1;
      byId('load-text').textContent = '';
    }
    byId('open-models').textContent = document.body.dataset['model'] === 'none' ? 'Choose' : 'Change';
    const breaker = byId<HTMLButtonElement>('break');
    breaker.textContent = this.#isBroken ? 'Go on' : this.#choice?.local ? 'Stop reading' : 'Break the connection';
    breaker.classList.toggle('primary', this.#isBroken);
    breaker.disabled = !isLoading && !this.#isBroken;
    byId<HTMLButtonElement>('reload').disabled = this.#choice?.local ?? false;
  }

  #showModel(engine: Engine, choice: Choice): void {
    const { name, warnings, hasText } = engine.model;
    byId('model-name').textContent = name || choice.label;
    this.#showFacts(engine, choice);
    const notes = hasText ? warnings : ['This model reads token ids instead of text, so it cannot chat.', ...warnings];
    byId('load-notice').replaceChildren(...notes.map((note) => make('p', 'facts', `Note: ${note}`)));
    this.#showState();
  }

  /** What the model is; how large, as soon as that is known. */
  #showFacts({ model: { architecture, quantization, contextLength } }: Engine, { bundled }: Choice): void {
    const { totalBytes } = this.#progress;
    const size = totalBytes > 0 ? bytes(totalBytes) : '';
    const context = `${contextLength.toLocaleString('en')} tokens of context`;
    byId('model-facts').textContent = [bundled ? 'a toy' : architecture, quantization, size, context].filter(Boolean).join(', ');
  }

  /** Explains a failure. A model that was complete before is still there if the new one was only looked at. */
  async #failed(error: unknown, choice: Choice): Promise<void> {
    const isCancelled = isAbort(error);
    // Something has come of a model that can be taken up again.
    const isBrokenOff = (isCancelled || isConnection(error)) && !this.#complete && !choice.local
      && this.#choice === choice && this.#progress.loadedBytes > 0;
    if (isBrokenOff) await this.#breakOff(choice);
    else if (!this.#complete) await this.#clear(choice);
    byId('load-notice').replaceChildren(...(isCancelled ? [] : [notice(error, this.remedies(choice))]));
    if (isCancelled) announce(isBrokenOff ? 'The connection is broken' : 'Loading cancelled');
  }

  /** Ends the engine of a download that broke, and shows what is kept of it. */
  async #breakOff(choice: Choice): Promise<void> {
    await this.#unload(choice);
    this.#isBroken = true;
    document.body.dataset['model'] = 'broken';
    byId('load-text').textContent = '';
    const { layers = 0, totalBytes, fraction } = this.#progress;
    const kept = await plan(choice.source).then(({ storedBytes }) => storedBytes, () => undefined);
    if (!this.#isBroken) return;
    this.#kept = kept ?? 0;
    this.#strip.show(keptStates(kept === undefined ? fraction : kept / Math.max(1, totalBytes), layers));
    const amount = kept === undefined ? 'What had arrived is kept' : `${bytes(kept)} of ${bytes(totalBytes)} are kept`;
    this.#say('resume-proof', `Broken off at ${Math.floor(fraction * 100)} %. ${amount} on this device.`);
  }

  /** What can be done about a model that does not load or an engine that fails. */
  remedies(choice: Choice): Remedies {
    const again = () => void this.load(choice, this.#isBroken);
    return {
      retry: { label: 'Try again', run: again },
      reload: { label: 'Load the model again', run: again },
      cpu: { label: 'Use the CPU', run: () => (setField('load-options', 'device', 'cpu'), again()) },
      choose: { label: 'Choose another model', run: openModels },
      context: { label: 'Change the context', run: () => revealField('load-options', 'contextLength') },
      sampling: { label: 'Change the options', run: () => revealField('load-options', 'contextLength') },
      ceiling: { label: 'Change the ceiling', run: () => revealField('load-options', 'ceiling') },
    };
  }

  /** Unloads, and shows that no model is there. */
  async #clear(choice: Choice): Promise<void> {
    await this.#unload(choice);
    this.#memory.hide();
    this.#strip.show([]);
    this.#isBroken = false;
    byId('model-name').textContent = 'No model loaded';
    byId('load-text').textContent = '';
    this.#say('resume-proof', RESUME_WORDS);
    document.body.dataset['model'] = 'none';
  }

  async #unload(choice: Choice): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#complete = false;
    this.#lastSpeed = undefined;
    this.#traffic.reset();
    byId('model-facts').textContent = '';
    for (const figure of ['speed', 'first-token', 'resident']) byId(figure).textContent = '–';
    hideFigures();
    if (!engine) return;
    this.#onEngine(undefined, choice);
    await engine.dispose();
  }

  #say(id: string, words: string): void {
    byId(id).textContent = words;
  }
}

/** The map of a model of which only a share is on the disk. */
function keptStates(share: number, layers: number): ('stored' | 'absent')[] {
  return Array.from({ length: layers }, (_, index) => (index < Math.round(share * layers) ? 'stored' : 'absent'));
}

/** Rejects as soon as the signal is aborted, for work that the signal itself does not reach. */
function cancellable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}
