// Asks a model for a few tokens, with nothing but the package. Arguments: the package's module, a URL, a file.

import { readFile } from 'node:fs/promises';

const [, , address, url, path] = process.argv;
const { createEngine } = await import(address);
const answers = [];
for (const model of [new Blob([await readFile(path)]), url]) {
  const engine = await createEngine({ model });
  const { usage, choices } = await engine.completions.create({ prompt: 'hello', max_tokens: 5, temperature: 0, ignore_eos: true, logprobs: 0 });
  await engine.loaded;
  answers.push({ tokens: usage.completion_tokens, ids: choices[0].logprobs.token_ids, warnings: engine.model.warnings });
  await engine.dispose();
}
console.log(JSON.stringify(answers));
