/**
 * A worker's own side of what page/member.ts does: how it is joined with its partner, and with the workers that it
 * wants.
 */

import { live } from './life.js';
import type { FromMember, Ping, Pong, ScriptName, ToMember } from './protocol.js';

/** The global scope of the worker that this runs in. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ToMember>) => void) | null;
  postMessage(message: FromMember, transfer?: Transferable[]): void;
};
let partner: MessagePort | undefined;
const colleagues = new Map<number, ColleagueEvents<never>>();
let nextColleague = 0;

/** Says hello, and hands what the partner sends to `receive`. Called once, when the worker is ready for it. */
export function join<In>(receive: (message: In) => void): void {
  scope.onmessage = ({ data }) => {
    switch (data.type) {
      case 'join': {
        const { port, life } = data;
        partner = port;
        port.onmessage = (event: MessageEvent<In | Ping>) => {
          if (isPing(event.data)) port.postMessage({ type: 'pong' } satisfies Pong);
          else receive(event.data);
        };
        void live(life).then((isHeld) => {
          if (isHeld) scope.postMessage({ type: 'lives', life });
        });
        break;
      }
      case 'started':
        colleagues.get(data.id)?.started?.();
        break;
      case 'gone':
        colleagues.get(data.id)?.gone(data.why);
        break;
    }
  };
  scope.postMessage({ type: 'hello' });
}

function isPing(message: unknown): message is Ping {
  return (message as Partial<Ping>).type === 'ping';
}

/** Sends to the partner, who spoke first. */
export function tell<Out>(message: Out, transfer: Transferable[] = []): void {
  partner?.postMessage(message, transfer);
}

/** What is heard of a worker that another one wanted. */
export interface ColleagueEvents<In> {
  message(message: In): void;
  /** Its script runs. */
  started?(): void;
  /** It has ended, or could not be started, or a message of it was lost: nothing else is heard. */
  gone(why: string): void;
}

/** A worker that this one wanted. What is sent before it has started waits for it. */
export class Colleague<Out, In> {
  readonly #id: number;
  readonly #port: MessagePort;

  constructor(script: ScriptName, events: ColleagueEvents<In>) {
    this.#id = nextColleague;
    nextColleague += 1;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: MessageEvent<In>) => events.message(data);
    port1.onmessageerror = () => events.gone(`the ${script} failed: a message was lost`);
    colleagues.set(this.#id, events);
    scope.postMessage({ type: 'want', id: this.#id, script, port: port2 }, [port2]);
  }

  send(message: Out, transfer: Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  /** Ends it; nothing else is heard of it. */
  end(): void {
    if (!colleagues.delete(this.#id)) return;
    this.#port.onmessage = null;
    this.#port.close();
    scope.postMessage({ type: 'unwanted', id: this.#id });
  }
}
