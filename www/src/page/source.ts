/** Names of models: checks what the caller wrote and takes it apart. Runs on the page. */

import { ChordError, invalidParameter, invalidSource } from '../wire/errors.js';
import type { PartInput } from '../wire/protocol.js';
import { PARTS_MAX, SPLIT_NAME, splitNames } from '../wire/split-name.js';
import type { ModelSource } from '../wire/types.js';

const HUB_SEGMENT = /^[A-Za-z0-9][\w.-]*$/;
const HUB_QUANT = /^[A-Za-z0-9][\w.-]*$/;

/**
 * The parts of `model`, with relative URLs made absolute against `base`. Throws `InvalidSource` for
 * anything but `http:`, `https:`, `hf:`, files and blobs.
 */
export function parseSource(model: ModelSource, base: string | undefined): PartInput[] {
  const list: unknown[] = Array.isArray(model) ? model : [model];
  if (list.length === 0) throw invalidSource('the list of parts is empty');
  if (list.length > PARTS_MAX) {
    throw invalidSource(`${list.length} parts are more than the ${PARTS_MAX} that are supported`);
  }
  const parts = list.map((entry) => parsePart(entry, base));
  const [only] = parts;
  if (parts.length === 1 && only?.kind === 'url') return splitParts(only.url).map((url) => ({ kind: 'url', url }));
  if (parts.length > 1 && parts.some((part) => part.kind === 'hub-quant')) {
    throw invalidSource('"hf:owner/repo:QUANT" names a whole model, not one part in a list');
  }
  return parts;
}

function parsePart(entry: unknown, base: string | undefined): PartInput {
  if (typeof Blob !== 'undefined' && entry instanceof Blob) return { kind: 'blob', blob: entry };
  if (entry instanceof URL) return { kind: 'url', url: checkUrl(entry) };
  if (typeof entry !== 'string') throw invalidParameter('model', 'a model is a URL, a File, a Blob or a list of them');
  if (/^hf:/i.test(entry)) return parseHubName(entry.slice(3));
  let url: URL;
  try {
    url = new URL(entry, base);
  } catch (cause) {
    throw new ChordError('InvalidSource', `"${entry.slice(0, 200)}" is not a URL`, { cause });
  }
  return { kind: 'url', url: checkUrl(url) };
}

function checkUrl(url: URL): string {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    const hint = url.protocol === 'blob:' ? '; pass the Blob itself' : '';
    throw invalidSource(`models cannot be read from ${url.protocol} URLs${hint}`, { scheme: url.protocol });
  }
  if (url.username !== '' || url.password !== '') {
    throw invalidSource('a URL with a user name or password in it is refused; use headers');
  }
  url.hash = '';
  return url.href;
}

function parseHubName(name: string): PartInput {
  const [owner = '', second = '', ...path] = name.split('/');
  const shape = 'hf: names look like "hf:owner/repo/file.gguf" or "hf:owner/repo:Q4_K_M"';
  const colon = second.indexOf(':');
  const repository = colon < 0 ? second : second.slice(0, colon);
  if (!HUB_SEGMENT.test(owner) || !HUB_SEGMENT.test(repository)) throw invalidSource(shape);
  const repo = `${owner}/${repository}`;
  if (colon >= 0) {
    const quant = second.slice(colon + 1);
    if (path.length > 0 || !HUB_QUANT.test(quant)) throw invalidSource(shape);
    return { kind: 'hub-quant', repo, quant };
  }
  const plain = path.length > 0 && path.every((segment) => segment !== '' && !/^\.+$|[\\\0-\x1f?#]/.test(segment));
  if (!plain) throw invalidSource(shape);
  return { kind: 'hub', repo, file: path.join('/') };
}

/** The URLs of all parts where `url` names one part of a split model, else `url` alone. */
function splitParts(url: string): string[] {
  const parsed = new URL(url);
  const match = SPLIT_NAME.exec(parsed.pathname);
  if (!match) return [url];
  return splitNames(parsed.pathname, match).map((pathname) => {
    parsed.pathname = pathname;
    return parsed.href;
  });
}
