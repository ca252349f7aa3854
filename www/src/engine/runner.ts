/** Runs one request at a time on the core, a bounded step between two turns of the event loop. */

import { Constrainer } from './constrainer.js';
import { parsed, type Engine } from './core.js';
import { ChordError, toChordError } from '../wire/errors.js';
import type { StepEvent, Tally, Usage } from '../wire/generated.js';
import type { Loader } from './loader.js';
import type { CallEvent } from '../wire/protocol.js';
import type { EngineStats, Timings } from '../wire/types.js';

/** Events that the page has not taken before the computation pauses. */
export const EVENTS_UNREAD_MAX = 64;

/** Where the reports of a call go. */
export interface RunnerEvents {
  accepted(call: number): void;
  event(call: number, event: CallEvent): void;
  failed(call: number, error: ChordError): void;
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
}

export class Runner {
  /** Figures of the last finished generation. */
  last: EngineStats['last'];
  #run: Run | undefined;
  #wake: (() => void) | undefined;
  /** What reads grammars, once a request has named one. */
  #constrainer: Constrainer | undefined;

  constructor(private readonly engine: Engine, private readonly loader: Loader, private readonly events: RunnerEvents) {}

  /** Runs a request to its end; every outcome is reported as an event. */
  async start(call: number, request: string): Promise<void> {
    if (this.#run) {
      this.events.failed(call, new ChordError('Internal', 'a request is running already'));
      return;
    }
    const run: Run = { call, startedMs: performance.now(), firstTokenMs: undefined, unread: 0, computeMs: 0, cancelled: false };
    this.#run = run;
    let begun = false;
    try {
      this.loader.resume();
      if (this.engine.asksForGrammar(request)) await this.#prepareGrammars();
      this.engine.begin(request);
      begun = true;
      this.events.accepted(call);
      await this.#steps(run);
    } catch (thrown) {
      const error = toChordError(thrown);
      if (begun && error.code !== 'EnginePanicked') this.#drop();
      this.events.failed(call, error.code === 'StoreFailed' ? this.loader.diskFailed(error) : error);
    } finally {
      this.#run = undefined;
    }
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

  async #steps(run: Run): Promise<void> {
    for (;;) {
      if (run.cancelled) throw new ChordError('Aborted', 'the call was cancelled');
      if (run.unread >= EVENTS_UNREAD_MAX) {
        await this.#parked();
        continue;
      }
      const event = this.#step(run);
      this.loader.pump();
      switch (event.type) {
        case 'wait':
          if (this.loader.failure) throw this.loader.failure;
          await this.#parked();
          break;
        case 'device':
          await this.#parked();
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
          if (event.type === 'finish' || event.text !== '' || event.reasoning || event.calls || (event.logprobs?.length ?? 0) > 0) {
            run.unread += 1;
            this.events.event(run.call, event);
          }
          await nextTurn();
          break;
        case 'done': {
          const { draft, ...done } = event;
          const timings = measure(run, event.usage, draft);
          if (event.usage.completion_tokens > 0) this.last = summary(event.usage, timings);
          this.events.event(run.call, { ...done, timings });
          return;
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

  /** Resolves at the next `wake`. */
  #parked(): Promise<void> {
    return new Promise((resolve) => { this.#wake = resolve; });
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

const turns: (() => void)[] = [];
const channel = new MessageChannel();
channel.port1.onmessage = () => turns.shift()?.();

/** Lets messages that have arrived be handled: one turn of the event loop, without a timer's delay. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    turns.push(resolve);
    channel.port2.postMessage(undefined);
  });
}
