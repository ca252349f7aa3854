// What a person has set: options for loading a model and fields for the next answer. An empty field
// means the package's own default and is not sent at all.

import type { EngineOptions, SamplingParams } from '/pkg/index.js';
import { byId } from './dom.js';

/** Options of `createEngine` that the page offers. */
export type LoadOptions = Pick<EngineOptions, 'contextLength' | 'device' | 'maxResidentBytes'>;

/** The load options as set, or undefined when a field is not valid (the browser then points at it). */
export function loadOptions(): LoadOptions | undefined {
  const form = byId<HTMLFormElement>('load-options');
  if (!valid(form)) return undefined;
  const { contextLength, ceiling } = numbers(form);
  const options: LoadOptions = {};
  const device = form.querySelector<HTMLSelectElement>('select[name=device]')?.value;
  if (device === 'webgpu' || device === 'cpu') options.device = device;
  if (contextLength !== undefined) options.contextLength = contextLength;
  if (ceiling !== undefined) options.maxResidentBytes = Math.round(ceiling * 1e6);
  return options;
}

/** The sampling fields as set, under the names of the request, or undefined when one is not valid. */
export function samplingFields(): SamplingParams | undefined {
  const form = byId<HTMLFormElement>('sampling');
  return valid(form) ? numbers(form) : undefined;
}

/** The system prompt, or an empty string. */
export function systemPrompt(): string {
  return byId('sampling').querySelector<HTMLTextAreaElement>('[name=system]')?.value.trim() ?? '';
}

/** Fills a field, for links such as `?ctx=2048&device=cpu`. */
export function setField(form: 'load-options' | 'sampling', name: string, value: string): void {
  const field = byId(form).querySelector<HTMLInputElement | HTMLSelectElement>(`[name=${name}]`);
  if (field) field.value = value;
}

/** Opens the choice of models, with the caret where an address goes. */
export function openModels(): void {
  reveal(byId('source'));
}

/** Opens the dialog and the folds around a field and puts the caret into it. */
export function revealField(form: 'load-options' | 'sampling', name: string): void {
  reveal(byId(form).querySelector<HTMLElement>(`[name=${name}]`));
}

function numbers(form: HTMLFormElement): Record<string, number> {
  const fields = form.querySelectorAll<HTMLInputElement>('input[type=number]');
  const filled = [...fields].filter((field) => field.value !== '');
  return Object.fromEntries(filled.map((field) => [field.name, field.valueAsNumber]));
}

/** Checks a form; its invalid field must be visible before the browser can point at it. */
function valid(form: HTMLFormElement): boolean {
  if (form.checkValidity()) return true;
  reveal(form.querySelector<HTMLElement>(':invalid'));
  return form.reportValidity();
}

function reveal(field: HTMLElement | null): void {
  const dialog = field?.closest('dialog');
  if (dialog && !dialog.open) dialog.showModal();
  for (let fold = field?.closest('details'); fold; fold = fold.parentElement?.closest('details')) fold.open = true;
  field?.focus();
}
