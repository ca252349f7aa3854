// Where a model thinks aloud first, between <think> and </think>, what it thinks is told apart from what it says.

const OPEN = '<think>';
const CLOSE = '</think>';

/** What a piece of the stream brought. */
export interface Parted {
  thought: string;
  said: string;
}

/** Takes a stream apart, however it is cut into pieces. Only a text that begins with the opening tag is thought. */
export class Thinking {
  #state: 'start' | 'opened' | 'thought' | 'gap' | 'said' = 'start';
  /** What may yet turn out to be a tag, or the space around one. */
  #held = '';

  /** The next piece. */
  push(piece: string): Parted {
    const parted: Parted = { thought: '', said: '' };
    this.#held += piece;
    if (this.#state === 'start') this.#begin();
    if (this.#state === 'opened') this.#skipTo('thought');
    if (this.#state === 'thought') this.#think(parted);
    if (this.#state === 'gap') this.#skipTo('said');
    if (this.#state === 'said') parted.said += this.#take(this.#held.length);
    return parted;
  }

  /** What was held back, once the stream has ended. */
  end(): Parted {
    const rest = this.#take(this.#held.length);
    return this.#state === 'thought' ? { thought: rest, said: '' } : { thought: '', said: this.#state === 'gap' ? '' : rest };
  }

  /** Skips the opening tag, or finds that there is none. */
  #begin(): void {
    const text = this.#held.trimStart();
    if (text.startsWith(OPEN)) {
      this.#held = text.slice(OPEN.length);
      this.#state = 'opened';
    } else if (!OPEN.startsWith(text)) {
      this.#state = 'said';
    }
  }

  /** Gives out what is certainly thought. */
  #think(parted: Parted): void {
    const end = this.#held.indexOf(CLOSE);
    if (end < 0) {
      parted.thought += this.#take(this.#held.length - heldBack(this.#held));
      return;
    }
    parted.thought += this.#take(end);
    this.#take(CLOSE.length);
    this.#state = 'gap';
  }

  /** Skips blank lines, after which the next part begins. */
  #skipTo(state: 'thought' | 'said'): void {
    this.#held = this.#held.trimStart();
    if (this.#held) this.#state = state;
  }

  #take(length: number): string {
    const taken = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return taken;
  }
}

/** How many characters at the end of a text may be the beginning of the closing tag. */
function heldBack(text: string): number {
  let length = Math.min(text.length, CLOSE.length - 1);
  while (length > 0 && !CLOSE.startsWith(text.slice(-length))) length -= 1;
  return length;
}
