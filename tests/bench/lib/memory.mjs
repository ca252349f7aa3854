/** How much memory a browser's processes hold, and how long they computed, from /proc (Linux). */

import { readFile, readdir } from 'node:fs/promises';

/** Pause between samples. */
const SAMPLE_MS = 50;

/** Watches the descendants of one process until stopped. */
export class MemoryWatch {
  #root;
  #stopped = false;
  #loop;
  /** Bytes at the worst moment: `tab` the largest renderer, `all` every process of the browser. */
  peak = { tab: 0, all: 0 };

  constructor(pid) {
    this.#root = pid;
    this.#loop = this.#run();
  }

  /** Ends the watch and returns the peak. */
  async stop() {
    this.#stopped = true;
    await this.#loop;
    return this.peak;
  }

  async #run() {
    while (!this.#stopped) {
      const processes = await descendants(this.#root);
      const sizes = await Promise.all(processes.map(async (pid) => ({ bytes: await proportionalBytes(pid), isTab: await isRenderer(pid) })));
      this.peak.tab = Math.max(this.peak.tab, ...sizes.filter(({ isTab }) => isTab).map(({ bytes }) => bytes));
      this.peak.all = Math.max(this.peak.all, sizes.reduce((total, { bytes }) => total + bytes, 0));
      await new Promise((done) => setTimeout(done, SAMPLE_MS));
    }
  }
}

/** A process and all that it started. */
export async function descendants(root) {
  const children = new Map();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = [root];
  for (let index = 0; index < found.length; index++) found.push(...(children.get(found[index]) ?? []));
  return found;
}

export async function isRenderer(pid) {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes('--type=renderer');
}

/** Ticks of the processor's clock a second, as /proc counts. */
const TICKS = 100;

/** Seconds that the tabs of a browser computed so far, on all cores together. */
export async function tabSeconds(root) {
  const times = (await descendants(root)).map(async (pid) => {
    if (!(await isRenderer(pid))) return 0;
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const [user, system] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13);
    return (Number(user ?? 0) + Number(system ?? 0)) / TICKS;
  });
  return (await Promise.all(times)).reduce((sum, seconds) => sum + seconds, 0);
}

/** A process's share of memory (PSS): pages that several processes map count in parts. 0 once it has ended. */
async function proportionalBytes(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}
