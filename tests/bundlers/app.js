// The app that each bundler builds: opens a model and writes into the page how it answered.

import { createEngine } from 'wasm-chord';

const model = new URLSearchParams(location.search).get('model') ?? '/tiny.gguf';
try {
  const engine = await createEngine({ model, store: 'none', device: 'cpu' });
  const { choices } = await engine.completions.create({ prompt: 'ab', max_tokens: 4, temperature: 0, ignore_eos: true });
  // What reads grammars is a module that comes when it is asked for.
  const { choices: [held] } = await engine.completions.create({ prompt: 'ab', regex: 'yes', temperature: 0 });
  if (held.text !== 'yes') throw new Error(`${held.text} is not of the grammar`);
  const tokens = await engine.tokenize('ab');
  await engine.dispose();
  document.body.dataset.result = JSON.stringify({ finish: choices[0].finish_reason, tokens: tokens.length });
} catch (error) {
  document.body.dataset.result = JSON.stringify({ error: `${error.code}: ${error.message}` });
}
