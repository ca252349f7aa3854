/** Which files a name of the hub stood for, so that a stored model opens without asking the hub. */

import type { PartInput, PartSource } from '../wire/protocol.js';
import { hex, readSmall, storeRoot, writeNote } from './layout.js';
import { digestOf } from './digest.js';

/** The files that the name stood for last; undefined if it is not a name, or not known. */
export async function recallParts(parts: PartInput[], hub: string): Promise<PartSource[] | undefined> {
  try {
    const name = await fileName(parts, hub);
    const bytes = name === undefined ? undefined : await readSmall(await storeRoot(), name);
    const files = bytes && JSON.parse(new TextDecoder().decode(bytes)) as PartSource[];
    return files?.map((file) => ({ ...file, isRecalled: true }));
  } catch {
    return undefined;
  }
}

/** Notes the files behind a name. */
export async function rememberParts(parts: PartInput[], hub: string, files: PartSource[]): Promise<void> {
  try {
    const name = await fileName(parts, hub);
    if (name === undefined) return;
    await writeNote(await storeRoot(), name, JSON.stringify(files));
  } catch {
    // Without it the hub is asked again.
  }
}

async function fileName([part, ...others]: PartInput[], hub: string): Promise<string | undefined> {
  if (others.length > 0) return undefined;
  if (part?.kind !== 'hub' && part?.kind !== 'hub-model') return undefined;
  const named = part.kind === 'hub' ? `/${part.file}` : part.quant?.toLowerCase() ?? '';
  const repo = part.revision === undefined ? part.repo : `${part.repo}@${part.revision}`;
  const digest = await digestOf(new TextEncoder().encode(`${part.hub ?? hub} ${repo} ${named}`));
  return `${hex(digest.subarray(0, 20))}.parts`;
}
