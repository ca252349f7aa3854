// A failure, shown where it happened: what it means, what can be done, and the details for those who ask.

import { button, make } from './dom.js';
import { explain, type Remedy } from './errors.js';

/** What the place where a failure happened can offer; a remedy without a handler is not shown. */
export type Remedies = Partial<Record<Remedy, { label: string; run: () => void }>>;

/** An alert for an error, with buttons for those of its remedies that are possible here. */
export function notice(error: unknown, remedies: Remedies): HTMLElement {
  const { sentence, remedies: wanted, technical } = explain(error);
  const offered = wanted.flatMap((name) => remedies[name] ?? []);
  const box = make('div', 'notice', make('p', '', sentence));
  box.setAttribute('role', 'alert');
  if (offered.length) box.append(make('p', 'actions', ...offered.map(({ label, run }) => button(label, run))));
  box.append(make('details', '', make('summary', '', 'Details'), make('pre', 'technical', technical)));
  return box;
}
