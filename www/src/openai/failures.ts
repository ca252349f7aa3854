/** Errors in OpenAI's fields, with the status that a service answers them with. */

import type { ChordErrorCode } from '../wire/errors.js';

/** Codes of errors that are the caller's, with their HTTP status. */
const STATUS: Partial<Record<ChordErrorCode, number>> = {
  InvalidParameter: 400, ContextOverflow: 400, TemplateFailed: 400, InvalidSource: 400, NotFound: 404, QueueFull: 429, Disposed: 503,
};

/** What OpenAI calls them, where programs look for that. */
const CODES: Partial<Record<ChordErrorCode, string>> = { ContextOverflow: 'context_length_exceeded', QueueFull: 'rate_limit_exceeded' };

/** An error of this interface, rather than of an engine. */
export class RequestError extends Error {
  /** With the field of the request that it is about, if it is about one. */
  constructor(readonly status: number, readonly code: string, message: string, readonly param?: string) {
    super(message);
  }
}

/** A field with a value that this interface has no meaning for. */
export function refused(param: string, why: string): RequestError {
  return new RequestError(400, 'invalid_value', `${param} ${why}`, param);
}

/** The engine's errors come from another bundle, so that their class is not ours: they are known by their fields. */
interface Failure {
  message: string;
  code?: ChordErrorCode;
  details?: { name?: unknown };
}

/** The HTTP status of an error. */
export function statusOf(error: unknown): number {
  if (error instanceof RequestError) return error.status;
  return STATUS[(error as Failure).code ?? 'Internal'] ?? 500;
}

/** An error in OpenAI's fields. */
export function described(error: unknown): { message: string; type: string; param: string | null; code: string } {
  const type = statusOf(error) < 500 ? 'invalid_request_error' : 'server_error';
  if (error instanceof RequestError) return { message: error.message, type, param: error.param ?? null, code: error.code };
  const { message, code = 'Internal', details } = error as Failure;
  return { message, type, param: typeof details?.name === 'string' ? details.name : null, code: CODES[code] ?? code };
}
