// The map of the model's layers: one cell for each, its look telling where the layer is.

import type { GroupState } from '/pkg/index.js';
import { make } from './dom.js';
import { plural } from './format.js';

/** Where a layer's weights are. */
export type LayerState = 'absent' | 'fetching' | 'stored' | 'ring' | 'pinned' | 'computing';

/** The order in which the legend names the states, with the words for them. */
const WORDS: Record<LayerState, string> = {
  computing: 'computing',
  pinned: 'in memory',
  ring: 'passing through',
  stored: 'on disk',
  fetching: 'arriving',
  absent: 'to come',
};

/** Layers arrive in order: those before `arrived` are in memory, the next one is on its way. */
export function arrivingStates(arrived: number, total: number): LayerState[] {
  return Array.from({ length: total }, (_, index) =>
    index < arrived ? 'pinned' : index === arrived ? 'fetching' : 'absent',
  );
}

/** The states as the engine tells them: its groups are the embedding, every layer in order, the output head. */
export function groupStates(groups: GroupState[]): LayerState[] {
  return groups.slice(1, -1);
}

/** Draws states into a strip of cells and counts them in a legend. */
export class LayerStrip {
  readonly #strip: HTMLElement;
  readonly #legend: HTMLElement;
  #shown = '';

  constructor(strip: HTMLElement, legend: HTMLElement) {
    this.#strip = strip;
    this.#legend = legend;
  }

  /** Shows these states; cheap when nothing has changed, so it can be called on every frame. */
  show(states: LayerState[]): void {
    const key = states.join();
    if (key === this.#shown) return;
    this.#shown = key;
    while (this.#strip.childElementCount > states.length) this.#strip.lastElementChild?.remove();
    while (this.#strip.childElementCount < states.length) this.#strip.append(make('span', 'cell'));
    states.forEach((state, index) => {
      (this.#strip.children[index] as HTMLElement).dataset['state'] = state;
    });
    this.#legend.replaceChildren(...legendItems(states));
  }
}

function legendItems(states: LayerState[]): HTMLElement[] {
  const counts = new Map<LayerState, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  if (counts.size === 1 && counts.has('pinned')) {
    return [make('li', '', `${plural(states.length, 'layer')}, all in memory`)];
  }
  return (Object.keys(WORDS) as LayerState[])
    .filter((state) => counts.has(state))
    .map((state) => {
      const swatch = make('span', 'cell');
      swatch.dataset['state'] = state;
      return make('li', '', swatch, `${counts.get(state)} ${WORDS[state]}`);
    });
}
