export * from './chord.js';
export { default } from './chord.js';
