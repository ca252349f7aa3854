// What moves: bytes from the network and from the disk, and how fast.

import type { EngineStats } from '/pkg/index.js';
import { byId, make } from './dom.js';
import { bytes } from './format.js';
import { RateMeter } from './progress.js';

/** Less than this is not the model: its server was asked whether it is still the same. */
const SHOWN_FROM_BYTES = 1000;

export class Traffic {
  #network = new RateMeter();
  #disk = new RateMeter();

  /** Begins anew, for another engine. */
  reset(): void {
    this.#network = new RateMeter();
    this.#disk = new RateMeter();
    byId('traffic').replaceChildren();
  }

  /** Shows the totals, and the rates while something moves. */
  show({ fetchedBytes, storeBytes }: EngineStats['source'], now: number, isMoving: boolean): void {
    this.#network.add(now, fetchedBytes);
    this.#disk.add(now, storeBytes);
    const isShown = Math.max(fetchedBytes, storeBytes) >= SHOWN_FROM_BYTES;
    byId('traffic').replaceChildren(
      ...isShown ? row('From the network', fetchedBytes, isMoving ? this.#network.rate() : undefined) : [],
      ...isShown ? row('From the disk', storeBytes, isMoving ? this.#disk.rate() : undefined) : [],
    );
  }
}

function row(term: string, total: number, rate: number | undefined): HTMLElement[] {
  const moving = rate !== undefined && rate > 0 ? `, ${bytes(rate)}/s` : '';
  const amount = total < SHOWN_FROM_BYTES ? 'nothing' : bytes(total);
  return [make('dt', '', term), make('dd', '', `${amount}${moving}`)];
}
