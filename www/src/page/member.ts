/**
 * The page's side of one worker: starts it, joins it with whoever wanted it by a channel, starts the workers that it
 * wants in turn, and notices when it ends. A member that ends takes with it those that it wanted.
 *
 *     page            worker
 *      │  ◀── hello ──  │     its script runs
 *      │  ─── join ──▶  │     the channel to its partner, and the name of its life
 *      │  ◀── lives ──  │     from here on the page hears at once when it ends (wire/life.ts)
 *      │  ◀── want ───  │     it wants a worker, and holds one end of a channel to it
 *      │  ─── gone ──▶  │     that one has ended
 */

import { ChordError } from '../wire/errors.js';
import { newLife, watch } from '../wire/life.js';
import type { FromMember, ScriptName, ToMember } from '../wire/protocol.js';
import { Handshake } from './handshake.js';
import { Script, type Trouble } from './scripts.js';

/** For people. */
const TITLES: Record<ScriptName, string> = { 'engine-worker': 'engine worker', 'io-worker': 'IO worker', 'store-worker': 'store worker' };

/** What the owner of a member hears. */
export interface MemberEvents {
  /** Its script runs. */
  greeted?(): void;
  /** That it has ended will be noticed at once. */
  lives?(): void;
  /** It has ended, or could not be started. */
  gone(error: ChordError): void;
}

export class Member {
  readonly #script: Script;
  /** More than one only before any has said hello. */
  #workers = new Set<Worker>();
  #isGreeted = false;
  #isEnded = false;
  #hasScript = false;
  #scriptsBefore = 0;
  readonly #handshake: Handshake;
  readonly #ending = new AbortController();
  /** The workers that it wanted, by its own numbers. */
  readonly #wanted = new Map<number, Member>();

  /** `port` is its end of the channel to its partner, who may have sent something already. */
  constructor(private readonly name: ScriptName, private readonly port: MessagePort, private readonly events: MemberEvents) {
    this.#script = new Script(name);
    this.#scriptsBefore = this.#scripts();
    this.#start();
    if (this.#script.isElsewhere) void this.#fetchScript();
    this.#handshake = new Handshake({
      hasScript: () => this.#hasScript || this.#scripts() > this.#scriptsBefore,
      isSilent: () => this.#startAnother(),
      isLate: () => this.#die('did not start in time'),
    });
  }

  /** Ends it, and the workers that it wanted. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#handshake.done();
    this.#ending.abort();
    this.port.close();
    for (const worker of this.#workers) terminate(worker);
    for (const member of this.#wanted.values()) member.end();
  }

  #start(): void {
    let worker: Worker;
    try {
      worker = this.#script.start();
    } catch (cause) {
      throw new ChordError('WorkerFailed', `the ${TITLES[this.name]} could not be started`, { cause });
    }
    this.#workers.add(worker);
    worker.onmessage = ({ data }: MessageEvent<FromMember>) => this.#receive(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      if (event.message) this.#die(`failed: ${event.message}`);
      else void this.#dieUnloaded();
    };
    worker.onmessageerror = () => this.#die('failed: a message was lost');
  }

  /** The first that says hello is taken. */
  #startAnother(): void {
    try {
      this.#start();
    } catch {
      // There is still the silent one.
    }
  }

  /** How often the script has come, as far as the browser notes it. */
  #scripts(): number {
    const { address } = this.#script;
    return address ? performance.getEntriesByName(address.href, 'resource').length : 0;
  }

  /** Fetches a script of another origin beside the worker that imports it: only so is known when it has come, or why not. */
  async #fetchScript(): Promise<void> {
    const { address = '' } = this.#script;
    try {
      const response = await fetch(address, { signal: this.#ending.signal });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      await response.arrayBuffer();
      this.#hasScript = true;
    } catch (cause) {
      this.#die(`failed: ${String(address)} could not be loaded from this page, which takes an answer that allows it (CORS): ${String(cause)}`);
    }
  }

  #receive(worker: Worker, message: FromMember): void {
    switch (message.type) {
      case 'hello':
        this.#greet(worker);
        break;
      case 'lives':
        void watch(message.life, this.#ending.signal, () => this.#die('failed: it has ended')).then((isSeen) => {
          if (isSeen) this.events.lives?.();
        });
        break;
      case 'want':
        this.#want(worker, message);
        break;
      case 'unwanted':
        this.#wanted.get(message.id)?.end();
        this.#wanted.delete(message.id);
        break;
    }
  }

  #greet(worker: Worker): void {
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    this.#handshake.done();
    for (const other of this.#workers) if (other !== worker) terminate(other);
    this.#workers = new Set([worker]);
    post(worker, { type: 'join', port: this.port, life: newLife() }, [this.port]);
    this.events.greeted?.();
  }

  #want(worker: Worker, { id, script, port }: Extract<FromMember, { type: 'want' }>): void {
    const gone = (error: ChordError): void => {
      this.#wanted.delete(id);
      post(worker, { type: 'gone', id, why: error.message });
    };
    try {
      this.#wanted.set(id, new Member(script, port, {
        greeted: () => post(worker, { type: 'started', id }),
        gone,
      }));
    } catch (thrown) {
      gone(thrown as ChordError);
    }
  }

  /** A worker failed without a word: its script, or a module that this imports, could not be loaded. */
  async #dieUnloaded(): Promise<void> {
    const { why, facts } = await this.#script.whyNot(this.#ending.signal);
    this.#die(`failed: ${why}`, facts);
  }

  #die(why: string, facts: Trouble['facts'] = {}): void {
    if (this.#isEnded) return;
    this.end();
    this.events.gone(new ChordError('WorkerFailed', `the ${TITLES[this.name]} ${why}`, facts));
  }
}

function post(worker: Worker, message: ToMember, transfer: Transferable[] = []): void {
  worker.postMessage(message, transfer);
}

function terminate(worker: Worker): void {
  worker.onmessage = null;
  worker.onerror = null;
  worker.onmessageerror = null;
  worker.terminate();
}
