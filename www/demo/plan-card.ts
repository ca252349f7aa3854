// What loading a model would cost, asked before it costs it.

import type { Plan } from '/pkg/index.js';
import { make } from './dom.js';
import { bytes } from './format.js';

/** A model below this size is loaded without asking. */
const ASK_FROM_BYTES = 200e6;

/** A question with what speaks for and against, and the label of the button that says yes. */
export interface Question {
  card: HTMLElement;
  go: string;
}

/**
 * The question to ask before loading, or undefined when nothing speaks against just loading. `local` is a
 * file on the person's disk.
 */
export function question(plan: Plan, label: string, local: boolean): Question | undefined {
  if (plan.fits && plan.downloadBytes < ASK_FROM_BYTES) return undefined;
  const costs: [string, string][] = [
    [local ? 'To read' : 'To download', bytes(plan.downloadBytes)],
    ...(plan.storedBytes > 0 ? [['On the disk already', bytes(plan.storedBytes)] satisfies [string, string]] : []),
    ['Memory', bytes(plan.weightBytes + plan.kvBytes + plan.scratchBytes)],
    ['Context', `${plan.contextLength.toLocaleString('en')} tokens`],
    ['Runs on', plan.device === 'webgpu' ? 'WebGPU' : plan.deviceReason === undefined ? 'CPU' : `CPU: ${plan.deviceReason}`],
  ];
  const list = make('dl', '', ...costs.flatMap(([term, value]) => [make('dt', '', term), make('dd', '', value)]));
  const verdict = plan.fits ? 'It should fit on this device.' : 'It will probably not fit on this device.';
  const card = make('div', 'notice', make('p', '', make('strong', '', plan.model.name || label)), list, make('p', '', verdict));
  card.append(...plan.reasons.map((reason) => make('p', 'facts', reason)));
  card.setAttribute('role', 'group');
  card.setAttribute('aria-label', 'Before loading');
  return { card, go: !plan.fits ? 'Try anyway' : local ? 'Start' : 'Download and start' };
}
