/** Which of a request's tools the model hears of, and whether it has to call one. */

import { invalidParameter } from '../wire/errors.js';

/** What `tool_choice` comes to. */
export interface Chosen {
  /** For the template. */
  tools: unknown;
  /** The answer is calls and nothing else. */
  isRequired: boolean;
  /** There is one tool to call, once. */
  isNamed: boolean;
}

/** The tools for the template as `tool_choice` wants them, and whether one has to be called. */
export function chosenTools(tools: unknown, choice: unknown): Chosen {
  const chosen = (left: unknown, isRequired: boolean, isNamed = false): Chosen => ({ tools: left, isRequired, isNamed });
  if (choice === undefined || choice === 'auto') return chosen(tools, false);
  if (choice === 'none') return chosen(undefined, false);
  if (choice === 'required') return chosen(someTools(tools), true);
  const { type, function: named, allowed_tools: allowed } = Object(choice) as { type?: unknown; function?: unknown; allowed_tools?: { mode?: unknown; tools?: unknown } };
  if (type === 'function') return chosen(toolsNamed(tools, [named]), true, true);
  if (type === 'allowed_tools' && (allowed?.mode === 'auto' || allowed?.mode === 'required') && Array.isArray(allowed.tools)) {
    const some = toolsNamed(tools, (allowed.tools as unknown[]).map((tool) => Object(tool) as { function?: unknown }).map((tool) => tool.function));
    return chosen(allowed.mode === 'required' ? someTools(some) : some, allowed.mode === 'required');
  }
  throw invalidParameter('tool_choice', 'tool_choice must be "auto", "none", "required", {type: "function", function: {name}} or {type: "allowed_tools", allowed_tools: {mode: "auto" or "required", tools}}');
}

function someTools(tools: unknown): unknown {
  if (!Array.isArray(tools) || tools.length === 0) throw invalidParameter('tool_choice', 'tool_choice asks for a call, and there are no tools');
  return tools;
}

function toolsNamed(tools: unknown, functions: unknown[]): unknown[] {
  const nameOf = (holder: unknown): unknown => (Object(holder) as { name?: unknown }).name;
  const given = Array.isArray(tools) ? tools as unknown[] : [];
  return functions.map((wanted) => {
    const found = given.find((tool) => nameOf((Object(tool) as { function?: unknown }).function) === nameOf(wanted));
    if (found === undefined || nameOf(wanted) === undefined) throw invalidParameter('tool_choice', `tool_choice names ${JSON.stringify(nameOf(wanted)) ?? 'no tool'}, which is not among the tools`);
    return found;
  });
}
