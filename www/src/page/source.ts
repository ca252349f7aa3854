/** Names of models: checks what the caller wrote and takes it apart. Runs on the page. */

import { ChordError, invalidParameter, invalidSource } from '../wire/errors.js';
import { parseHubAddress, parseHubName } from './hub-name.js';
import type { PartInput } from '../wire/protocol.js';
import { PARTS_MAX, SPLIT_NAME, splitNames } from '../wire/split-name.js';
import type { ModelSource } from '../wire/types.js';

/** Schemes that no page can read a model from. */
const UNREADABLE: ReadonlySet<string> = new Set(['javascript:', 'about:', 'mailto:', 'tel:', 'ftp:', 'ws:', 'wss:']);
/** Characters of a name that an error shows: a `data:` URL has millions. */
const SHOWN_MAX = 200;

/**
 * The parts of `model`, with relative URLs made absolute against `base`. `hub` is the address of the hub that
 * `hf:` names are of. Throws `InvalidSource` for what cannot be read from.
 */
export function parseSource(model: ModelSource, base: string | undefined, hub: string): PartInput[] {
  const list: unknown[] = Array.isArray(model) ? model : [model];
  if (list.length === 0) throw invalidSource('the list of parts is empty');
  if (list.length > PARTS_MAX) {
    throw invalidSource(`${list.length} parts are more than the ${PARTS_MAX} that are supported`);
  }
  const parts = list.map((entry) => parsePart(entry, base, hub));
  const [only] = parts;
  if (parts.length === 1 && only?.kind === 'url') return splitParts(only.url).map((url) => ({ kind: 'url', url }));
  if (parts.length > 1 && parts.some((part) => part.kind === 'hub-model')) {
    throw invalidSource('a list has the files of one model, and "hf:owner/repo" without a file names a whole model');
  }
  return parts;
}

function parsePart(entry: unknown, base: string | undefined, hub: string): PartInput {
  if (typeof Blob !== 'undefined' && entry instanceof Blob) return { kind: 'blob', blob: entry };
  if (entry instanceof URL) return parseUrl(new URL(entry), hub);
  if (typeof entry !== 'string') throw invalidParameter('model', 'a model is a URL, a File, a Blob or a list of them');
  const name = entry.trim();
  if (name === '') throw invalidParameter('model', 'the name of the model is empty');
  const ofHub = parseHubName(name);
  if (ofHub) return ofHub;
  let url: URL;
  try {
    url = new URL(name, base);
  } catch (cause) {
    throw new ChordError('InvalidSource', `"${name.slice(0, SHOWN_MAX)}" is not a URL`, { cause });
  }
  return parseUrl(url, hub);
}

function parseUrl(url: URL, hub: string): PartInput {
  if (UNREADABLE.has(url.protocol)) throw invalidSource(`models cannot be read from ${url.protocol} URLs`, { scheme: url.protocol });
  if (url.protocol === 'file:') {
    throw invalidSource('a page cannot read file: URLs; pass the File that the person chose', { scheme: url.protocol });
  }
  if (url.username !== '' || url.password !== '') {
    throw invalidSource('a URL with a user name or password in it is refused; use headers');
  }
  const ofHub = parseHubAddress(url, hub);
  if (ofHub) return ofHub;
  url.hash = '';
  return { kind: 'url', url: url.href };
}

/** The URLs of all parts where `url` names one part of a split model, else `url` alone. */
function splitParts(url: string): string[] {
  const parsed = new URL(url);
  const match = SPLIT_NAME.exec(parsed.pathname);
  if (!match || parsed.protocol === 'data:') return [url];
  return splitNames(parsed.pathname, match).map((pathname) => {
    parsed.pathname = pathname;
    return parsed.href;
  });
}
