/** Names of models on a hub, as people write them, and the addresses of the hub's pages, as they paste them. */

import { invalidParameter, invalidSource } from '../wire/errors.js';
import { HUB, type PartInput } from '../wire/protocol.js';

const SEGMENT = /^[A-Za-z0-9][\w.-]*$/;
const QUANT = /^[A-Za-z0-9][\w.-]*$/;
const REVISION = /^[A-Za-z0-9][\w.-]*(\/[\w.-]+)*$/;
/** What begins a name: `hf:`, `hf://`, and the hub's own address without its scheme. */
const PREFIX = /^(hf:(\/\/)?|(www\.)?(huggingface\.co|hf\.co)\/)/i;
/** Hosts of the hub's pages. */
const HOSTS: ReadonlySet<string> = new Set(['huggingface.co', 'www.huggingface.co', 'hf.co']);
/** First folders of its addresses that are no owners of models. */
const NO_OWNERS: ReadonlySet<string> = new Set(['api', 'datasets', 'spaces', 'docs', 'blog', 'papers', 'collections', 'models']);
const SHAPE = 'names of the hub look like "hf:owner/repo", "hf:owner/repo:Q4_K_M" or "hf:owner/repo/file.gguf", with "@revision" behind the repo where it is not main';

/** The address of the hub that `option` names, without a slash at its end. Throws `InvalidParameter`. */
export function checkHub(option: unknown): string {
  if (option === undefined) return HUB;
  const refuse = (): never => { throw invalidParameter('hub', 'hub must be the address of a server such as https://huggingface.co'); };
  if (typeof option !== 'string' && !(option instanceof URL)) return refuse();
  const text = String(option).trim();
  try {
    const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`);
    if (!/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') return refuse();
    return url.origin + url.pathname.replace(/\/+$/, '');
  } catch {
    return refuse();
  }
}

/** What a name of the hub stands for; undefined if `name` is none. Throws `InvalidSource` for one that is not whole. */
export function parseHubName(name: string): PartInput | undefined {
  const prefix = PREFIX.exec(name)?.[0];
  if (prefix === undefined) return undefined;
  const rest = name.slice(prefix.length);
  // With the host's name in front it may be the address of a page, whose scheme was left out.
  if (!/^hf:/i.test(prefix)) {
    const page = parseHubAddress(new URL(`https://huggingface.co/${rest}`), HUB);
    if (page) return page;
  }
  const [owner = '', second = '', ...path] = rest.split('/');
  const [, repository = '', revision, quant] = /^([^@:]*)(?:@([^:]*))?(?::(.*))?$/.exec(second) ?? [];
  const repo = `${owner}/${repository}`;
  if (!SEGMENT.test(owner) || !SEGMENT.test(repository)) throw invalidSource(SHAPE);
  const at = revision === undefined ? {} : { revision: checkRevision(revision) };
  if (path.length === 0 || (path.length === 1 && path[0] === '')) {
    if (quant !== undefined && !QUANT.test(quant)) throw invalidSource(SHAPE);
    return { kind: 'hub-model', repo, ...at, ...quant === undefined ? {} : { quant } };
  }
  if (quant !== undefined || !isPath(path)) throw invalidSource(SHAPE);
  return { kind: 'hub', repo, ...at, file: path.join('/') };
}

/**
 * What the address of one of the hub's pages stands for: of a repository, or of one of its files. Undefined for any
 * other, which is read as it is; so are the addresses of the files themselves, below `/resolve/`.
 */
export function parseHubAddress(url: URL, hub: string): PartInput | undefined {
  const isPublic = HOSTS.has(url.hostname);
  const base = isPublic ? HUB : hub;
  const root = `${new URL(base).pathname.replace(/\/$/, '')}/`;
  if ((!isPublic && url.origin !== new URL(base).origin) || !url.pathname.startsWith(root)) return undefined;
  let segments: string[];
  try {
    segments = url.pathname.slice(root.length).split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
  if (segments.at(-1) === '') segments.pop();
  const [owner = '', repository = '', view, revision = '', ...path] = segments;
  if (NO_OWNERS.has(owner) || !SEGMENT.test(owner) || !SEGMENT.test(repository)) return undefined;
  const facts = { repo: `${owner}/${repository}`, ...base === hub ? {} : { hub: base } };
  // The page of a repository may show one of its files.
  const shown = url.searchParams.get('show_file_info');
  const isRepository = view === undefined || (view === 'tree' && revision !== '' && path.length === 0);
  const at = revision === '' || revision === 'main' ? {} : { revision: checkRevision(revision) };
  if (isRepository && shown !== null && isPath(shown.split('/'))) return { kind: 'hub', ...facts, ...at, file: shown };
  if (isRepository && !/\.gguf$/i.test(repository)) return { kind: 'hub-model', ...facts, ...at };
  if (view === 'blob' && isPath(path)) return { kind: 'hub', ...facts, ...at, file: path.join('/') };
  return undefined;
}

function checkRevision(text: string): string {
  let revision = text;
  try {
    revision = decodeURIComponent(text);
  } catch {
    // It is refused below.
  }
  if (!REVISION.test(revision) || revision.includes('..')) throw invalidSource(`"${text.slice(0, 80)}" is no revision: a branch, a tag or a commit`);
  return revision;
}

/** Whether these are the folders and the name of a file, and nothing that leads elsewhere. */
function isPath(path: string[]): boolean {
  return path.length > 0 && path.every((segment) => segment !== '' && !/^\.+$|[\\\0-\x1f?#]/.test(segment));
}
