/**
 * What reads grammars: a wasm module of its own (`constrain/`), which the first request that names a grammar loads. The
 * core calls it synchronously, between logits and tokens; bytes are copied between the two modules' memories.
 */

import { compile } from './core.js';

/** The module's exports, which `constrain/src/exports.rs` describes. */
interface Exports {
  memory: WebAssembly.Memory;
  reserve(bytes: number): number;
  address(): number;
  length(): number;
  vocabulary(): number;
  compile(): number;
  another(grammar: number): number;
  release(grammar: number): void;
  restart(grammar: number): number;
  mask(grammar: number): number;
  commit(grammar: number, token: number): number;
  agreeing(grammar: number): number;
  forced(grammar: number): number;
}

export class Constrainer {
  /** The module trapped: nothing of it can be used again. */
  isBroken = false;

  private constructor(private readonly exports: Exports) {}

  /** Loads the module and gives it the vocabulary, as the core writes it. */
  static async load(vocabulary: Uint8Array): Promise<Constrainer> {
    const module = await compile(new URL('./wasm/chord-constrain.wasm', import.meta.url));
    // The library measures itself.
    const { exports } = await WebAssembly.instantiate(module, { env: { now: () => performance.now() } });
    const constrainer = new Constrainer(exports as unknown as Exports);
    constrainer.#write(vocabulary);
    constrainer.#call(({ vocabulary: take }) => take());
    return constrainer;
  }

  /** Bytes of the module's memory. */
  get wasmBytes(): number {
    return this.exports.memory.buffer.byteLength;
  }

  // The core calls the methods below; what they throw is why a grammar is refused, as JSON.

  compile(grammar: string): number {
    this.#write(new TextEncoder().encode(grammar));
    return this.#call(({ compile: prepare }) => prepare());
  }

  another(grammar: number): number {
    return this.#call(({ another }) => another(grammar));
  }

  restart(grammar: number): void {
    this.#call(({ restart }) => restart(grammar));
  }

  mask(grammar: number, allowed: Uint32Array): void {
    const address = this.#call(({ mask }) => mask(grammar));
    allowed.set(new Uint32Array(this.exports.memory.buffer, address, allowed.length));
  }

  commit(grammar: number, token: number): boolean {
    return this.#call(({ commit }) => commit(grammar, token)) === 1;
  }

  agreeing(grammar: number, tokens: Uint32Array): number {
    this.#write(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength));
    return this.#call(({ agreeing }) => agreeing(grammar));
  }

  /** The bytes that have to come, and behind them a byte that is 1 if only the end can follow. */
  forced(grammar: number): Uint8Array {
    const ends = this.#call(({ forced }) => forced(grammar));
    const bytes = this.#read();
    const told = new Uint8Array(bytes.length + 1);
    told.set(bytes);
    told[bytes.length] = ends;
    return told;
  }

  release(grammar: number): void {
    if (!this.isBroken) this.exports.release(grammar);
  }

  #write(bytes: Uint8Array): void {
    const address = this.#guarded(({ reserve }) => reserve(bytes.length));
    new Uint8Array(this.exports.memory.buffer, address, bytes.length).set(bytes);
  }

  #read(): Uint8Array {
    const { memory, address, length } = this.exports;
    return new Uint8Array(memory.buffer, address(), length());
  }

  /** What an export returns, unless it refuses. */
  #call(act: (exports: Exports) => number): number {
    const told = this.#guarded(act);
    // oxlint-disable-next-line no-throw-literal
    if (told < 0) throw new TextDecoder().decode(this.#read());
    return told;
  }

  #guarded(act: (exports: Exports) => number): number {
    try {
      return act(this.exports);
    } catch (trap) {
      this.isBroken = true;
      throw trap;
    }
  }
}
