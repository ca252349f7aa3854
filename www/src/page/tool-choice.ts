/** Which of a request's tools the model hears of. */

import { invalidParameter } from '../wire/errors.js';

/**
 * The tools for the template as `tool_choice` wants them. The model calls what it likes of those, so that a choice
 * which would force it to is refused.
 */
export function chosenTools(tools: unknown, choice: unknown): unknown {
  if (choice === undefined || choice === 'auto') return tools;
  if (choice === 'none') return undefined;
  if (choice === 'required') throw invalidParameter('tool_choice', 'tool_choice "required" is not supported: a model cannot be forced to call a tool');
  const { type, function: named, allowed_tools: allowed } = Object(choice) as { type?: unknown; function?: unknown; allowed_tools?: { mode?: unknown; tools?: unknown } };
  if (type === 'function') return toolsNamed(tools, [named]);
  if (type === 'allowed_tools' && allowed?.mode === 'auto' && Array.isArray(allowed.tools)) {
    return toolsNamed(tools, (allowed.tools as unknown[]).map((tool) => Object(tool) as { function?: unknown }).map((tool) => tool.function));
  }
  throw invalidParameter('tool_choice', 'tool_choice must be "auto", "none", {type: "function", function: {name}} or {type: "allowed_tools", allowed_tools: {mode: "auto", tools}}');
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
