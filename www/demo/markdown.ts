// Shows a model's Markdown as it streams. The text is untrusted. `marked` only takes it apart into tokens; the
// elements are made here, of a few kinds, and everything else, HTML above all, becomes a text node. Nothing is fetched:
// an image is a link to it.

import { Marked, type Token, type Tokens } from 'marked';
import { urlOf } from './address.js';
import { button, make } from './dom.js';

/** After a drawing, the next one waits so many times as long as it took. */
const REST_FACTOR = 8;
/** Lists and quotations nested deeper are shown as they were written. */
const DEPTH_MAX = 16;
/** A line that opens more of them at once: taking it apart could exhaust the stack. */
const TOO_DEEP = /^(?:[ \t]*(?:>|[-*+][ \t]|\d{1,9}[.)][ \t])){17}/m;
/** A stretch that is longer is shown as it was written, unless it is code: taking it apart could take too long. */
const STRETCH_MAX = 12_000;

const parser = new Marked({
  gfm: true,
  tokenizer: {
    // A definition would vanish from the text, and blocks of HTML would hide the Markdown in them.
    def: () => undefined,
    html: () => undefined,
  },
});

/**
 * Appends streamed Markdown to an element. The text is cut into stretches that cannot change each other; only the last
 * one is drawn anew while it grows, and the cuts depend on nothing but the text.
 */
export class MarkdownView {
  readonly #host: HTMLElement;
  /** The text of the last stretch. */
  #open = '';
  readonly #cutter = new Cutter();
  /** Elements of the stretches before it. */
  #settled = 0;
  /** What each element of the last stretch was made of. */
  #sources: string[] = [];
  #frame = 0;
  #restUntil = 0;

  constructor(host: HTMLElement) {
    this.#host = host;
  }

  /** Adds the next piece of the stream; it is drawn with one of the next frames. */
  append(piece: string): void {
    this.#open += piece.replaceAll('\r', '');
    if (!this.#frame) this.#schedule();
  }

  /** Draws all of it; call it when the stream has ended. */
  finish(): void {
    cancelAnimationFrame(this.#frame);
    this.#cut(true);
    this.#settle(this.#open);
    this.#open = '';
  }

  #schedule(): void {
    this.#frame = requestAnimationFrame((now) => {
      if (now < this.#restUntil) return this.#schedule();
      this.#frame = 0;
      const start = performance.now();
      this.#cut(false);
      this.#draw();
      const end = performance.now();
      this.#restUntil = end + REST_FACTOR * (end - start);
    });
  }

  /** Settles every stretch that is complete. */
  #cut(isEnd: boolean): void {
    for (let length = this.#cutter.next(this.#open, isEnd); length > 0; length = this.#cutter.next(this.#open, isEnd)) {
      this.#settle(this.#open.slice(0, length));
      this.#open = this.#open.slice(length);
    }
  }

  /** Draws a stretch for good. What looks the same already stays in place, with what is selected in it. */
  #settle(text: string): void {
    const made = blocksOf(text).map(drawn);
    made.forEach((block, index) => {
      const present = this.#host.children[this.#settled + index];
      if (!present?.isEqualNode(block)) this.#put(index, block);
    });
    this.#trim(made.length);
    this.#settled += made.length;
    this.#sources = [];
  }

  /** Draws the last stretch as it is so far. */
  #draw(): void {
    const blocks = blocksOf(this.#open);
    blocks.forEach((block, index) => {
      if (this.#sources[index] === block.raw) return;
      this.#sources[index] = block.raw;
      const present = this.#host.children[this.#settled + index];
      const code = block.type === 'code' && present?.classList.contains('code') ? present.querySelector('code') : null;
      // A block of code grows in place, so that it stays scrolled.
      if (code) code.textContent = (block as Tokens.Code).text;
      else this.#put(index, drawn(block));
    });
    this.#trim(blocks.length);
  }

  #put(index: number, made: HTMLElement): void {
    const present = this.#host.children[this.#settled + index];
    if (present) present.replaceWith(made);
    else this.#host.append(made);
  }

  #trim(count: number): void {
    while (this.#host.childElementCount > this.#settled + count) this.#host.lastElementChild?.remove();
    this.#sources.length = Math.min(this.#sources.length, count);
  }
}

const FENCE_OPENS = /^(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*(?:(`{3,})[^`]*|(~{3,}).*)$/;
const FENCE_CLOSES = /^[ \t>]*(`{3,}|~{3,})[ \t]*$/;
/** A line that may go on with what stood before a blank line: indented, or an item of a list. */
const GOES_ON = /^(?:\s|[-*+](?:\s|$)|\d{1,9}[.)](?:\s|$))/;

/** Finds where a text may be cut: before a line after a blank one that goes on with nothing, outside of code. */
class Cutter {
  /** Where the first line begins that was not looked at. */
  #at = 0;
  #fence: string | undefined;
  #isAfterBlank = false;

  /** The length of the first stretch of `text`, which has grown at its end since the last call; 0 if it may still grow. */
  next(text: string, isEnd: boolean): number {
    while (this.#at < text.length) {
      const newline = text.indexOf('\n', this.#at);
      if (newline < 0 && !isEnd) return 0;
      const end = newline < 0 ? text.length : newline;
      const line = text.slice(this.#at, end);
      const isBlank = line.trim() === '';
      if (this.#at > 0 && this.#isAfterBlank && !this.#fence && !isBlank && !GOES_ON.test(line)) {
        const length = this.#at;
        this.#at = 0;
        this.#isAfterBlank = false;
        return length;
      }
      this.#follow(line);
      this.#isAfterBlank = isBlank;
      this.#at = end + 1;
    }
    return 0;
  }

  /** Notes where code begins and ends. */
  #follow(line: string): void {
    if (this.#fence) {
      const closing = FENCE_CLOSES.exec(line)?.[1];
      if (closing?.startsWith(this.#fence)) this.#fence = undefined;
    } else {
      const [, ticks, tildes] = FENCE_OPENS.exec(line) ?? [];
      this.#fence = ticks ?? tildes;
    }
  }
}

/** The blocks of a stretch; one of plain text where it cannot be taken apart. */
function blocksOf(text: string): Token[] {
  const asWritten: Token[] = text.trim() ? [{ type: 'plain', raw: text, text }] : [];
  if (text.length > STRETCH_MAX && !FENCE_OPENS.test(text.slice(0, text.indexOf('\n')))) return asWritten;
  if (TOO_DEEP.test(text)) return asWritten;
  try {
    return parser.lexer(text).filter(isShown);
  } catch {
    // Whatever else exhausts the stack.
    return asWritten;
  }
}

function isShown({ type }: Token): boolean {
  return type !== 'space';
}

/** The element of a block; plain text where it is nested too deep to be made. */
function drawn(block: Token): HTMLElement {
  try {
    return element(block, 0);
  } catch {
    return plain(block.raw);
  }
}

function element(block: Token, depth: number): HTMLElement {
  const nested = (tokens: Token[] | undefined) => (tokens ?? []).filter(isShown).map((token) => inBlock(token, depth + 1));
  if (depth > DEPTH_MAX) return plain(block.raw);
  switch (block.type) {
    case 'paragraph':
      return make('p', '', ...inline(block['tokens'] as Token[]));
    case 'heading': {
      const heading = make('h2', '', ...inline(block['tokens'] as Token[]));
      heading.dataset['depth'] = String(block['depth']);
      return heading;
    }
    case 'code':
      return codeBlock(block as Tokens.Code);
    case 'blockquote':
      return make('blockquote', '', ...nested(block['tokens'] as Token[]));
    case 'list': {
      const { ordered, start, items } = block as Tokens.List;
      const list = make(ordered ? 'ol' : 'ul', '', ...items.map((item) => make('li', '', ...(item.tokens.filter(isShown).map((token) => inBlock(token, depth + 1))))));
      if (list instanceof HTMLOListElement && typeof start === 'number') list.start = start;
      return list;
    }
    case 'table':
      return table(block as Tokens.Table);
    case 'hr':
      return make('hr');
    default:
      return plain(block.raw);
  }
}

/** A token within an item of a list or a quotation: text that is not a paragraph stands there by itself. */
function inBlock(token: Token, depth: number): Node {
  if (token.type === 'text') {
    const fragment = document.createDocumentFragment();
    fragment.append(...inline((token as Tokens.Text).tokens ?? [token]));
    return fragment;
  }
  if (token.type === 'checkbox') return document.createTextNode((token as Tokens.Checkbox).checked ? '☑ ' : '☐ ');
  return element(token, depth);
}

function plain(text: string): HTMLElement {
  return make('p', 'plain', text.replace(/\n+$/, ''));
}

function codeBlock({ text }: Tokens.Code): HTMLElement {
  const block = make('pre', 'code', make('code', '', text));
  block.tabIndex = 0; // It scrolls sideways, from the keyboard too.
  return block;
}

function table({ header, rows }: Tokens.Table): HTMLElement {
  const row = (cells: Tokens.TableCell[], tag: 'th' | 'td') => make('tr', '', ...cells.map((cell) => make(tag, '', ...inline(cell.tokens))));
  const whole = make('table', '', make('thead', '', row(header, 'th')), make('tbody', '', ...rows.map((cells) => row(cells, 'td'))));
  const frame = make('div', 'table', whole);
  frame.tabIndex = 0;
  return frame;
}

/** The nodes of tokens within a line. */
function inline(tokens: Token[]): (Node | string)[] {
  return tokens.map((token): Node | string => {
    const children = () => inline((token as Tokens.Generic).tokens ?? []);
    switch (token.type) {
      case 'strong':
      case 'em':
      case 'del':
        return make(token.type, '', ...children());
      case 'codespan':
        return make('code', '', token['text'] as string);
      case 'br':
        return make('br');
      case 'link':
        return link(token['href'] as string, children()) ?? token.raw;
      case 'image':
        return link(token['href'] as string, [token['text'] as string || 'image']) ?? token.raw;
      case 'checkbox':
        return (token as Tokens.Checkbox).checked ? '☑ ' : '☐ ';
      case 'escape':
        return token['text'] as string;
      case 'text':
        return (token as Tokens.Text).tokens ? make('span', '', ...children()) : decoded(token.raw);
      default:
        return token.raw;
    }
  });
}

/** A link to a page or to a mail address; undefined for anything else, scripts above all. */
function link(address: string, children: (Node | string)[]): HTMLElement | undefined {
  const url = urlOf(address);
  if (!url || !['http:', 'https:', 'mailto:'].includes(url.protocol)) return undefined;
  const anchor = make('a', '', ...children);
  anchor.href = url.href;
  anchor.target = '_blank';
  anchor.rel = 'noopener noreferrer nofollow';
  anchor.title = anchor.href; // Where it leads, whatever its text says.
  return anchor;
}

const NAMED = new Map([['amp', '&'], ['lt', '<'], ['gt', '>'], ['quot', '"'], ['apos', "'"], ['nbsp', '\u00a0'], ['mdash', '—'], ['ndash', '–'], ['hellip', '…']]);

/** Character references, as Markdown has them from HTML: the few that models write. */
function decoded(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,8}));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (name) return NAMED.get(name) ?? whole;
    const point = decimal ? Number(decimal) : Number.parseInt(hex ?? '', 16);
    return point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff) ? String.fromCodePoint(point) : whole;
  });
}

/** A button that copies a text, and says so for a moment. */
export function copyButton(text: () => string): HTMLElement {
  const copy = button('Copy', () => {
    navigator.clipboard.writeText(text()).then(
      () => say('Copied'),
      () => say('The browser does not allow it'),
    );
  }, 'quiet');
  const say = (words: string) => {
    copy.textContent = words;
    setTimeout(() => (copy.textContent = 'Copy'), 1500);
  };
  return copy;
}
