/** The build with WebGPU has this besides. */
import type { CoreModule } from '../core.js';

export * from './chord.js';
export { default } from './chord.js';
export const GpuDevice: NonNullable<CoreModule['GpuDevice']>;
