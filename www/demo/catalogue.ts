// Models to begin with: public files of the Hugging Face hub, each known to be of a kind that runs here.

import { button, make } from './dom.js';

/** A model by name, before anything of it has been fetched. */
export interface Known {
  name: string;
  source: string;
  /** Its download, rounded. */
  size: string;
  /** What it takes, in a few words. */
  needs: string;
}

export const KNOWN: readonly Known[] = [
  { name: 'SmolLM2 135M', source: 'hf:bartowski/SmolLM2-135M-Instruct-GGUF:Q8_0', size: '145 MB', needs: 'for any phone' },
  { name: 'SmolLM2 360M', source: 'hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:Q8_0', size: '386 MB', needs: 'for a phone' },
  { name: 'Qwen3 0.6B', source: 'hf:Qwen/Qwen3-0.6B-GGUF:Q8_0', size: '639 MB', needs: 'for a laptop; it thinks first' },
  { name: 'Gemma 3 1B', source: 'hf:unsloth/gemma-3-1b-it-GGUF:Q4_K_M', size: '806 MB', needs: 'for a laptop' },
  { name: 'Llama 3.2 1B', source: 'hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M', size: '808 MB', needs: 'for a laptop' },
  { name: 'Llama 3.2 3B', source: 'hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M', size: '2 GB', needs: 'for a laptop with a GPU' },
];

/** A card that loads one of them. */
export function card({ name, size, needs }: Omit<Known, 'source'>, onClick: () => void): HTMLElement {
  const made = button('', onClick);
  made.append(make('span', 'card-name', name), make('span', 'card-facts', `${size}, ${needs}`));
  return make('li', '', made);
}
