/**
 * The one error type of the package. Errors cross between workers as plain objects (`WireError`)
 * and reach the caller as `ChordError`.
 */

import { RETRYABLE, type ChordErrorCode } from './generated.js';

export type { ChordErrorCode };

/** A {@link ChordError} as it crosses between workers. */
export interface WireError extends CoreError {
  retryable: boolean;
  cause?: string;
}

/** An error as the core throws it. */
interface CoreError {
  code: ChordErrorCode;
  message: string;
  details?: Record<string, unknown>;
}

/** Any failure that a caller can meet. */
export class ChordError extends Error {
  /** A cancelled call has the name that the platform gives such errors: that of the signal's reason, or `AbortError`. */
  override readonly name: 'ChordError' | 'AbortError' | 'TimeoutError';
  /** What went wrong, for programs. */
  readonly code: ChordErrorCode;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Facts about the failure, under stable names. */
  readonly details?: Record<string, unknown>;
  /** What led to the failure, where it is known. */
  override cause?: unknown;

  /** `facts.retryable` where the code alone does not say. */
  constructor(
    code: ChordErrorCode,
    message: string,
    facts: { cause?: unknown; details?: Record<string, unknown> | undefined; retryable?: boolean } = {},
  ) {
    super(message);
    this.name = code !== 'Aborted' ? 'ChordError' : isTimeout(facts.cause) ? 'TimeoutError' : 'AbortError';
    this.code = code;
    this.retryable = facts.retryable ?? RETRYABLE.has(code);
    if (facts.cause !== undefined) this.cause = facts.cause;
    if (facts.details !== undefined) this.details = facts.details;
  }
}

/** Whether a signal's reason is that of `AbortSignal.timeout`. */
function isTimeout(reason: unknown): boolean {
  return (reason as { name?: unknown } | null | undefined)?.name === 'TimeoutError';
}

/** A refused option or request value. */
export function invalidParameter(name: string, message: string): ChordError {
  return new ChordError('InvalidParameter', message, { details: { name } });
}

/** A model's name that cannot be read from. */
export function invalidSource(message: string, details?: Record<string, unknown>): ChordError {
  return new ChordError('InvalidSource', message, { details });
}

/** The error of a cancelled call. */
export function aborted(signal?: AbortSignal): ChordError {
  return new ChordError('Aborted', 'the call was cancelled', { cause: signal?.reason });
}

/** Throws when `signal` is already aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/**
 * Any thrown value as a `ChordError`. The core throws plain objects; a trap of its wasm module surfaces as
 * `WebAssembly.RuntimeError`.
 */
export function toChordError(thrown: unknown): ChordError {
  if (thrown instanceof ChordError) return thrown;
  if (thrown instanceof WebAssembly.RuntimeError) {
    return new ChordError('EnginePanicked', `the engine stopped: ${thrown.message}`, { cause: thrown });
  }
  if (isPlain(thrown)) return fromWire(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new ChordError('Internal', message, { cause: thrown });
}

/** An error as a plain object that survives `postMessage`. */
export function toWire(thrown: unknown): WireError {
  const error = toChordError(thrown);
  const wire: WireError = { code: error.code, message: error.message, retryable: error.retryable };
  if (error.details) wire.details = error.details;
  if (error.cause !== undefined) wire.cause = String(error.cause);
  return wire;
}

/** The inverse of {@link toWire}; what the core throws is an error of its code, too. */
export function fromWire(wire: CoreError & Partial<WireError>): ChordError {
  return new ChordError(wire.code, wire.message, {
    ...(wire.retryable === undefined ? {} : { retryable: wire.retryable }),
    details: wire.details,
    ...(wire.cause === undefined ? {} : { cause: new Error(wire.cause) }),
  });
}

function isPlain(value: unknown): value is CoreError & Partial<WireError> {
  const candidate = value as Partial<WireError> | null;
  return typeof candidate === 'object' && candidate !== null
    && typeof candidate.code === 'string' && typeof candidate.message === 'string';
}
