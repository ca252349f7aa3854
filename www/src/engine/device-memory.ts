/** How much memory the device has, and what that means for a model. */

import type { Plan } from '../wire/types.js';

/** Bytes of memory that this device has, where the browser tells: it rounds, and stops at some size. */
export function deviceBytes(): number | undefined {
  const { deviceMemory } = navigator as Navigator & { deviceMemory?: number };
  return deviceMemory === undefined ? undefined : Math.round(deviceMemory * 2 ** 30);
}

/** Why a model takes so much memory and no more, or what speaks against it. */
export function memoryReasons({ bound, budgetBytes, leastBytes, weightBytes }: Omit<Plan, 'reasons'>, isFromDisk: boolean): string[] {
  const device = deviceBytes() ?? Infinity;
  const about = `this device has about ${device / 2 ** 30} GiB of memory`;
  const rest = `what does not fit is ${isFromDisk ? 'read from the disk' : 'fetched again'} for every token`;
  if (bound === 'device') return [`${about}: ${budgetBytes} bytes of it are used unless maxResidentBytes says otherwise, and ${rest}`];
  if (bound === 'addressSpace') return [`the weights, ${weightBytes} bytes, and the cache do not fit the memory that a page can use: ${budgetBytes} bytes are used, and ${rest}`];
  if (budgetBytes <= device) return [];
  return [`it takes ${budgetBytes} bytes of memory, and ${about}: maxResidentBytes can be as low as ${leastBytes}`];
}

/** What becomes of the experts of a mixture that does not fit. */
export function expertReasons(bytes: number, cacheBytes: number): string[] {
  if (bytes === 0) return [];
  return [`the experts, ${bytes} bytes, stay on the disk: each is read when a token uses it, and ${cacheBytes} bytes of memory keep those that are used most`];
}

/** What a ceiling without a store costs. */
export function trafficReason(bytes: number): string {
  return `layers of ${bytes} bytes do not fit the ceiling and are not stored, so that they are fetched again for every token: store: 'opfs', where the browser has it, or a larger maxResidentBytes avoids that`;
}
