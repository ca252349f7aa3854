// Logits of a CPU build in the browser against the reference data: what the specs of the CPU share.

/** Runs in the page: the error of the model's logits, or what it was refused with, and the likeliest token of each row. */
export async function compare({ build, model, taken = 0, follow = false }) {
  const module = await import(`/selftest/${build}.js`);
  await module.default({ module_or_path: `/selftest/${build}.wasm` });
  if (taken > 0 && !module.takeMemory(taken)) throw new Error('the browser refuses that much memory');
  const bytes = async (path) => (await fetch(path)).arrayBuffer();
  const file = new Uint8Array(await bytes(`/data/${model}.gguf`));
  const { tokens, greedy } = await (await fetch(`/data/${model}.json`)).json();
  const expected = new Float32Array(await bytes(`/data/${model}.logits.f32`));
  let engine;
  try {
    const reader = new module.HeaderReader(file.length);
    reader.feed(file);
    engine = reader.open('{}');
  } catch (error) {
    return { refused: { code: error.code, message: error.message } };
  }
  for (let range = engine.want(); range; range = engine.want()) {
    const [part, offset, length] = range;
    engine.supply(part, offset, file.subarray(offset, offset + length));
  }
  const all = follow ? [...tokens, ...greedy.slice(0, -1)] : tokens;
  const logits = engine.logits(Uint32Array.from(all));
  engine.free();
  const width = logits.length / all.length;
  const actual = logits.subarray(0, tokens.length * width);
  const likeliest = all.map((_, row) => logits.subarray(row * width, (row + 1) * width).reduce(
    (best, value, token, values) => (value > values[best] ? token : best), 0));
  let error = 0;
  let scale = 0;
  for (let index = 0; index < expected.length; index++) {
    error += (expected[index] - actual[index]) ** 2;
    scale += expected[index] ** 2;
  }
  return { count: actual.length, expectedCount: expected.length, nmse: error / scale, followed: likeliest.slice(tokens.length - 1) };
}
