/** From a request for a response to a request for a chat. */

import type { ChatMessage, ChatToolCall } from '../wire/openai.js';
import { refused } from './failures.js';

/** A JSON object. */
export type Fields = Record<string, unknown>;

/** Types of content that are text, and where it stands. */
const TEXTS: Record<string, string> = { input_text: 'text', output_text: 'text', text: 'text', reasoning_text: 'text', summary_text: 'text', refusal: 'refusal' };

/** Where the log probabilities of an answer's text are asked for. */
const LOGPROBS = 'message.output_text.logprobs';

/** Fields that concern what a service keeps, sells or watches. They are accepted, as those of a chat are. */
const WITHOUT_EFFECT = ['store', 'include', 'previous_response_id', 'max_tool_calls'];

/**
 * The chat that a request for a response means, behind the messages of the response that it goes on from. Fields that both
 * requests have, the engine's own among them, stay as they are; what no chat has is left for the engine to refuse by name.
 *
 * @throws RequestError where something else than text, functions and what was said of them is given
 */
export function chatOf(body: Fields, before: readonly ChatMessage[]): { chat: Fields; messages: ChatMessage[] } {
  const { input, instructions, text, reasoning, tools, tool_choice: choice, max_output_tokens: limit, truncation, background, ...rest } = body;
  for (const name of WITHOUT_EFFECT) delete rest[name];
  if (truncation !== undefined && truncation !== null && truncation !== 'disabled') throw refused('truncation', 'is the engine’s contextOverflow here, and cannot be asked for');
  if (background === true) throw refused('background', 'is not supported: responses end with their page');
  if (rest['n'] !== undefined) throw refused('n', 'is a field of chats: a response has one answer');
  const messages = [...before, ...messagesOf(input, 'input')];
  const chat: Fields = {
    ...rest,
    messages: [...typeof instructions === 'string' ? [{ role: 'system', content: instructions }] : messagesOf(instructions ?? [], 'instructions'), ...messages],
    ...formatOf(text),
    ...effortOf(reasoning),
  };
  if (Array.isArray(body['include']) && body['include'].includes(LOGPROBS)) chat['logprobs'] = true;
  if (limit !== undefined && limit !== null) chat['max_tokens'] = limit;
  if (Array.isArray(tools)) chat['tools'] = tools.map((tool: Fields, index) => functionOf(tool, `tools[${index}]`));
  else if (tools !== undefined && tools !== null) chat['tools'] = tools;
  if (choice !== undefined && choice !== null) chat['tool_choice'] = choiceOf(choice);
  return { chat, messages };
}

/** The messages that a text or a list of items is. */
function messagesOf(input: unknown, place: string): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!Array.isArray(input)) throw refused(place, 'is neither a text nor a list of items');
  const messages: ChatMessage[] = [];
  input.forEach((item: Fields, index) => addItem(messages, item, `${place}[${index}]`));
  return messages;
}

/**
 * Adds an item to the messages. What an assistant thinks, says and calls are items of their own here, and one message of a
 * chat: each goes to the last message where that lacks it.
 */
function addItem(messages: ChatMessage[], item: Fields, place: string): void {
  const last = messages.at(-1);
  const assistant = (isFree: (message: ChatMessage) => boolean): ChatMessage => {
    if (last?.role === 'assistant' && isFree(last)) return last;
    const message: ChatMessage = { role: 'assistant', content: null };
    messages.push(message);
    return message;
  };
  switch (item?.['type'] ?? 'message') {
    case 'message': {
      const content = textOf(item?.['content'], `${place}.content`);
      const role = String(roleOf(item['role']));
      if (role !== 'assistant') messages.push({ role, content });
      else assistant((message) => message.content === null && !message.tool_calls).content = content;
      return;
    }
    case 'reasoning': {
      const { content, summary } = item;
      const thought = textOf(Array.isArray(content) && content.length > 0 ? content : summary ?? [], `${place}.content`);
      if (thought !== '') messages.push({ role: 'assistant', content: null, reasoning_content: thought });
      return;
    }
    case 'function_call': {
      const { call_id: id, name, arguments: text } = item;
      const call = { id, type: 'function', function: { name, arguments: text } } as ChatToolCall;
      const message = assistant(() => true);
      message.tool_calls = [...message.tool_calls ?? [], call];
      return;
    }
    case 'function_call_output':
      messages.push({ role: 'tool', tool_call_id: String(item['call_id']), content: textOf(item['output'], `${place}.output`) });
      return;
    default:
      throw refused(`${place}.type`, `is ${JSON.stringify(item['type'])}, which is not supported`);
  }
}

/** The name that chat templates have for a role: instructions of a developer are a system's. */
export function roleOf(role: unknown): unknown {
  return role === 'developer' ? 'system' : role;
}

/** The text of a content, which is one or a list of parts. */
function textOf(content: unknown, place: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw refused(place, 'is neither a text nor a list of parts');
  return content.map((part: Fields, index) => {
    const field = TEXTS[String(part?.['type'])];
    if (field === undefined) throw refused(`${place}[${index}].type`, `is ${JSON.stringify(part?.['type'])}: only text is supported`);
    return String(part[field]);
  }).join('');
}

/** A tool in a chat's shape. */
function functionOf(tool: Fields, place: string): Fields {
  const { type, ...described } = tool ?? {};
  if (type !== 'function') throw refused(`${place}.type`, `is ${JSON.stringify(type)}: only functions are supported`);
  return { type, function: described };
}

/** A choice of tools in a chat's shape. */
function choiceOf(choice: unknown): unknown {
  if (typeof choice !== 'object' || choice === null) return choice;
  const { type, name, mode, tools } = choice as Fields;
  if (type === 'function') return { type, function: { name } };
  if (type !== 'allowed_tools' || !Array.isArray(tools)) return choice;
  return { type, allowed_tools: { mode, tools: tools.map((tool: Fields, index) => functionOf(tool, `tool_choice.tools[${index}]`)) } };
}

/** What the answer is to be, in a chat's shape. */
function formatOf(text: unknown): Fields {
  if (text === undefined || text === null) return {};
  const { format, verbosity } = text as Fields;
  if (verbosity !== undefined && verbosity !== null && verbosity !== 'medium') throw refused('text.verbosity', 'is not supported: no chat template knows it');
  if (format === undefined || format === null) return {};
  const { type, ...schema } = format as Fields;
  return { response_format: type === 'json_schema' ? { type, json_schema: schema } : format };
}

/** How much is to be thought, in a chat's field. Thoughts are told as they are, and never summed up. */
function effortOf(reasoning: unknown): Fields {
  const effort = (reasoning as Fields | null | undefined)?.['effort'];
  return effort === undefined || effort === null ? {} : { reasoning_effort: effort };
}
