// The engine's own figures as a list of terms and values.

import type { EngineStats } from '/pkg/index.js';
import { byId, make } from './dom.js';
import { bytes, decimal, latency } from './format.js';

/** Shows the figures; what has not been measured yet is a dash. */
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
  const list: [string, string][] = [
    ['Answer', last ? `${decimal(last.decodeTokensPerSecond)} tokens/s` : '–'],
    ['First token', last ? latency(last.timeToFirstTokenMs) : '–'],
    ['Prompt', last ? `${decimal(last.prefillTokensPerSecond)} tokens/s` : '–'],
    ['Memory resident', bytes(memory.residentBytes)],
    ['KV cache', bytes(memory.kvBytes)],
    ['Wasm memory', bytes(memory.wasmBytes)],
  ];
  if (memory.gpuBytes > 0) list.push(['GPU buffers', bytes(memory.gpuBytes)]);
  list.push(['Device', deviceText(stats)], ['Build', `${stats.build}, ${stats.simd === 'relaxed' ? 'relaxed SIMD' : 'SIMD'}`]);
  return list;
}

function deviceText({ device, adapter, threads }: EngineStats): string {
  if (device === 'webgpu') return adapter && !/^webgpu$/i.test(adapter) ? `WebGPU, ${adapter}` : 'WebGPU';
  return threads > 1 ? `CPU, ${threads} threads` : 'CPU';
}
