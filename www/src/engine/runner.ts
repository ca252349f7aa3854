/** Runs requests on the core, several at a time where it has room for them, a bounded step between two turns of the event loop. */

import { Constrainer } from './constrainer.js';
import { parsed, type Engine } from './core.js';
import { ChordError, toChordError } from '../wire/errors.js';
import type { StepEvent, Tally, Usage } from '../wire/generated.js';
import type { Loader } from './loader.js';
import type { CallEvent, Task } from '../wire/protocol.js';
import { saved, takeUp } from './sequence.js';
import { Shelf } from './shelf.js';
import { nextTurn } from './turn.js';
import type { SessionStore } from '../store/sessions.js';
import type { EngineStats, StoredSession, Timings } from '../wire/types.js';

/** Events that the page has not taken before the computation pauses. */
export const EVENTS_UNREAD_MAX = 64;
/** Pause between two times that a running answer is saved, at least, … */
const SAVING_PAUSE_MS = 5_000;
/** … and as a multiple of the time that it took. */
const SAVING_REST = 20;
/** Losses of a device, or of a thread, while a session is restored, after which it is given up. */
const LOSSES_MAX = 2;

/** Where the reports of a call go. */
export interface RunnerEvents {
  accepted(call: number): void;
  event(call: number, event: CallEvent): void;
  failed(call: number, error: ChordError): void;
  /** What concerns the session of a call, which goes on without it. */
  warn(message: string): void;
  /** The device is gone: resolves when another is attached. */
  lost(): Promise<void>;
}

/** One call. */
interface Run {
  call: number;
  task: Task;
  startedMs: number;
  firstTokenMs: number | undefined;
  unread: number;
  cancelled: boolean;
  /** The page knows that it is not refused, or not yet. */
  isAccepted: boolean;
  /** What the core knows it by, while it runs. */
  number?: number;
  /** What it came to, where nobody wants to hear what it writes. */
  silent?: { error?: ChordError };
  /** Under which name it is saved, when next, and what was written so far. */
  session?: { name: string; dueMs: number; answer: string };
}

export class Runner {
  /** Figures of the last finished generation. */
  last: EngineStats['last'];
  /** Calls whose turn has not come, in their order. */
  readonly #waiting: Run[] = [];
  /** Requests by what the core knows them by. */
  readonly #running = new Map<number, Run>();
  /** What runs by itself. */
  #alone: Run | undefined;
  #isWorking = false;
  /** Of the computation since the last token. */
  #computeMs = 0;
  #wake: (() => void) | undefined;
  /** What reads grammars, once a request has named one. */
  #constrainer: Constrainer | undefined;

  /** Resolves at the next `wake`. */
  readonly parked = (): Promise<void> => new Promise((resolve) => { this.#wake = resolve; });

  readonly #shelf: Shelf;

  /** `sequencesMax`: sequences of which the state is kept, the one that the core holds included. */
  constructor(private readonly engine: Engine, private readonly loader: Loader, private readonly sessions: SessionStore, sequencesMax: number, private readonly events: RunnerEvents) {
    this.#shelf = new Shelf(engine, this.parked, sequencesMax);
  }

  /** What the first task waits for. */
  ready: Promise<void> = Promise.resolve();

  /** Takes a task; every outcome is reported as an event. */
  async start(call: number, task: Task): Promise<void> {
    const run: Run = { call, task, startedMs: performance.now(), firstTokenMs: undefined, unread: 0, cancelled: false, isAccepted: false };
    this.#waiting.push(run);
    this.wake();
    if (this.#isWorking) return;
    this.#isWorking = true;
    await this.ready;
    while (this.#waiting.length + this.#running.size > 0) {
      await this.#admit();
      if (this.#running.size > 0) await this.#turn().catch((thrown: unknown) => this.#failAll(thrown));
    }
    this.#isWorking = false;
  }

  /** Begins what can begin now. Whatever is not a request runs by itself, and to its end. */
  async #admit(): Promise<void> {
    for (const run of this.#waiting.filter(({ cancelled }) => cancelled)) {
      this.#waiting.splice(this.#waiting.indexOf(run), 1);
      this.events.failed(run.call, cancellation());
    }
    for (let [run] = this.#waiting; run; [run] = this.#waiting) {
      const isRequest = run.task.kind === 'request';
      if (this.#running.size > 0 && !(isRequest && this.engine.canBegin())) return;
      this.#waiting.shift();
      if (isRequest) {
        if (await this.#begin(run)) continue;
        this.#waiting.unshift(run);
        this.#accept(run);
        return;
      }
      this.#alone = run;
      try {
        this.events.event(run.call, await this.#perform(run, run.task));
      } catch (thrown) {
        this.events.failed(run.call, toChordError(thrown));
      }
      this.#alone = undefined;
    }
  }

  #perform(run: Run, task: Task): Promise<CallEvent> {
    switch (task.kind) {
      case 'save':
        return this.#save(task.name).then((session) => ({ type: 'session', session }));
      case 'restore':
        return this.#restore(task.name).then((session) => ({ type: 'session', session }));
      case 'export':
        return this.#export(run, task.input).then((prefix) => ({ type: 'prefix', prefix }));
      case 'request':
        throw new ChordError('Internal', 'a request runs beside others');
    }
  }

  /** Begins a request of the core; false where it has to wait for one that runs. */
  async #begin(run: Run, task = run.task): Promise<boolean> {
    if (task.kind !== 'request') throw new ChordError('Internal', 'only requests run beside others');
    if (task.session !== undefined) run.session = { name: task.session, dueMs: run.startedMs + SAVING_PAUSE_MS, answer: '' };
    try {
      this.loader.resume();
      if (this.engine.asksForGrammar(task.request)) await this.#prepareGrammars();
      const exchange = this.engine.prepare(task.request);
      if (exchange[0] === 1) return false;
      await this.#shelf.exchange(exchange);
      if (run.cancelled) {
        this.engine.cancel();
        throw cancellation();
      }
      run.number = this.engine.start();
      this.#running.set(run.number, run);
      this.#accept(run);
    } catch (thrown) {
      this.#fail(run, thrown);
    }
    return true;
  }

  #accept(run: Run): void {
    if (run.isAccepted || run.silent) return;
    run.isAccepted = true;
    this.events.accepted(run.call);
  }

  /** Ends a call with an error. */
  #fail(run: Run, thrown: unknown): void {
    const found = toChordError(thrown);
    const error = found.code === 'StoreFailed' ? this.loader.diskFailed(found) : found;
    if (run.number !== undefined) this.#running.delete(run.number);
    if (run.silent) run.silent.error = error;
    else this.events.failed(run.call, error);
  }

  /** Drops a request that runs, and ends its call. */
  async #drop(run: Run, error: ChordError): Promise<void> {
    try {
      this.engine.cancel(run.number);
      if (run.session && run.cancelled) await this.#keep(run.session.name, run.session.answer);
      this.#fail(run, error);
    } catch (thrown) {
      this.#fail(run, thrown);
    }
  }

  async #failAll(thrown: unknown): Promise<void> {
    const error = toChordError(thrown);
    for (const run of [...this.#running.values()]) {
      // A core that trapped has nothing to drop.
      if (error.code === 'EnginePanicked') this.#fail(run, error);
      else await this.#drop(run, error);
    }
  }

  /** Saves what was computed last. */
  #save(name: string, answer?: string): Promise<StoredSession> {
    return this.sessions.save(name, { ...saved(this.engine, this.parked), ...answer === undefined ? {} : { answer } });
  }

  /** The same of a request, which does not fail by it. */
  async #keep(name: string, answer: string | undefined): Promise<boolean> {
    try {
      await this.#save(name, answer);
      return true;
    } catch (thrown) {
      const error = toChordError(thrown);
      if (error.code === 'EnginePanicked') throw error;
      this.events.warn(`the session "${name}" was not saved: ${error.message}`);
      return false;
    }
  }

  /** Saves a running request from time to time. */
  async #keepMeanwhile(run: Run): Promise<void> {
    const { session } = run;
    const startMs = performance.now();
    if (!session || startMs < session.dueMs || !this.engine.savesMidway()) return;
    const isKept = await this.#keep(session.name, session.answer);
    const endMs = performance.now();
    session.dueMs = isKept ? endMs + Math.max(SAVING_PAUSE_MS, SAVING_REST * (endMs - startMs)) : Infinity;
  }

  async #restore(name: string): Promise<StoredSession> {
    for (let losses = 0; ; losses += 1) {
      const { session, pieces } = await this.sessions.open(name);
      try {
        await takeUp(this.engine, this.parked, pieces);
        return session;
      } catch (thrown) {
        const error = toChordError(thrown);
        if (error.code !== 'DeviceLost' || losses === LOSSES_MAX) throw error;
        await this.events.lost();
        this.loader.pump();
      }
    }
  }

  /** Computes the beginning of prompts, and gives it as bytes. */
  async #export(run: Run, input: string): Promise<Blob> {
    const prompt = Array.from(this.engine.prefixTokens(input));
    const request = JSON.stringify({ kind: 'completion', prompt, max_tokens: 0 });
    const silent: Run['silent'] = {};
    run.silent = silent;
    await this.#begin(run, { kind: 'request', request });
    this.events.accepted(run.call);
    while (this.#running.size > 0) await this.#turn().catch((thrown: unknown) => this.#failAll(thrown));
    if (silent.error) throw silent.error;
    const blobs: Blob[] = [];
    // The browser may move each of them out of memory.
    for await (const piece of saved(this.engine, this.parked).pieces) blobs.push(new Blob([piece]));
    return new Blob(blobs, { type: 'application/octet-stream' });
  }

  /** Sequences that are kept beside the one that the core holds, and the bytes of their states. */
  get kept(): EngineStats['kept'] {
    return this.#shelf.figures;
  }

  /** Bytes of memory of what reads grammars. */
  get grammarBytes(): number {
    return this.#constrainer?.wasmBytes ?? 0;
  }

  cancel(call: number): void {
    const run = this.#find(call);
    if (!run) return;
    run.cancelled = true;
    this.wake();
  }

  /** The page has taken `count` events. */
  taken(call: number, count: number): void {
    const run = this.#find(call);
    if (!run) return;
    run.unread -= count;
    if (run.number !== undefined && run.unread < EVENTS_UNREAD_MAX) this.engine.hold(run.number, false);
    this.wake();
  }

  #find(call: number): Run | undefined {
    return [...this.#running.values(), ...this.#waiting, ...this.#alone ? [this.#alone] : []].find((run) => run.call === call);
  }

  /** Something that a paused computation waits for may have happened. */
  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Sees that there is something that reads grammars. */
  async #prepareGrammars(): Promise<void> {
    if (this.#constrainer && !this.#constrainer.isBroken) return;
    try {
      this.#constrainer = await Constrainer.load(this.engine.vocabulary());
    } catch (thrown) {
      if (typeof thrown !== 'string') throw thrown;
      const { message } = JSON.parse(thrown) as { message: string };
      throw new ChordError('InvalidModel', message);
    }
    this.engine.setConstrainer(this.#constrainer);
  }

  /** One step of what runs. */
  async #turn(): Promise<void> {
    for (const run of [...this.#running.values()].filter(({ cancelled }) => cancelled)) await this.#drop(run, cancellation());
    if (this.#running.size === 0) return;
    let event: StepEvent;
    try {
      event = this.#step();
    } catch (thrown) {
      const run = thrown instanceof WebAssembly.RuntimeError ? undefined : this.#running.get(this.engine.stepped());
      if (!run) throw thrown;
      this.#fail(run, thrown);
      return;
    }
    this.loader.pump();
    switch (event.type) {
      case 'wait':
        if (this.loader.failure) throw this.loader.failure;
        await this.parked();
        break;
      case 'device':
        await this.parked();
        break;
      case 'lost':
        await this.events.lost();
        this.loader.pump();
        break;
      case 'work':
        await nextTurn();
        break;
      case 'token':
      case 'finish':
      case 'done': {
        const run = this.#running.get(this.engine.stepped());
        if (run) await this.#hear(run, event);
        await nextTurn();
        break;
      }
    }
  }

  /** Tells what has become of a request. */
  async #hear(run: Run, event: Extract<StepEvent, { type: 'token' | 'finish' | 'done' }>): Promise<void> {
    if (event.type === 'done') {
      const { draft, ...done } = event;
      const timings = measure(run, event.usage, draft);
      if (event.usage.completion_tokens > 0) this.last = summary(event.usage, timings);
      if (run.session) await this.#keep(run.session.name, undefined);
      if (run.number !== undefined) this.#running.delete(run.number);
      if (!run.silent) this.events.event(run.call, { ...done, timings });
      return;
    }
    // What the prompt took tells nothing of a token, nor do other requests.
    if (run.firstTokenMs !== undefined && this.#running.size === 1) this.loader.measured(this.#computeMs);
    this.#computeMs = 0;
    run.firstTokenMs ??= performance.now();
    if (!run.silent && (event.type === 'finish' || event.text !== '' || event.reasoning || event.calls || (event.logprobs?.length ?? 0) > 0)) {
      run.unread += 1;
      this.events.event(run.call, event);
      if (run.number !== undefined && run.unread >= EVENTS_UNREAD_MAX) this.engine.hold(run.number, true);
    }
    if (!run.session || event.choice > 0) return;
    run.session.answer += event.text;
    await this.#keepMeanwhile(run);
  }

  #step(): StepEvent {
    const startMs = performance.now();
    const event = parsed(this.engine.step());
    this.#computeMs += performance.now() - startMs;
    return event;
  }
}

function cancellation(): ChordError {
  return new ChordError('Aborted', 'the call was cancelled');
}

function measure(run: Run, usage: Usage, draft: Tally): Timings {
  const endMs = performance.now();
  const firstMs = run.firstTokenMs ?? endMs;
  const cached = usage.prompt_tokens_details.cached_tokens;
  const promptTokens = usage.prompt_tokens - cached;
  const promptMs = firstMs - run.startedMs;
  // The first token ends the prompt; the others are what decoding produced in the rest of the time.
  const predictedMs = endMs - firstMs;
  const decoded = Math.max(0, usage.completion_tokens - 1);
  return {
    cache_n: cached,
    prompt_n: promptTokens,
    prompt_ms: promptMs,
    prompt_per_token_ms: ratio(promptMs, promptTokens),
    prompt_per_second: ratio(promptTokens * 1000, promptMs),
    predicted_n: usage.completion_tokens,
    predicted_ms: predictedMs,
    predicted_per_token_ms: ratio(predictedMs, decoded),
    predicted_per_second: ratio(decoded * 1000, predictedMs),
    draft_n: draft.drafted,
    draft_n_accepted: draft.accepted,
  };
}

function summary(usage: Usage, timings: Timings): NonNullable<EngineStats['last']> {
  return {
    promptTokens: usage.prompt_tokens,
    completionTokens: usage.completion_tokens,
    timeToFirstTokenMs: timings.prompt_ms,
    prefillTokensPerSecond: timings.prompt_per_second,
    decodeTokensPerSecond: timings.predicted_per_second,
  };
}

function ratio(dividend: number, divisor: number): number {
  return divisor > 0 ? dividend / divisor : 0;
}
