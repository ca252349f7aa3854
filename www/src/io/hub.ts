/** Finds the files behind a model's name, asking the hub where that is needed. Runs in the IO worker. */

import { ChordError } from '../wire/errors.js';
import type { NetworkSettings, PartInput, PartSource } from '../wire/protocol.js';
import type { RequestRoute } from './route.js';
import { SPLIT_NAME, splitNames } from '../wire/split-name.js';

/** Bytes of one page of the hub's file list. */
const LIST_BYTES_MAX = 16 * 1024 * 1024;
/** Pages of the hub's file list. */
const LIST_PAGES_MAX = 20;
/** Files named in an error message. */
const NAMES_SHOWN_MAX = 40;

/** A JSON document and the headers it came with. */
export interface Document {
  value: unknown;
  headers: Headers;
}

/** Fetches JSON. */
export type FetchJson = (url: string) => Promise<Document>;

/** The files behind checked parts; asks the hub where a name needs it, and for the digests of files that are to be kept. */
export async function resolveParts(parts: PartInput[], network: NetworkSettings, isKept: boolean, fetchJson: FetchJson): Promise<PartSource[]> {
  const files: PartSource[] = [];
  for (const part of parts) {
    switch (part.kind) {
      case 'blob':
        files.push({ name: part.blob instanceof File ? part.blob.name : 'blob', blob: part.blob });
        break;
      case 'url':
        files.push({ name: part.url, url: part.url });
        break;
      case 'hub': {
        const match = parts.length === 1 ? SPLIT_NAME.exec(part.file) : null;
        const names = match ? splitNames(part.file, match) : [part.file];
        files.push(...await (isKept ? describe(part.repo, names, network.hub, fetchJson) : names.map((path) => hubFile(network.hub, part.repo, { path }))));
        break;
      }
      case 'hub-quant':
        files.push(...await findQuant(part.repo, part.quant, network.hub, fetchJson));
        break;
    }
  }
  return files;
}

function hubFile(hub: string, repo: string, { path, size, sha256 }: HubEntry): PartSource {
  return {
    name: `hf:${repo}/${path}`,
    url: `${hub}/${repo}/resolve/main/${encodePath(path)}`,
    ...sha256 === undefined ? {} : { sha256 },
    ...size === undefined ? {} : { identity: { size } },
  };
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

interface HubEntry {
  path: string;
  size?: number;
  sha256?: string;
}

/** Files of one folder of `repo`, with what the hub's list says of them. Without an answer they can be read all the same. */
async function describe(repo: string, paths: string[], hub: string, fetchJson: FetchJson): Promise<PartSource[]> {
  const folder = encodePath(paths[0]?.split('/').slice(0, -1).join('/') ?? '');
  const entries = await listHub(`${hub}/api/models/${repo}/tree/main${folder && `/${folder}`}`, repo, fetchJson).catch(() => []);
  return paths.map((path) => hubFile(hub, repo, entries.find((entry) => entry.path === path) ?? { path }));
}

/** The files of `repo` in the wanted quantisation, by the hub's public list of files. */
async function findQuant(repo: string, quant: string, hub: string, fetchJson: FetchJson): Promise<PartSource[]> {
  const entries = await listHub(`${hub}/api/models/${repo}/tree/main?recursive=true`, repo, fetchJson);
  const models = entries.filter((entry) => /\.gguf$/i.test(entry.path) && !/(^|\/)mmproj/i.test(entry.path));
  const escaped = quant.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const wanted = new RegExp(`(^|[-./])${escaped}([-./]|$)`, 'i');
  const matching = models.filter((entry) => wanted.test(entry.path));
  const chosen = chooseModel(matching);
  if (chosen.length === 0) {
    const available = models.slice(0, NAMES_SHOWN_MAX).map((entry) => entry.path);
    const listing = available.length > 0 ? `it has ${available.join(', ')}` : 'it has no GGUF files';
    throw new ChordError('NotFound', `${repo} has no complete GGUF model "${quant}"; ${listing}`, { details: { available } });
  }
  return chosen.map((entry) => hubFile(hub, repo, entry));
}

/** One whole model among `matching`: an unsplit file first, then the shortest name. */
function chooseModel(matching: HubEntry[]): HubEntry[] {
  const byPath = new Map(matching.map((entry) => [entry.path, entry]));
  const candidates = matching.flatMap((entry): HubEntry[][] => {
    const match = SPLIT_NAME.exec(entry.path);
    if (!match) return [[entry]];
    if (Number(match[1]) !== 1) return [];
    const parts = splitNames(entry.path, match).map((name) => byPath.get(name));
    return parts.every((part) => part !== undefined) ? [parts] : [];
  });
  const rank = (parts: HubEntry[]): [number, number, string] => {
    const path = parts[0]?.path ?? '';
    return [parts.length, path.length, path];
  };
  candidates.sort((a, b) => {
    const [partsA, lengthA, pathA] = rank(a);
    const [partsB, lengthB, pathB] = rank(b);
    return partsA - partsB || lengthA - lengthB || (pathA < pathB ? -1 : 1);
  });
  return candidates[0] ?? [];
}

async function listHub(url: string, repo: string, fetchJson: FetchJson): Promise<HubEntry[]> {
  const entries: HubEntry[] = [];
  let next: string | undefined = url;
  for (let page = 0; next !== undefined && page < LIST_PAGES_MAX; page += 1) {
    const current: string = next;
    const { value, headers } = await fetchJson(current);
    if (!Array.isArray(value)) throw new ChordError('Http', `the file list of ${repo} is not a list`);
    entries.push(...value.flatMap(readHubEntry));
    next = nextPage(headers.get('link'), current);
  }
  return entries;
}

function readHubEntry(value: unknown): HubEntry[] {
  const { type, path, size, lfs } = (value ?? {}) as { type?: unknown; path?: unknown; size?: unknown; lfs?: { oid?: unknown } };
  if (type !== 'file' || typeof path !== 'string') return [];
  const entry: HubEntry = { path };
  if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) entry.size = size;
  if (typeof lfs?.oid === 'string' && /^[0-9a-f]{64}$/.test(lfs.oid)) entry.sha256 = lfs.oid;
  return [entry];
}

/** The `rel="next"` address of a Link header, if it stays on the same origin. */
function nextPage(link: string | null, current: string): string | undefined {
  const address = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(link ?? '')?.[1];
  if (address === undefined) return undefined;
  const url = new URL(address, current);
  return url.origin === new URL(current).origin ? url.href : undefined;
}

/** Reads a JSON document of the hub, within a bound and a time. */
export async function fetchDocument(url: string, route: RequestRoute, timeoutMs: number): Promise<Document> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await route.fetch(undefined, signal);
    if (!response.ok) throw documentError(url, response.status);
    return { value: JSON.parse(await boundedText(response)), headers: response.headers };
  } catch (thrown) {
    if (thrown instanceof ChordError) throw thrown;
    if (signal.aborted) throw new ChordError('Timeout', `${url} did not answer in time`);
    if (thrown instanceof SyntaxError) throw new ChordError('Http', `${url} did not answer with JSON`, { cause: thrown });
    throw new ChordError('Network', `${url} could not be read`, { cause: thrown });
  }
}

function documentError(url: string, status: number): ChordError {
  const details = { status };
  if (status === 401 || status === 403 || status === 404) {
    return new ChordError('NotFound', `${url}: the repository does not exist or is private (HTTP ${status}); private ones need an access token in headers`, { details });
  }
  return new ChordError('Http', `${url}: the hub answered with HTTP ${status}`, { details, retryable: status === 429 || status >= 500 });
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  const reader = (response.body ?? new Blob([]).stream()).getReader();
  let text = '';
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > LIST_BYTES_MAX) {
      void reader.cancel().catch(() => undefined);
      throw new ChordError('Http', 'the answer of the hub is too long');
    }
    text += decoder.decode(value, { stream: true });
  }
}
