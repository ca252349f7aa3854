// Shows model output as it streams. The output is untrusted: it only ever becomes text nodes. The one
// structure that is recognised is paragraphs and fenced code, each a line-by-line decision, so the work
// is linear in the length of the text however it is cut into pieces.

import { make } from './dom.js';

const FENCE = '```';

/** Appends streamed text to an element as paragraphs and code blocks. */
export class TextView {
  readonly #host: HTMLElement;
  /** The text node that grows, or undefined between blocks. */
  #tail: Text | undefined;
  #inCode = false;
  /** The start of a line that may yet turn out to be a fence or blank. */
  #held = '';
  #lineStart = true;

  constructor(host: HTMLElement) {
    this.#host = host;
  }

  /** Adds the next piece of the stream. */
  append(piece: string): void {
    let rest = piece;
    while (rest) {
      const newline = rest.indexOf('\n');
      const line = newline < 0 ? rest : rest.slice(0, newline);
      this.#part(line);
      if (newline < 0) return;
      this.#endLine();
      rest = rest.slice(newline + 1);
    }
  }

  /** Shows what was held back; call it when the stream has ended. */
  finish(): void {
    if (this.#held && !this.#held.startsWith(FENCE)) this.#write(this.#held);
    this.#held = '';
    this.#tail = undefined;
  }

  #part(text: string): void {
    if (!this.#lineStart) return this.#write(text);
    this.#held += text;
    if (mayBeFence(this.#held)) return;
    this.#lineStart = false;
    this.#write(this.#held);
    this.#held = '';
  }

  #endLine(): void {
    if (this.#lineStart && this.#held.startsWith(FENCE)) {
      this.#inCode = !this.#inCode;
      this.#tail = undefined;
    } else if (this.#lineStart && !this.#inCode && this.#held === '') {
      this.#tail = undefined;
    } else {
      this.#write(`${this.#held}\n`);
    }
    this.#held = '';
    this.#lineStart = true;
  }

  #write(text: string): void {
    if (!text) return;
    if (!this.#tail) {
      this.#tail = document.createTextNode('');
      this.#host.append(this.#inCode ? make('pre', '', make('code', '', this.#tail)) : make('p', '', this.#tail));
    }
    this.#tail.appendData(text);
  }
}

/** True for '', '`', '``' and for anything after three backticks: the rest of that line names a language. */
function mayBeFence(lineStart: string): boolean {
  return FENCE.startsWith(lineStart) || lineStart.startsWith(FENCE);
}
