// The engine's own figures as a list of terms and values.

import type { EngineStats } from '/pkg/index.js';
import { byId, make } from './dom';
import { bytes, decimal, latency } from './format';

/** Shows the figures; what the engine has not measured yet is left out. */
export function showFigures(stats: EngineStats): void {
  byId('figure-list').replaceChildren(
    ...rows(stats).flatMap(([term, value]) => [make('dt', '', term), make('dd', '', value)]),
  );
  byId('figures').hidden = false;
}

/** Takes the figures away, for when no model is loaded. */
export function hideFigures(): void {
  byId('figures').hidden = true;
}

function rows(stats: EngineStats): [string, string][] {
  const { memory, last } = stats;
  const list: [string, string][] = [];
  if (last) {
    list.push(
      ['Answer', `${decimal(last.decodeTokensPerSecond)} tokens/s`],
      ['First token', latency(last.timeToFirstTokenMs)],
      ['Prompt', `${decimal(last.prefillTokensPerSecond)} tokens/s`],
    );
  }
  list.push(['Resident', bytes(memory.residentBytes)], ['Context (KV cache)', bytes(memory.kvBytes)]);
  list.push(['Wasm memory', bytes(memory.wasmBytes)]);
  if (memory.gpuBytes > 0) list.push(['GPU buffers', bytes(memory.gpuBytes)]);
  list.push(['Runs on', deviceText(stats)]);
  return list;
}

function deviceText(stats: EngineStats): string {
  const build = `${stats.build}, ${stats.simd === 'relaxed' ? 'relaxed SIMD' : 'SIMD'}`;
  if (stats.device === 'webgpu') return stats.adapter ? `WebGPU, ${stats.adapter}` : 'WebGPU';
  return stats.threads > 1 ? `CPU, ${stats.threads} threads, ${build}` : `CPU, ${build}`;
}
