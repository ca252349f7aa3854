/**
 * The one error type of the package. Errors cross between workers as plain objects (`WireError`)
 * and reach the caller as `ChordError`.
 */

/** Stable codes of {@link ChordError}. The first block comes from the core, unchanged. */
export type ChordErrorCode =
  /** The bytes are not a well-formed GGUF file. */
  | 'InvalidGguf'
  /** A GGUF version or byte order that is not supported. */
  | 'UnsupportedGguf'
  /** The file's architecture is not supported. */
  | 'UnsupportedArchitecture'
  /** A tensor has a type that is not supported. */
  | 'UnsupportedTensorType'
  /** Metadata or tensors contradict each other. */
  | 'InvalidModel'
  /** A saved sequence is damaged, or was computed by another model or build; `details.reason` says which. */
  | 'InvalidState'
  /** The weights produce NaN or infinity. */
  | 'NonFinite'
  /** An option or request value that is not allowed; `details.name` says which. */
  | 'InvalidParameter'
  /** The prompt does not fit the context; `details` has `need` and `have`. */
  | 'ContextOverflow'
  /** The chat template fails, loops, or raises an exception. */
  | 'TemplateFailed'
  /** Memory could not be allocated. */
  | 'OutOfMemory'
  /** `maxResidentBytes` cannot work; `details` has `need` and `have`. */
  | 'BudgetTooSmall'
  /** The caller cancelled; `cause` is the signal's reason. */
  | 'Aborted'
  /** A defect of this package. */
  | 'Internal'
  /** The model source cannot be used: its scheme, name, number of parts. */
  | 'InvalidSource'
  /** The server, the repository or the store has no such model. */
  | 'NotFound'
  /** The connection failed or broke, more often than is retried. */
  | 'Network'
  /** The server answered with an unusable status or headers; `details.status`. */
  | 'Http'
  /** A server hides response headers from this page; `details.headers` names them. */
  | 'CorsHeaders'
  /** The file changed while it was read. */
  | 'SourceChanged'
  /** A server or worker did not answer in time. */
  | 'Timeout'
  /** A worker could not be started or died. */
  | 'WorkerFailed'
  /** The core trapped. The engine is lost; a new one works. */
  | 'EnginePanicked'
  /** The engine was disposed. */
  | 'Disposed'
  /** More calls wait than the queue holds. */
  | 'QueueFull'
  /** The durable store failed. */
  | 'StoreFailed'
  /** The browser's storage quota is used up. */
  | 'QuotaExceeded'
  /** The requested compute device or build is not available here. */
  | 'DeviceUnavailable'
  /** The GPU was lost. */
  | 'DeviceLost'
  /** The browser lacks something that is required; `details.feature` says what. */
  | 'UnsupportedBrowser';

/** Codes after which the same call, or a new engine, may succeed. */
const RETRYABLE: ReadonlySet<ChordErrorCode> = new Set<ChordErrorCode>([
  'Network', 'Timeout', 'SourceChanged', 'WorkerFailed', 'EnginePanicked', 'QueueFull', 'StoreFailed', 'DeviceLost',
]);

/** A {@link ChordError} as it crosses between workers. */
export interface WireError {
  code: ChordErrorCode;
  message: string;
  retryable: boolean;
  details?: Record<string, unknown>;
  cause?: string;
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
 * Any thrown value as a `ChordError`. The core throws plain `{code, message, …}` objects; a trap of
 * its wasm module surfaces as `WebAssembly.RuntimeError`.
 */
export function toChordError(thrown: unknown): ChordError {
  if (thrown instanceof ChordError) return thrown;
  if (thrown instanceof WebAssembly.RuntimeError) {
    return new ChordError('EnginePanicked', `the engine stopped: ${thrown.message}`, { cause: thrown });
  }
  if (isWireError(thrown)) return fromWire(thrown);
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

/** The inverse of {@link toWire}. */
export function fromWire(wire: WireError): ChordError {
  return new ChordError(wire.code, wire.message, {
    retryable: wire.retryable ?? RETRYABLE.has(wire.code),
    details: wire.details,
    ...(wire.cause === undefined ? {} : { cause: new Error(wire.cause) }),
  });
}

function isWireError(value: unknown): value is WireError {
  const candidate = value as Partial<WireError> | null;
  return typeof candidate === 'object' && candidate !== null
    && typeof candidate.code === 'string' && typeof candidate.message === 'string';
}
