/** Which of a repository's files are meant by a name that does not say. */

import { SPLIT_NAME, splitNames } from '../wire/split-name.js';

/** One file of the hub's list. */
export interface HubEntry {
  path: string;
  size?: number;
  sha256?: string;
}

/** The files of one model, or why there is no choice: the paths of all that could be meant, or of all there are. */
export type Choice = { files: HubEntry[] } | { candidates: string[]; isAmbiguous: boolean };

/** Words in the names of files that go with a model and are none. */
const NEVER = /mmproj|(^|[-._/])(i[-_]?matrix|loras?|adapters?|control[-_]?vectors?)([-._/]|$)/i;
/** Words in the names of models that help another one: they are meant only where there is no other. */
const HELPER = /(^|[-._/])(drafts?|drafter|mtp|eagle\d*|medusa|speculator)([-._/]|$)/i;

/**
 * Quantisations in the order in which they are taken where none is named: the usual one first, then those nearest
 * to it in size and worth, those that lose much last.
 */
const PREFERRED = [
  'Q4_K_M', 'Q4_K_S', 'Q4_K_L', 'Q4_K_XL', 'Q4_K', 'IQ4_NL', 'IQ4_XS', 'Q4_0', 'Q4_1', 'MXFP4', 'NVFP4', 'Q5_K_M', 'Q5_K_S', 'Q5_K_L', 'Q5_K_XL', 'Q5_K',
  'Q5_0', 'Q5_1', 'Q3_K_L', 'Q3_K_XL', 'Q3_K_M', 'Q6_K', 'Q6_K_L', 'Q6_K_XL', 'Q8_0', 'Q8_K_XL', 'Q3_K_S', 'Q3_K', 'IQ3_M', 'IQ3_S', 'IQ3_XS', 'IQ3_XXS',
  'Q2_K_L', 'Q2_K_XL', 'Q2_K', 'Q2_K_S', 'BF16', 'F16', 'F32', 'IQ2_M', 'IQ2_S', 'IQ2_XS', 'IQ2_XXS', 'Q2_0', 'TQ2_0', 'TQ1_0', 'Q1_0', 'IQ1_M', 'IQ1_S',
];

/** The model of a repository in quantisation `quant`, or in the one that is preferred. */
export function chooseModel(entries: HubEntry[], quant: string | undefined): Choice {
  const all = wholeModels(entries.filter(({ path }) => /\.gguf$/i.test(path) && !NEVER.test(path)));
  const own = all.filter((files) => !HELPER.test(nameOf(files)));
  const models = own.length > 0 ? own : all;
  for (const wanted of quant === undefined ? PREFERRED : [quant]) {
    const matching = inQuant(models, wanted);
    if (matching.length > 0) return oneOf(matching);
  }
  if (quant === undefined && models.length > 0) return oneOf(models);
  const paths = entries.map(({ path }) => path).filter((path) => /\.gguf$/i.test(path));
  return { candidates: paths.filter((path) => !NEVER.test(path)), isAmbiguous: false };
}

/** Every file that is a whole model, and the parts of every split one that has all of them. */
function wholeModels(entries: HubEntry[]): HubEntry[][] {
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  return entries.flatMap((entry): HubEntry[][] => {
    const match = SPLIT_NAME.exec(entry.path);
    if (!match) return [[entry]];
    if (Number(match[1]) !== 1) return [];
    const parts = splitNames(entry.path, match).map((name) => byPath.get(name));
    return parts.every((part) => part !== undefined) ? [parts] : [];
  });
}

function nameOf([first]: HubEntry[]): string {
  return first?.path ?? '';
}

/** Those that have the tag between separators; `Q4_K` is in `Q4_K_M` only where there is no better match. */
function inQuant(models: HubEntry[][], quant: string): HubEntry[][] {
  const tag = quant.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const exact = new RegExp(`(^|[-._/])${tag}([-./]|$)`, 'i');
  const loose = new RegExp(`(^|[-._/])${tag}([-._/]|$)`, 'i');
  const found = models.filter((files) => exact.test(nameOf(files)));
  if (found.length > 0) return withoutDynamic(found, quant);
  return withoutDynamic(models.filter((files) => loose.test(nameOf(files))), quant);
}

/** Without the variants whose layers have types of their own, `UD-…`, where they were not asked for and there are others. */
function withoutDynamic(models: HubEntry[][], quant: string): HubEntry[][] {
  const dynamic = /(^|[-._/])UD([-._/])/i;
  const plain = models.filter((files) => !dynamic.test(nameOf(files)));
  return plain.length > 0 && !/^UD[-._]/i.test(quant) ? plain : models;
}

/** The one model that all of `models` are, in fewest files; copies of it may lie in folders, or be split. */
function oneOf(models: HubEntry[][]): Choice {
  const plainName = (files: HubEntry[]): string => nameOf(files).replace(SPLIT_NAME, '.gguf').replace(/^.*\//, '').toLowerCase();
  if (new Set(models.map(plainName)).size > 1) return { candidates: models.map(nameOf), isAmbiguous: true };
  const [files = []] = [...models].sort((a, b) => a.length - b.length || nameOf(a).length - nameOf(b).length || (nameOf(a) < nameOf(b) ? -1 : 1));
  return { files };
}
