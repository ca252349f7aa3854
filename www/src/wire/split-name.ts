/** Names of the parts of a split model, as llama.cpp's `gguf-split` numbers them. */

import { invalidSource } from './errors.js';

/** Parts of one split model. */
export const PARTS_MAX = 1_000;

/** The end of a part's name in a split model: its number and the count. */
export const SPLIT_NAME = /-(\d{5})-of-(\d{5})\.gguf$/i;

/** The names of all parts of the split model that `name`, matched by `SPLIT_NAME`, is one of. */
export function splitNames(name: string, match: RegExpExecArray): string[] {
  const part = Number(match[1]);
  const count = Number(match[2]);
  if (count === 0 || part === 0 || part > count) throw invalidSource(`"${match[0]}" numbers no part of a split model`);
  if (count > PARTS_MAX) throw invalidSource(`${count} parts are more than the ${PARTS_MAX} that are supported`);
  const stem = name.slice(0, match.index);
  return Array.from({ length: count }, (_, index) => `${stem}-${String(index + 1).padStart(5, '0')}-of-${match[2]}.gguf`);
}
