/** Memory in which pages are hashed: a few buffers that are used again and again. */

export class PageBuffers {
  readonly #free: Uint8Array[] = [];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];
  #count = 0;

  constructor(private readonly pageBytes: number, private readonly most: number) {}

  /** A buffer of one page, once there is one. */
  acquire(): Promise<Uint8Array> {
    const free = this.#free.pop();
    if (free) return Promise.resolve(free);
    if (this.#count < this.most) {
      this.#count += 1;
      return Promise.resolve(new Uint8Array(this.pageBytes));
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  release(buffer: Uint8Array): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(buffer);
    else this.#free.push(buffer);
  }
}
