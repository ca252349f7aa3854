/**
 * How much is on disk of pages that are still arriving. A page that takes long is put into the journal in
 * part from time to time, so that whoever ends the tab costs it little; one that comes fast is not worth it.
 */

/** Bytes of a page that are worth a record of their own, as a share of the page. */
const STEP_SHARE = 1 / 4;

/** The first bytes of a page. */
export interface PagePart {
  page: number;
  length: number;
}

interface Begun {
  /** Bytes that were written, from the page's start on. */
  length: number;
  /** How many of these bytes the journal lists. */
  recorded: number;
  /** When the first byte came, or the journal was brought up to date. */
  sinceMs: number;
}

export class BegunPages {
  readonly #pages = new Map<number, Begun>();
  readonly #stepBytes: number;

  /** A page that arrives within `stepMs` is recorded only when it is whole. */
  constructor(pageBytes: number, private readonly stepMs: number) {
    this.#stepBytes = pageBytes * STEP_SHARE;
  }

  /** Bytes that are on disk from the page's start on. */
  lengthOf(page: number): number {
    return this.#pages.get(page)?.length ?? 0;
  }

  /** So much of a page is on disk now: less than all of it. */
  grow({ page, length }: PagePart): void {
    const begun = this.#pages.get(page);
    if (begun) begun.length = length;
    else this.#pages.set(page, { length, recorded: 0, sinceMs: performance.now() });
  }

  /** So much of a page is in the journal. */
  recorded({ page, length }: PagePart): void {
    const begun = this.#pages.get(page);
    if (!begun) return;
    begun.recorded = length;
    begun.sinceMs = performance.now();
  }

  /** The page is whole. */
  delete(page: number): void {
    this.#pages.delete(page);
  }

  clear(): void {
    this.#pages.clear();
  }

  /** What should go into the journal: nothing until one page is worth it, then the others along with it. */
  due(): PagePart[] {
    const parts: PagePart[] = [];
    let isWorth = false;
    for (const [page, { length, recorded, sinceMs }] of this.#pages) {
      if (length === recorded || performance.now() - sinceMs < this.stepMs) continue;
      parts.push({ page, length });
      isWorth ||= length - recorded >= this.#stepBytes;
    }
    return isWorth ? parts : [];
  }
}
