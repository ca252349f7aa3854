// Pages with the built package, and functions inside them that tests call.

/** The strictest policy that the package promises to run under. */
export const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src *; style-src 'self' 'unsafe-inline'; img-src data:";

/** What browsers say of requests that fail on purpose. */
const EXPECTED = [/blocked by CORS policy/, /Cross-Origin Request Blocked/];

/** Runs `body` with a page of `stage` that has the package in `window.chord`. */
export function withChord(stage, body, { address = '/pkg/index.js', allow = [], ...options } = {}) {
  return stage.visit({ csp: POLICY, allow: [...EXPECTED, ...allow], ...options }, async (page) => {
    await page.evaluate(install, address);
    return body(page);
  });
}

/** Puts the package and a few functions into `window.chord`. */
export async function install(address) {
  // Timers that repeat do so `pace` times as often, from their next turn on: the page's patience ends sooner.
  window.pace = 1;
  window.hurry = () => { window.pace = 60; };
  const stopped = new Set();
  let timers = 0;
  window.setInterval = (tick, ms) => {
    const timer = timers += 1;
    let dueMs = performance.now() + ms;
    const wait = () => setTimeout(() => {
      if (stopped.has(timer)) return;
      if (performance.now() >= dueMs - ms + ms / window.pace) {
        dueMs = performance.now() + ms;
        tick();
      }
      wait();
    }, Math.min(ms, 10));
    wait();
    return timer;
  };
  window.clearInterval = (timer) => stopped.add(timer);
  const chord = await import(address);
  const network = Symbol.for('wasm-chord.network');
  const store = Symbol.for('wasm-chord.store');
  const addressable = Symbol.for('wasm-chord.addressable');
  window.chord = {
    ...chord,
    /** An error as plain data. */
    failure: (error) => (error instanceof chord.ChordError
      ? { code: error.code, message: error.message, retryable: error.retryable, details: error.details, cause: String(error.cause) }
      : { code: 'not a ChordError', message: String(error) }),
    /** createEngine with other settings of the network and of the store, and a smaller 32-bit memory. */
    open: ({ network: settings, storeSettings, addressableBytes, ...options }) => (
      chord.createEngine({ ...options, [network]: settings ?? {}, [store]: storeSettings ?? {}, [addressable]: addressableBytes })),
    /** The same for plan. */
    planned: ({ network: settings, storeSettings, addressableBytes, model, ...options }) => (
      chord.plan(model, { ...options, [network]: settings ?? {}, [store]: storeSettings ?? {}, [addressable]: addressableBytes })),
    /** Opens, generates and loads: what came out, or the error. */
    async outcome(options) {
      let engine;
      try {
        engine = await window.chord.open(options);
        const completion = await engine.completions.create({ prompt: 'hello', max_tokens: 6, temperature: 0, logprobs: 2 });
        await engine.loaded;
        const { source, layers, experts, memory, build, threads } = await engine.stats();
        const { token_ids: ids, token_logprobs: logprobs } = completion.choices[0].logprobs;
        return { ids, logprobs, source, layers, experts, memory, build, threads };
      } catch (error) {
        return window.chord.failure(error);
      } finally {
        await engine?.dispose();
      }
    },
  };
}

/** Runs `body` with a page of `stage` whose `engine` has been opened with `options`. */
export function withEngine(stage, options, body) {
  return withChord(stage, async (page) => {
    await page.evaluate(async (given) => { window.engine = await window.chord.open(given); }, options);
    try {
      return await body(page);
    } finally {
      await page.evaluate(() => window.engine.dispose());
    }
  });
}

/**
 * Damages a file of the stored models: sets bytes from `at` to `to` to `value`, cuts the file at `cut`, from its
 * end if that is negative, or puts a `tail` of bytes behind it.
 */
export const damage = (page, name, { at = 0, to = 0, value = 0, cut = Infinity, tail = [] }) => page.evaluate(async (given) => {
  const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('wasm-chord');
  for await (const folder of root.values()) {
    const handle = await folder.getFileHandle(given.name);
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
    bytes.fill(given.value, given.at, given.to);
    // The worker of an engine that was just disposed may still hold the file.
    let writable;
    for (let tries = 0; writable === undefined; tries++) {
      writable = await handle.createWritable().catch(async (error) => {
        if (error.name !== 'NoModificationAllowedError' || tries === 50) throw error;
        await new Promise((done) => setTimeout(done, 100));
      });
    }
    await writable.write(bytes.subarray(0, given.cut));
    await writable.write(new Uint8Array(given.tail));
    await writable.close();
  }
}, { name, at, to, value, cut: Math.min(cut, 2 ** 40), tail: [...tail] });
