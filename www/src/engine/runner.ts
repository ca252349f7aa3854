/** Runs one request at a time on the core, a bounded step between two turns of the event loop. */

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

/** One running request. */
interface Run {
  call: number;
  startedMs: number;
  firstTokenMs: number | undefined;
  unread: number;
  /** Of the computation since the last token. */
  computeMs: number;
  cancelled: boolean;
  /** Nobody wants to hear what it writes. */
  isSilent: boolean;
  /** Under which name it is saved, when next, and what was written so far. */
  session?: { name: string; dueMs: number; answer: string };
}

export class Runner {
  /** Figures of the last finished generation. */
  last: EngineStats['last'];
  #run: Run | undefined;
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

  /** Runs a task to its end; every outcome is reported as an event. */
  async start(call: number, task: Task): Promise<void> {
    if (this.#run) {
      this.events.failed(call, new ChordError('Internal', 'a request is running already'));
      return;
    }
    const run: Run = { call, startedMs: performance.now(), firstTokenMs: undefined, unread: 0, computeMs: 0, cancelled: false, isSilent: task.kind === 'export' };
    this.#run = run;
    try {
      await this.ready;
      this.#throwIfCancelled(run);
      const last = await this.#perform(run, task);
      this.events.event(call, last);
    } catch (thrown) {
      this.events.failed(call, toChordError(thrown));
    } finally {
      this.#run = undefined;
    }
  }

  #perform(run: Run, task: Task): Promise<CallEvent> {
    switch (task.kind) {
      case 'request':
        if (task.session !== undefined) run.session = { name: task.session, dueMs: run.startedMs + SAVING_PAUSE_MS, answer: '' };
        return this.#request(run, task.request);
      case 'save':
        return this.#save(task.name).then((session) => ({ type: 'session', session }));
      case 'restore':
        return this.#restore(task.name).then((session) => ({ type: 'session', session }));
      case 'export':
        return this.#export(run, task.input).then((prefix) => ({ type: 'prefix', prefix }));
    }
  }

  /** Runs a request of the core; its last event. */
  async #request(run: Run, request: string): Promise<CallEvent> {
    let begun = false;
    try {
      this.loader.resume();
      if (this.engine.asksForGrammar(request)) await this.#prepareGrammars();
      await this.#shelf.exchange(this.engine.prepare(request));
      if (run.cancelled) this.engine.cancel();
      this.#throwIfCancelled(run);
      this.engine.start();
      begun = true;
      this.events.accepted(run.call);
      const done = await this.#steps(run);
      if (run.session) await this.#keep(run.session.name, undefined);
      return done;
    } catch (thrown) {
      const error = toChordError(thrown);
      if (begun && error.code !== 'EnginePanicked') {
        this.#drop();
        if (run.session && run.cancelled) await this.#keep(run.session.name, run.session.answer);
      }
      throw error.code === 'StoreFailed' ? this.loader.diskFailed(error) : error;
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
    await this.#request(run, JSON.stringify({ kind: 'completion', prompt, max_tokens: 0 }));
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
    if (this.#run?.call !== call) return;
    this.#run.cancelled = true;
    this.wake();
  }

  /** The page has taken `count` events. */
  taken(call: number, count: number): void {
    if (this.#run?.call !== call) return;
    this.#run.unread -= count;
    this.wake();
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

  #throwIfCancelled({ cancelled }: Run): void {
    if (cancelled) throw new ChordError('Aborted', 'the call was cancelled');
  }

  async #steps(run: Run): Promise<CallEvent> {
    for (;;) {
      this.#throwIfCancelled(run);
      if (run.unread >= EVENTS_UNREAD_MAX) {
        await this.parked();
        continue;
      }
      const event = this.#step(run);
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
          // What the prompt took tells nothing of a token.
          if (run.firstTokenMs !== undefined) this.loader.measured(run.computeMs);
          run.computeMs = 0;
          run.firstTokenMs ??= performance.now();
          if (!run.isSilent && (event.type === 'finish' || event.text !== '' || event.reasoning || event.calls || (event.logprobs?.length ?? 0) > 0)) {
            run.unread += 1;
            this.events.event(run.call, event);
          }
          if (run.session && event.choice === 0) run.session.answer += event.text;
          await this.#keepMeanwhile(run);
          await nextTurn();
          break;
        case 'done': {
          const { draft, ...done } = event;
          const timings = measure(run, event.usage, draft);
          if (event.usage.completion_tokens > 0) this.last = summary(event.usage, timings);
          return { ...done, timings };
        }
      }
    }
  }

  #step(run: Run): StepEvent {
    const startMs = performance.now();
    const event = parsed(this.engine.step());
    run.computeMs += performance.now() - startMs;
    return event;
  }

  #drop(): void {
    try {
      this.engine.cancel();
    } catch (thrown) {
      this.events.failed(this.#run?.call ?? 0, toChordError(thrown));
    }
  }
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
