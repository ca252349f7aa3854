/** The sequence that the core computed last, on its way out of it and into it, piece by piece. */

import { isOfNetwork, originOf } from '../wire/address.js';
import { ChordError } from '../wire/errors.js';
import type { OpenRequest, PartInput } from '../wire/protocol.js';
import type { Engine } from './core.js';
import { IoClient } from './io-client.js';
import { nextTurn } from './turn.js';

/** Resolves when what the core waited for may be there. */
export type Parked = () => Promise<void>;

/** How many tokens the sequence has, and its bytes. */
export function saved(engine: Engine, parked: Parked): { tokens: number; pieces: AsyncGenerator<Uint8Array<ArrayBuffer>> } {
  return { tokens: engine.beginSave(), pieces: piecesOf(engine, parked) };
}

async function* piecesOf(engine: Engine, parked: Parked): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (;;) {
    const piece = engine.save();
    if (piece?.length === 0) return;
    if (piece) {
      yield piece;
      await nextTurn();
    } else {
      await parked();
    }
  }
}

/** Puts a saved sequence in place of the one that was computed last; how many tokens it has. */
export async function takeUp(engine: Engine, parked: Parked, pieces: AsyncIterable<Uint8Array>): Promise<number> {
  try {
    for await (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        at += engine.restore(piece.subarray(at));
        if (at < piece.length) await parked();
      }
    }
    for (;;) {
      const tokens = engine.finishRestore();
      if (tokens !== undefined) return tokens;
      await parked();
    }
  } catch (thrown) {
    // A core that trapped has nothing to drop.
    if (!(thrown instanceof WebAssembly.RuntimeError)) engine.dropRestore();
    throw thrown;
  }
}

/** The bytes of a file beside the model, as they arrive. */
export async function* fetched(request: OpenRequest, file: PartInput): AsyncGenerator<Uint8Array> {
  const headers = hasSameServer(file, request) ? request.headers : [];
  const io = new IoClient({ ...request, parts: [file], adapters: [], headers });
  try {
    await io.resolve();
    const arrived: Uint8Array[] = [];
    let end: ChordError | true | undefined;
    let wake: () => void = () => undefined;
    io.read(0, 0, Infinity, {
      // The buffer goes back to its pool.
      piece: (_, bytes) => {
        arrived.push(bytes.slice());
        wake();
      },
      done: () => {
        end = true;
        wake();
      },
      failed: (error) => {
        end = error;
        wake();
      },
    });
    for (;;) {
      const piece = arrived.shift();
      if (piece) yield piece;
      else if (end === true) break;
      else if (end) throw end;
      else await new Promise<void>((resolve) => { wake = resolve; });
    }
  } finally {
    // What came is kept, but nobody waits for that.
    void io.settle().then(() => io.close());
  }
}

/** Whether the model's headers may go to the server of a file, too: they hold secrets. */
function hasSameServer(file: PartInput, { parts: [model] }: OpenRequest): boolean {
  if (file.kind === 'url') return model?.kind === 'url' && isOfNetwork(file.url) && isOfNetwork(model.url) && originOf(file.url) === originOf(model.url);
  return file.kind !== 'blob' && model?.kind !== 'url' && model?.kind !== 'blob' && file.hub === model?.hub;
}
