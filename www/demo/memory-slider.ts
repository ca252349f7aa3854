// How much memory the model may take: a slider between the least that works and all of it, and beside it
// how fast answers came with each setting.

import type { Plan } from '/pkg/index.js';
import { byId, make } from './dom.js';
import { bytes, decimal } from './format.js';

/** Stops of the slider. */
const STEPS = 40;
/** How long the slider must rest before the model is opened again: arrow keys pass through many stops. */
const REST_MS = 500;
/** Settings whose speed is remembered. */
const SPEEDS_MAX = 4;
/** A model that could do with so little less is not worth a slider. */
const SHARE_MIN = 0.02;

type Bounds = Pick<Plan, 'leastBytes' | 'budgetBytes'> & { layers: number };

export class MemorySlider {
  readonly #input = byId<HTMLInputElement>('ceiling');
  readonly #onChange: (ceiling: number | undefined) => void;
  #bounds: Bounds | undefined;
  #speeds = new Map<number, number>();
  #resting: ReturnType<typeof setTimeout> | undefined;
  /** The ceiling in force; undefined: none. */
  #ceiling: number | undefined;

  /** `onChange` is called with the ceiling that was chosen, in bytes; undefined for none. */
  constructor(onChange: (ceiling: number | undefined) => void) {
    this.#onChange = onChange;
    this.#input.max = String(STEPS);
    this.#input.addEventListener('input', () => this.#describe());
    this.#input.addEventListener('change', () => {
      clearTimeout(this.#resting);
      this.#resting = setTimeout(() => this.#settle(), REST_MS);
    });
  }

  /** Shows the slider for a model whose `plan` was made without a ceiling, at the ceiling in force. */
  show(plan: Plan, ceiling: number | undefined): void {
    this.#bounds = { leastBytes: plan.leastBytes, budgetBytes: plan.budgetBytes, layers: plan.model.layers };
    this.#ceiling = ceiling;
    const span = plan.budgetBytes - plan.leastBytes;
    byId('memory').hidden = !(span > plan.budgetBytes * SHARE_MIN);
    const step = ceiling === undefined ? STEPS : Math.round(((ceiling - plan.leastBytes) / span) * STEPS);
    this.#input.value = String(Math.max(0, Math.min(STEPS, step)));
    this.#describe();
  }

  /** Takes the slider away and forgets the speeds: another model is loaded. */
  hide(): void {
    clearTimeout(this.#resting);
    byId('memory').hidden = true;
    this.#bounds = undefined;
    this.#speeds.clear();
    this.#showSpeeds();
  }

  /** Notes how fast an answer came with the ceiling in force. */
  measured(tokensPerSecond: number): void {
    if (!this.#bounds || !(tokensPerSecond > 0)) return;
    const key = this.#ceiling ?? this.#bounds.budgetBytes;
    if (this.#speeds.get(key) === tokensPerSecond) return;
    this.#speeds.delete(key);
    this.#speeds.set(key, tokensPerSecond);
    const [oldest] = this.#speeds.keys();
    if (this.#speeds.size > SPEEDS_MAX && oldest !== undefined) this.#speeds.delete(oldest);
    this.#showSpeeds();
  }

  /** The ceiling that the slider points at; undefined at its end. */
  get #chosen(): number | undefined {
    const step = Number(this.#input.value);
    if (!this.#bounds || step >= STEPS) return undefined;
    const { leastBytes, budgetBytes } = this.#bounds;
    return Math.ceil(leastBytes + ((budgetBytes - leastBytes) * step) / STEPS);
  }

  #settle(): void {
    const chosen = this.#chosen;
    if (!this.#bounds || chosen === this.#ceiling) return;
    this.#ceiling = chosen;
    this.#onChange(chosen);
  }

  #describe(): void {
    if (!this.#bounds) return;
    const chosen = this.#chosen;
    const text = chosen === undefined ? `${bytes(this.#bounds.budgetBytes)}, all of it` : bytes(chosen);
    byId('ceiling-value').textContent = text;
    this.#input.setAttribute('aria-valuetext', text);
  }

  #showSpeeds(): void {
    const rows = [...this.#speeds].sort(([a], [b]) => b - a);
    byId('speeds').hidden = rows.length === 0;
    byId('speeds').replaceChildren(
      ...rows.flatMap(([ceiling, speed]) => [make('dt', '', `With ${bytes(ceiling)}`), make('dd', '', `${decimal(speed)} tokens/s`)]),
    );
  }
}
