/** Finds the files behind a model's name, asking the hub where that is needed. Runs in the IO worker. */

import { ChordError } from '../wire/errors.js';
import { chooseModel, type HubEntry } from './hub-choice.js';
import type { NetworkSettings, PartInput, PartSource } from '../wire/protocol.js';
import { isWhole, type RequestRoute } from './route.js';
import { SPLIT_NAME, splitNames } from '../wire/split-name.js';

/** Bytes of one page of the hub's file list. */
const LIST_BYTES_MAX = 16 * 1024 * 1024;
/** Pages of the hub's file list. */
const LIST_PAGES_MAX = 20;
/** Files named in an error message. */
const NAMES_SHOWN_MAX = 40;

/**
 * Addresses that are not read by ranges. Chromium answers one of a file of an extension, `chrome-extension:`, with that
 * range, but as if it were the whole file.
 */
const IN_ONE_PIECE = /^(?:blob|data|[a-z-]+-extension):/i;

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
        files.push(await (IN_ONE_PIECE.test(part.url) ? fetchBlob(part.url) : { name: part.url, url: part.url }));
        break;
      case 'hub': {
        const repository = new Repository(part, network, fetchJson);
        const match = parts.length === 1 ? SPLIT_NAME.exec(part.file) : null;
        const names = match ? splitNames(part.file, match) : [part.file];
        files.push(...await (isKept ? repository.describe(names) : names.map((path) => repository.file({ path }))));
        break;
      }
      case 'hub-model':
        files.push(...await new Repository(part, network, fetchJson).find(part.quant));
        break;
    }
  }
  return files;
}

/** What such a URL stands for. Its bytes are on this device already, and are read there like a person's file. */
async function fetchBlob(url: string): Promise<PartSource> {
  const scheme = url.slice(0, url.indexOf(':'));
  const name = scheme.endsWith('-extension') ? url : `the ${scheme}: URL`;
  try {
    const response = await fetch(url);
    if (isWhole(response)) return { name, blob: await response.blob() };
    throw new ChordError('NotFound', `${name} does not exist (HTTP ${response.status})`, { details: { status: response.status } });
  } catch (cause) {
    if (cause instanceof ChordError) throw cause;
    throw new ChordError('NotFound', `${name} cannot be read: there is no such file, it is of another page, was revoked, or the content security policy has no connect-src for it`, { cause });
  }
}

/** The address of the hub that a part is on. */
export function hubOf(part: PartInput | undefined, { hub }: NetworkSettings): string {
  return part && 'hub' in part && part.hub !== undefined ? part.hub : hub;
}

/** One revision of a repository. */
class Repository {
  readonly #hub: string;
  readonly #revision: string;
  readonly #repo: string;

  constructor(part: Extract<PartInput, { repo: string }>, network: NetworkSettings, private readonly fetchJson: FetchJson) {
    this.#hub = hubOf(part, network);
    this.#repo = part.repo;
    this.#revision = part.revision ?? 'main';
  }

  /** Its name, as people write it. */
  get #name(): string {
    return this.#revision === 'main' ? this.#repo : `${this.#repo}@${this.#revision}`;
  }

  file({ path, size, sha256 }: HubEntry): PartSource {
    return {
      name: `hf:${this.#name}/${path}`,
      url: `${this.#hub}/${this.#repo}/resolve/${encodeURIComponent(this.#revision)}/${encodePath(path)}`,
      ...sha256 === undefined ? {} : { sha256 },
      ...size === undefined ? {} : { identity: { size } },
    };
  }

  /** Files of one folder, with what the hub's list says of them. Without an answer they can be read all the same. */
  async describe(paths: string[]): Promise<PartSource[]> {
    const folder = encodePath(paths[0]?.split('/').slice(0, -1).join('/') ?? '');
    const entries = await this.#list(folder && `/${folder}`).catch(() => []);
    return paths.map((path) => this.file(entries.find((entry) => entry.path === path) ?? { path }));
  }

  /** The files of its model in the wanted quantisation, or in the one that suits most people. */
  async find(quant: string | undefined): Promise<PartSource[]> {
    const choice = chooseModel(await this.#list('?recursive=true'), quant);
    if ('files' in choice) return choice.files.map((entry) => this.file(entry));
    const candidates = choice.candidates.slice(0, NAMES_SHOWN_MAX);
    const listing = candidates.join(', ');
    const wanted = quant === undefined ? 'GGUF model' : `GGUF model "${quant}"`;
    if (choice.isAmbiguous) {
      throw new ChordError('InvalidSource', `${this.#name} has more than one ${wanted}: ${listing}; name one of them, as in "hf:${this.#name}/${candidates[0]}"`, { details: { candidates } });
    }
    const has = candidates.length > 0 ? `it has ${listing}` : 'it has no GGUF files';
    throw new ChordError('NotFound', `${this.#name} has no complete ${wanted}; ${has}`, { details: { available: candidates } });
  }

  async #list(rest: string): Promise<HubEntry[]> {
    return listHub(`${this.#hub}/api/models/${this.#repo}/tree/${encodeURIComponent(this.#revision)}${rest}`, this.#name, this.fetchJson);
  }
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
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
  if (status === 404) return new ChordError('NotFound', `${url}: the hub has no such repository or revision (HTTP ${status})`, { details });
  if (status === 401 || status === 403) {
    return new ChordError('Http', `${url}: the repository is private or gated, or does not exist (HTTP ${status}); pass an access token in headers`, { details });
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
