/** Small models that recite an answer with thoughts or calls of tools in it, and have a chat template for both. */

import { tinyModel } from './tiny-gguf.mjs';

const turn = (said, opening) => `{% for m in messages %}<|start|>{{ m.role }}\n${said}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n${opening}{% endif %}`;
const reasoned = '{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content or "" }}';
const called = '{% for c in m.tool_calls or [] %}<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}';
const callerTemplate = `{% if enable_thinking is defined and not enable_thinking %}brief {% endif %}${turn(reasoned + called, '')}`;
const callerSays = [
  '<think>', '\nThey ask', ' of Zürich.', '\n</think>\n\n', 'I look', '.\n', ['<tool_call>'], '\n{"name": "look', 'up", "arg', 'uments": {"city": "Zü', 'rich"}}\n',
  '</tool_call>\n<tool_call>\n{"name": "time", "arguments"', ': {}}', ['</tool_call>'],
];

/** A model that thinks of Zürich, says "I look.", and calls `lookup` with the city and `time` without arguments. */
export const caller = (context) => tinyModel({ context, says: callerSays, metadata: [['tokenizer.chat_template', 8, callerTemplate]] });

/** A model whose template begins its thought, "Well, well.", before it says "Hello.". */
export const thinker = (context) => tinyModel({
  context, says: ['Well', ', well.', '\n</think>', '\n\nHel', 'lo.'], metadata: [['tokenizer.chat_template', 8, turn(reasoned, '<think>\n')]],
});

/** A model that says this, in one piece; `said`: what its template makes of a message. */
export const speaker = (text, context, said = reasoned + called) => tinyModel({
  context, says: [text], metadata: [['tokenizer.chat_template', 8, turn(said, '')]],
});

/** JSON with the spaces that templates write. */
function spaced(value) {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}: ${spaced(field)}`).join(', ')}}`;
}

/** A model that calls a tool and, once it was told the result, says a text. */
export const asker = (name, input, text, context) => {
  const call = `\n${spaced({ name, arguments: input })}\n`;
  // A prompt that ends with a result goes on behind the call's end.
  const behind = '{% if messages[-1].role == "tool" %}<|im_end|>{% endif %}';
  return tinyModel({
    context, says: [['<tool_call>'], call, ['</tool_call>'], ['<|im_end|>'], text], metadata: [['tokenizer.chat_template', 8, turn(reasoned + called, behind)]],
  });
};
