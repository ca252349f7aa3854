// What the published declarations promise to a caller, checked by the compiler and never run.

import { ChordError, createEngine, modelStore, plan, type Engine } from 'wasm-chord';

export async function generate(file: File, signal: AbortSignal): Promise<string> {
  const { fits, downloadBytes } = await plan(file, { contextLength: 1024 });
  if (!fits || downloadBytes > 1e9) return '';
  await using engine: Engine = await createEngine({
    model: file,
    signal,
    onProgress: ({ phase, loadedBytes, totalBytes }) => console.log(phase, loadedBytes / totalBytes),
  });
  let text = '';
  const messages = [{ role: 'user' as const, content: 'Hello' }];
  for await (const chunk of await engine.chat.completions.create({ messages, stream: true, temperature: 0 }, { signal })) {
    text += chunk.choices[0]?.delta.content ?? '';
  }
  const answer = await engine.chat.completions.create({ messages, max_tokens: 8 });
  const content: string | null | undefined = answer.choices[0]?.message.content;
  const ids: number[] = await engine.tokenize('Hello', { addSpecial: true });
  const completion = await engine.completions.create({ prompt: ids, logprobs: 3 });
  const best: number[][] | undefined = completion.choices[0]?.logprobs?.top_token_ids;
  return text + content + String(best) + (await engine.detokenize(ids));
}

export async function explain(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return `${(await modelStore.list()).length} models`;
  } catch (error) {
    // @ts-expect-error The codes are a closed list.
    if (error instanceof ChordError && error.code === 'NoSuchCode') return '';
    return error instanceof ChordError && error.code === 'OutOfMemory' && error.retryable ? 'try again' : String(error);
  }
}
