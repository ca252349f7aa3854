/** Puts the pieces of a streamed message together. */

import type { ChatMessage, ChatToolCallDelta } from '../wire/types.js';

/** More of a message, as a chunk brings it. */
export interface Delta {
  content?: string | null;
  reasoning_content?: string | null;
  tool_calls?: ChatToolCallDelta[];
}

/** A message with more of it. */
export function joined(message: ChatMessage, { content, reasoning_content: thought, tool_calls: pieces = [] }: Delta): ChatMessage {
  const next: ChatMessage = { ...message };
  if (content) next.content = `${typeof message.content === 'string' ? message.content : ''}${content}`;
  if (thought) next.reasoning_content = `${message.reasoning_content ?? ''}${thought}`;
  if (pieces.length > 0) next.tool_calls = [...message.tool_calls ?? []];
  for (const { index, id, function: { name, arguments: more } } of pieces) {
    const { id: known, function: begun } = next.tool_calls?.[index] ?? { id, function: { name: '', arguments: '' } };
    const call = { name: `${begun.name}${name ?? ''}`, arguments: `${String(begun.arguments)}${more}` };
    if (next.tool_calls) next.tool_calls[index] = { id: known ?? '', type: 'function', function: call };
  }
  return next;
}
