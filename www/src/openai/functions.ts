/**
 * Functions as chats had them before tools, one of them called at a time. Requests and answers of that kind are put into
 * words of tools, and back.
 */

import type { Fields } from './input.js';

/** The reason that an answer ends with, where it calls. */
const CALLED = { tools: 'tool_calls', functions: 'function_call' };

/** Whether a request is of that kind. */
export function hasFunctions(body: Fields): boolean {
  return body['functions'] !== undefined && body['functions'] !== null;
}

/** The same request with tools. What is no function is left for the engine to refuse. */
export function withTools(body: Fields): Fields {
  const { functions, function_call: choice, messages, ...rest } = body;
  const isNamed = typeof choice === 'object' && choice !== null;
  return {
    ...rest,
    tools: Array.isArray(functions) ? functions.map((described: unknown) => ({ type: 'function', function: described })) : functions,
    parallel_tool_calls: false,
    ...choice === undefined ? {} : { tool_choice: isNamed ? { type: 'function', function: choice } : choice },
    messages: Array.isArray(messages) ? messages.map(asToolMessage) : messages,
  };
}

/** A message with a call, or with what a function gave, whose call is the one before it. */
function asToolMessage(message: Fields, index: number): Fields {
  const { function_call: call, ...rest } = message ?? {};
  const idOf = (at: number): string => `call${String(at).padStart(5, '0')}`;
  if (rest['role'] === 'function') return { ...rest, role: 'tool', tool_call_id: idOf(index - 1) };
  if (call === undefined || call === null) return rest;
  return { ...rest, tool_calls: [{ id: idOf(index), type: 'function', function: call }] };
}

/** An answer, or a chunk of one, with the call in the fields of functions. */
export function withFunctionCall(answer: object): object {
  const { choices } = answer as { choices?: Fields[] };
  const asCall = (given: unknown): unknown => {
    const { tool_calls: calls, ...rest } = (given ?? {}) as { tool_calls?: { function: object }[] };
    return calls?.[0] ? { ...rest, function_call: calls[0].function } : given;
  };
  const changed = choices?.map(({ message, delta, finish_reason: reason, ...rest }) => ({
    ...rest,
    ...message === undefined ? { delta: asCall(delta) } : { message: asCall(message) },
    finish_reason: reason === CALLED.tools ? CALLED.functions : reason,
  }));
  return { ...answer, choices: changed };
}
