/**
 * What the scripts have of the core, written by a test of the core from its own definitions. To change it, change those
 * and run `CHORD_UPDATE=1 cargo test --lib typescript`.
 */

/** Stable codes of `ChordError`. */
export type ChordErrorCode =
  /** A GGUF version or byte order that is not supported. */
  | 'UnsupportedGguf'
  /** `general.architecture` names an architecture that is not supported. */
  | 'UnsupportedArchitecture'
  /** A tensor has a type that is not supported. */
  | 'UnsupportedTensorType'
  /** Metadata or tensors contradict each other or the architecture. */
  | 'InvalidModel'
  /** A saved sequence is damaged, or was computed by another model or build; `details.reason` says which. */
  | 'InvalidState'
  /** The weights produce NaN or infinity. */
  | 'NonFinite'
  /** The prompt does not fit the context; `details` has `need` and `have`. */
  | 'ContextOverflow'
  /** The chat template fails, loops, or raises an exception. */
  | 'TemplateFailed'
  /** `maxResidentBytes` cannot work; `details` has `need` and `have`. */
  | 'BudgetTooSmall'
  /** The GPU cannot run this model, and the CPU can. */
  | 'GpuUnsuited'
  /** The GPU was lost, and with it what was asked for. */
  | 'DeviceLost'
  /** The bytes are not a well-formed GGUF file. */
  | 'InvalidGguf'
  /** A request or option has a value that is not allowed; `details.name` says which. */
  | 'InvalidParameter'
  /** Memory could not be allocated; `details.bytes` says how much was asked for, where that is known. */
  | 'OutOfMemory'
  /** What is kept on disk could not be read or written, or is in use. */
  | 'StoreFailed'
  /** A defect of this package: an assertion failed. */
  | 'Internal'
  /** The caller cancelled; `cause` is the signal's reason. */
  | 'Aborted'
  /** The model source cannot be used: its scheme, its name, its number of parts. */
  | 'InvalidSource'
  /** The server, the hub or the store has no such model. */
  | 'NotFound'
  /** The connection failed or broke, more often than is retried. */
  | 'Network'
  /** The server answered with a status or headers that cannot be used; `details.status`. Retryable by the status. */
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
  /** The device or build that was asked for is not available here. */
  | 'DeviceUnavailable'
  /** The browser lacks something that is required; `details.feature` says what. */
  | 'UnsupportedBrowser';

/** Codes after which the same call, or a new engine, may succeed later. */
export const RETRYABLE: ReadonlySet<ChordErrorCode> = new Set<ChordErrorCode>([
  'DeviceLost',
  'OutOfMemory',
  'StoreFailed',
  'Network',
  'SourceChanged',
  'Timeout',
  'WorkerFailed',
  'EnginePanicked',
  'QueueFull',
]);
