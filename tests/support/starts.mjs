/** Starting many engines, several at a time: how many of them answer. */

/**
 * Runs in a page with the package at `address`: `count` engines, `together` at a time, each of which answers and is
 * disposed. Tells how long each took, and how the others failed.
 */
export async function startMany({ address, model, count, together }) {
  const { createEngine } = await import(address);
  const tookMs = [];
  const failures = [];
  const start = async () => {
    const startedMs = performance.now();
    try {
      const engine = await createEngine({ model, store: 'none' });
      await engine.completions.create({ prompt: 'a', max_tokens: 1 });
      await engine.dispose();
      tookMs.push(performance.now() - startedMs);
    } catch ({ code, message }) {
      failures.push(`${code}: ${message}`);
    }
  };
  for (let done = 0; done < count; done += together) {
    await Promise.all(Array.from({ length: Math.min(together, count - done) }, start));
  }
  return { tookMs, failures };
}
