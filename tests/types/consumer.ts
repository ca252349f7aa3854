// What the published declarations promise to a caller, checked by the compiler and never run.

import { ChordError, createEngine, modelStore, plan, type Engine } from 'wasm-chord';
import { createFetch } from 'wasm-chord/openai';
import { languageModel, type LanguageModelSession } from 'wasm-chord/prompt-api';
import { useChat, useEngine, type Chat } from 'wasm-chord/react';

export async function generate(file: File, signal: AbortSignal): Promise<string> {
  const { fits, downloadBytes } = await plan(file, { contextLength: 1024 });
  if (!fits || downloadBytes > 1e9) return '';
  await using engine: Engine = await createEngine({
    model: file,
    signal,
    onProgress: ({ phase, fraction }) => console.log(phase, fraction),
  });
  let text = '';
  const messages = [{ role: 'user' as const, content: 'Hello' }];
  for await (const chunk of await engine.chat.completions.create({ messages, stream: true, temperature: 0 }, { signal })) {
    text += chunk.choices[0]?.delta.content ?? '';
  }
  const answer = await engine.chat.completions.create({ messages, max_tokens: 8 }, { session: 'chat' });
  const saved: number = (await engine.sessions.save('chat', { signal })).tokens;
  const left: string | undefined = (await engine.sessions.restore('chat')).answer;
  const prefix: Blob = await engine.exportPrefix(messages, { signal });
  // @ts-expect-error A prefix has no such field.
  await engine.exportPrefix(messages, { add_generation_prompt: true });
  console.log(saved, left, await createEngine({ model: file, prefix }));
  const weather = { type: 'function' as const, function: { name: 'weather', parameters: { type: 'object' } } };
  await engine.chat.completions.create({
    messages, tools: [weather], tool_choice: { type: 'function', function: { name: 'weather' } }, max_completion_tokens: 8, user: 'someone',
  });
  await engine.chat.completions.create({ messages, response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } } });
  await engine.completions.create({ prompt: 'a', regex: '[0-9]+' });
  // @ts-expect-error The name is max_tokens.
  await engine.completions.create({ prompt: 'a', maxTokens: 8 });
  const content: string | null | undefined = answer.choices[0]?.message.content;
  const ids: number[] = await engine.tokenize('Hello', { addSpecial: true });
  const completion = await engine.completions.create({ prompt: ids, logprobs: 3 });
  const best: number[][] | undefined = completion.choices[0]?.logprobs?.top_token_ids;
  return text + content + String(best) + (await engine.detokenize(ids));
}

export async function embed(engine: Engine): Promise<number | string | undefined> {
  const answering: typeof fetch = createFetch({ small: engine });
  const { data } = await engine.embeddings.create({ input: 'a', dimensions: 64 });
  const packed: string | undefined = (await engine.embeddings.create({ input: 'a', encoding_format: 'base64' })).data[0]?.embedding;
  // @ts-expect-error There are two formats.
  await engine.embeddings.create({ input: 'a', encoding_format: 'hex' });
  return (await answering('http://page.invalid/v1/models')).ok ? packed : data[0]?.embedding[0];
}

export function useModel(file: File | undefined): Chat & { percent: number } {
  const { engine, progress } = useEngine(file ? { model: file, threads: 2 } : null);
  // @ts-expect-error The hook follows progress itself.
  useEngine({ model: 'a', onProgress: () => undefined });
  return { ...useChat(engine, { temperature: 0, initialMessages: [{ role: 'system', content: 'Be brief.' }] }), percent: 100 * (progress?.fraction ?? 0) };
}

export async function prompted(file: File): Promise<string> {
  const session: LanguageModelSession = await languageModel({ model: file }).create({ initialPrompts: [{ role: 'system', content: 'Be brief.' }], topK: 3 });
  // @ts-expect-error There are no such roles.
  await session.append([{ role: 'tool', content: 'a' }]);
  return session.prompt([{ role: 'user', content: [{ type: 'text', value: 'Hello' }] }], { responseConstraint: /[a-z]+/ });
}

export async function explain(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    const isKept: boolean = await modelStore.persist();
    return `${(await modelStore.list()).length} models, ${isKept ? 'kept' : 'for now'}`;
  } catch (error) {
    // @ts-expect-error The codes are a closed list.
    if (error instanceof ChordError && error.code === 'NoSuchCode') return '';
    if (error instanceof ChordError && error.name === 'AbortError') return 'cancelled';
    return error instanceof ChordError && error.code === 'OutOfMemory' && error.retryable ? 'try again' : String(error);
  }
}
