/** How much memory a browser's processes hold, sampled from /proc (Linux). */

import { readFile } from 'node:fs/promises';

/** Pause between samples. */
const SAMPLE_MS = 100;

/** Watches the processes of one browser until stopped. */
export class MemoryWatch {
  #session;
  #stopped = false;
  #loop;
  /** Bytes at the worst moment: `tab` all renderers together, `all` every process of the browser. */
  peak = { tab: 0, all: 0 };

  static async start(browser) {
    const watch = new MemoryWatch();
    watch.#session = await browser.newBrowserCDPSession();
    watch.#loop = watch.#run();
    return watch;
  }

  /** Ends the watch and returns the peak. */
  async stop() {
    this.#stopped = true;
    await this.#loop;
    await this.#session.detach();
    return this.peak;
  }

  async #run() {
    while (!this.#stopped) {
      const { processInfo } = await this.#session.send('SystemInfo.getProcessInfo');
      const sizes = await Promise.all(processInfo.map(async ({ id, type }) => ({ type, bytes: await proportionalBytes(id) })));
      const sum = (list) => list.reduce((total, { bytes }) => total + bytes, 0);
      this.peak.tab = Math.max(this.peak.tab, sum(sizes.filter(({ type }) => type === 'renderer')));
      this.peak.all = Math.max(this.peak.all, sum(sizes));
      await new Promise((done) => setTimeout(done, SAMPLE_MS));
    }
  }
}

/** A process's share of memory (PSS): pages that several processes map count in parts. 0 once it has ended. */
async function proportionalBytes(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}
