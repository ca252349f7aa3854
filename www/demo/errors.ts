// Every failure in words that a person can act on. Every code of ChordError stands in the table; anything
// else is shown with its own message.

import { ChordError, type ChordErrorCode } from '/pkg/index.js';
import { bytes, plural } from './format.js';

/** What a person can do about a failure. The place that shows it decides which of them it can offer. */
export type Remedy = 'retry' | 'choose' | 'newChat' | 'context' | 'ceiling' | 'sampling' | 'cpu' | 'reload';

/** A failure as the page shows it. */
export interface Explanation {
  sentence: string;
  remedies: Remedy[];
  /** For a bug report: code, message, details, cause. */
  technical: string;
}

type Details = Record<string, unknown>;
type Entry = [sentence: string | ((details: Details) => string), ...remedies: Remedy[]];

const TABLE: Record<Exclude<ChordErrorCode, 'Aborted'>, Entry> = {
  // The file.
  InvalidGguf: ['This is not a readable GGUF file. It may be damaged, cut short, or something else altogether.', 'choose'],
  UnsupportedGguf: ['This GGUF file is of a version that cannot be read here. Look for a newer conversion of the model.', 'choose'],
  UnsupportedArchitecture: [({ architecture }) => `This kind of model${named(architecture)} is not supported yet.`, 'choose'],
  UnsupportedTensorType: ['The model’s number format is not supported. Another quantization of it, such as Q4_K_M, will do.', 'choose'],
  InvalidModel: ['The file contradicts itself, so the model cannot be run. Another conversion of it may work.', 'choose'],
  NonFinite: ['The model’s weights give no meaningful numbers. The file is probably damaged.', 'choose'],
  // Where it comes from.
  InvalidSource: [ambiguous, 'choose'],
  NotFound: ['There is no model at this address. Check the spelling.', 'choose'],
  Network: ['The connection failed. What had arrived is kept. Check that you are online and that the server lets this page read the file.', 'retry', 'choose'],
  Http: [refusal, 'retry', 'choose'],
  CorsHeaders: ['The server does not let web pages read this file in pieces. Download it and open it from your disk.', 'choose'],
  SourceChanged: ['The file changed while it was being read. Start again to get the new one.', 'retry'],
  Timeout: ['There was no answer in time. The connection may be slow or broken. What had arrived is kept.', 'retry'],
  StoreFailed: [({ reason }) => reason === 'in use' ? 'This model is in use, here or in another tab. Load another one or close that tab first.' : 'The browser could not keep the model on disk. Trying again usually helps.', 'retry'],
  // This device.
  OutOfMemory: [outOfMemory, 'context', 'choose'],
  BudgetTooSmall: [({ need }) => `The memory ceiling is too low${typeof need === 'number' ? `: this takes at least ${bytes(need)}` : ''}.`, 'ceiling'],
  DeviceUnavailable: ['The device that was asked for is not available here. The CPU always is.', 'cpu'],
  GpuUnsuited: ['The graphics device cannot run this model. The CPU can.', 'cpu'],
  DeviceLost: ['The graphics device went away. Trying again usually helps; the CPU always works.', 'retry', 'cpu'],
  UnsupportedBrowser: [({ feature }) => `This browser lacks something that is needed${named(feature)}. A current Chrome, Edge, Firefox or Safari has it.`],
  // The conversation.
  InvalidParameter: [({ name }) => `One of the settings has a value that cannot be used${named(name)}.`, 'sampling'],
  ContextOverflow: [contextOverflow, 'newChat', 'context'],
  InvalidState: ['The saved conversation is damaged, or belongs to another model or version.', 'newChat'],
  TemplateFailed: ['The model’s chat template does not accept this conversation. A new chat without a system prompt may work.', 'newChat', 'choose'],
  QueueFull: ['The engine is busy with other requests.', 'retry'],
  Disposed: ['The model is no longer loaded.', 'reload', 'retry'],
  // Defects.
  WorkerFailed: ['A background worker could not be started or stopped unexpectedly. Loading the model again usually helps.', 'reload', 'retry'],
  EnginePanicked: ['The engine stopped because of a defect in it. Loading the model again usually helps.', 'reload', 'retry'],
  Internal: ['Something went wrong inside the engine. Loading the model again usually helps.', 'reload', 'retry'],
};

/** Explains any thrown value. */
export function explain(error: unknown): Explanation {
  const { code, details } = identity(error);
  const [sentence, ...remedies] = (TABLE as Partial<Record<string, Entry>>)[code] ?? fallback(error);
  return {
    sentence: typeof sentence === 'string' ? sentence : sentence(details),
    remedies,
    technical: technicalText(error),
  };
}

/** True when the failure is only that a person cancelled. */
export function isAbort(error: unknown): boolean {
  return identity(error).code === 'Aborted' || (error instanceof DOMException && error.name === 'AbortError');
}

/** True when the connection broke, so that what has arrived can be taken up. */
export function isConnection(error: unknown): boolean {
  return ['Network', 'Timeout'].includes(identity(error).code);
}

function identity(error: unknown): { code: string; details: Details } {
  return error instanceof ChordError
    ? { code: error.code, details: error.details ?? {} }
    : { code: '', details: {} };
}

function fallback(error: unknown): Entry {
  const message = error instanceof Error ? error.message : String(error);
  const retryable = error instanceof ChordError && error.retryable;
  return [message || 'Something went wrong.', retryable ? 'retry' : 'choose'];
}

function technicalText(error: unknown): string {
  const lines: string[] = [];
  for (let current = error, depth = 0; current !== undefined && depth < 5; depth += 1) {
    const { code, details } = identity(current);
    lines.push([code, current instanceof Error ? current.message : String(current)].filter(Boolean).join(': '));
    if (Object.keys(details).length) lines.push(JSON.stringify(details, undefined, 1));
    current = current instanceof Error ? current.cause : undefined;
  }
  return lines.join('\n');
}

function named(name: unknown): string {
  return typeof name === 'string' && name ? ` (${name})` : '';
}

function ambiguous({ candidates }: Details): string {
  if (Array.isArray(candidates) && candidates.length) return `More than one model fits this name. Choose one of them: ${candidates.slice(0, 6).join(', ')}.`;
  return 'This is not an address of a model. It should begin with https:// or hf: and name a .gguf file.';
}

function contextOverflow({ need, have }: Details): string {
  const sentence = 'This is more text than the model’s context holds';
  if (typeof need !== 'number' || typeof have !== 'number') return `${sentence}.`;
  return `${sentence}: it needs ${plural(need, 'token')}, and there is room for ${have.toLocaleString('en')}.`;
}

function outOfMemory({ bytes: count }: Details): string {
  const asked = typeof count === 'number' ? ` (${bytes(count)} more were asked for)` : '';
  return `There is not enough memory${asked}. A shorter context, a smaller model or closing other tabs will help.`;
}

function refusal({ status }: Details): string {
  if (status === 401 || status === 403) return 'The server does not give this file to everyone. Download it and open it from your disk.';
  return `The server refused to send the file${typeof status === 'number' ? ` (status ${status})` : ''}. It may be busy.`;
}
