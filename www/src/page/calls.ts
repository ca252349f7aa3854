/** Generations in order: as many run in the engine worker as it has room for, the others wait their turn on the page. */

import { ChordError, aborted } from '../wire/errors.js';
import type { CallEvent, Task, ToEngine } from '../wire/protocol.js';

/** Calls that may wait. */
export const QUEUE_LENGTH_MAX = 1_024;
/** Events after which the engine worker hears that they were taken. */
const TAKEN_BATCH = 16;
/** A stream with this many unread events is not being read: its worker has paused. */
const UNREAD_EVENTS = 64 - TAKEN_BATCH;
/** How long such a stream may hold up other calls. */
const ABANDONED_MS = 5_000;

/** Whether a call ends with this event. */
function isLast({ type }: CallEvent): boolean {
  return type !== 'token' && type !== 'finish';
}

/** One generation, or another task: a bounded channel of events from the engine worker. */
export class Call {
  /** Settles when the core has taken or refused the request, or when it has to wait its turn. */
  readonly begun: Promise<void>;
  #begin!: { resolve: () => void; reject: (error: ChordError) => void };
  #events: CallEvent[] = [];
  #waiting: { resolve: (event: CallEvent | undefined) => void; reject: (error: ChordError) => void }[] = [];
  #error: ChordError | undefined;
  #isEnded = false;
  #taken = 0;
  #lastTakenMs = performance.now();
  #unlisten: () => void = () => undefined;

  constructor(readonly id: number, readonly task: Task, private readonly queue: CallQueue, signal: AbortSignal | undefined) {
    this.begun = new Promise((resolve, reject) => { this.#begin = { resolve, reject }; });
    this.begun.catch(() => undefined);
    if (!signal) return;
    const stop = (): void => this.cancel(aborted(signal));
    signal.addEventListener('abort', stop, { once: true });
    this.#unlisten = () => signal.removeEventListener('abort', stop);
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** The next event; undefined after the last one. Rejects once with the call's error. */
  next(): Promise<CallEvent | undefined> {
    this.#lastTakenMs = performance.now();
    const event = this.#events.shift();
    if (event) {
      this.#take();
      return Promise.resolve(event);
    }
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#isEnded) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => { this.#waiting.push({ resolve, reject }); });
  }

  /** Ends the call with `error`, unless it has ended; the worker stops computing it. */
  cancel(error: ChordError = aborted()): void {
    if (this.#isEnded) return;
    this.#events = [];
    this.fail(error);
    this.queue.cancelled(this);
  }

  /** Whether nobody seems to read this stream any more. */
  isAbandoned(nowMs: number): boolean {
    return !this.#isEnded && this.#events.length >= UNREAD_EVENTS && nowMs - this.#lastTakenMs >= ABANDONED_MS;
  }

  began(): void {
    this.#begin.resolve();
  }

  push(event: CallEvent): void {
    if (this.#isEnded) return;
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting.resolve(event);
      this.#take();
    } else {
      this.#events.push(event);
    }
    if (isLast(event)) this.#end();
  }

  fail(error: ChordError): void {
    if (this.#isEnded) return;
    const first = this.#waiting.shift();
    if (first) first.reject(error);
    else this.#error = error;
    this.#begin.reject(error);
    this.#end();
  }

  #end(): void {
    this.#isEnded = true;
    this.#unlisten();
    for (const { resolve } of this.#waiting.splice(0)) resolve(undefined);
  }

  #take(): void {
    this.#taken += 1;
    if (this.#taken < TAKEN_BATCH) return;
    this.queue.taken(this, this.#taken);
    this.#taken = 0;
  }
}

export class CallQueue {
  #waiting: Call[] = [];
  readonly #running = new Map<number, Call>();
  /** Requests that the engine worker runs at a time. */
  #requestsMax = 1;
  #nextCall = 0;
  #patrol: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly send: (message: ToEngine) => void) {}

  /** Whether a call runs. */
  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** So many requests may run at a time. */
  allow(requestsMax: number): void {
    this.#requestsMax = requestsMax;
  }

  /** Takes a place in the queue. Throws `QueueFull`, or `Aborted` if the signal already is. */
  submit(task: Task, signal: AbortSignal | undefined): Call {
    if (signal?.aborted) throw aborted(signal);
    if (this.#waiting.length >= QUEUE_LENGTH_MAX) {
      throw new ChordError('QueueFull', `${QUEUE_LENGTH_MAX} calls are waiting already`);
    }
    const call = new Call(this.#nextCall, task, this, signal);
    this.#nextCall += 1;
    this.#waiting.push(call);
    this.#advance();
    if (!this.#running.has(call.id)) {
      call.began();
      this.#patrol ??= setInterval(() => this.#dropAbandoned(), ABANDONED_MS / 10);
    }
    return call;
  }

  accepted(id: number): void {
    this.#running.get(id)?.began();
  }

  event(id: number, event: CallEvent): void {
    this.#running.get(id)?.push(event);
    if (isLast(event)) this.#finished(id);
  }

  failed(id: number, error: ChordError): void {
    this.#running.get(id)?.fail(error);
    this.#finished(id);
  }

  /** Ends every call with `error`. */
  failAll(error: ChordError): void {
    const calls = [...this.#running.values(), ...this.#waiting];
    this.#running.clear();
    this.#waiting = [];
    this.#rest();
    for (const call of calls) call.fail(error);
  }

  /** A call gave up. One that runs keeps its place until the worker has stopped it. */
  cancelled(call: Call): void {
    if (this.#running.has(call.id)) this.send({ type: 'cancel', call: call.id });
    else this.#waiting = this.#waiting.filter((other) => other !== call);
  }

  taken(call: Call, count: number): void {
    if (this.#running.has(call.id)) this.send({ type: 'taken', call: call.id, count });
  }

  #finished(id: number): void {
    this.#running.delete(id);
    this.#advance();
  }

  /** Starts what may run beside what runs already. */
  #advance(): void {
    const isRequest = ({ task }: Call): boolean => task.kind === 'request';
    for (let [call] = this.#waiting; call; [call] = this.#waiting) {
      const runs = [...this.#running.values()];
      const joins = isRequest(call) && runs.every(isRequest) && runs.length < this.#requestsMax;
      if (runs.length > 0 && !joins) break;
      this.#waiting.shift();
      this.#running.set(call.id, call);
      this.send({ type: 'start', call: call.id, task: call.task });
    }
    if (this.#waiting.length === 0) this.#rest();
  }

  #rest(): void {
    clearInterval(this.#patrol);
    this.#patrol = undefined;
  }

  #dropAbandoned(): void {
    for (const call of this.#running.values()) {
      if (!call.isAbandoned(performance.now())) continue;
      call.cancel(new ChordError('Aborted', 'nobody read this stream while other calls were waiting'));
    }
  }
}
