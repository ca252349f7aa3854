/**
 * Where the store lies: one folder in the origin's private file system for each file of a model, with
 *
 *     pages    the file itself, sparse; pages that are not there yet are holes
 *     journal  which pages are there, see journal.ts
 *     used     when it was opened last, milliseconds since 1970 as text
 *     doubt    there when the file must be looked at again before its pages are used: `changed` on the
 *              server, or `wrong` with the SHA-256 that the whole has instead of the one that is known of it
 *     sessions a folder of saved sessions, see sessions.ts
 *     checked  the generation (see journal.ts) whose whole was compared with the SHA-256 that is known of it
 */

/** Folders of another version are cleared when they are opened. */
export const LAYOUT_VERSION = 1;
/** Bytes of one page of a file: what is verified as a whole. */
export const PAGE_BYTES = 4 * 1024 * 1024;

const ROOT = 'wasm-chord';

/** How the store is used; tests make its pages smaller. */
export interface StoreSettings {
  isUsed: boolean;
  pageBytes: number;
  /** A page that takes longer than this to arrive goes into the journal in parts. */
  stepMs: number;
  /** How long a tab waits for bytes from the one that fetches, without any coming, before it fetches by itself. */
  ownerSilentMs: number;
  /** Only what is there already is read, and nothing is written: for a look at a header. */
  isGlance: boolean;
  /** Pages in memory at any time, of all files together, each a second time while it is hashed. */
  pageBuffers: number;
}

export const STORE_DEFAULTS: StoreSettings = { isUsed: true, pageBytes: PAGE_BYTES, stepMs: 100, ownerSilentMs: 4_000, isGlance: false, pageBuffers: 2 };

/** A file opened for synchronous access, as dedicated workers have it. */
export interface SyncFile {
  read(buffer: Uint8Array, options: { at: number }): number;
  write(buffer: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** Query parameters that sign an address, carry a secret or say how to show a file: they change while the file does not. */
const SIGNATURE = /^(download|x-(amz|goog|ms|oss)-.*|.*signature|sig|token|access_token|auth|authorization|key|api_?key|expires|policy|key-pair-id|se|sp|sv|sr|st|spr|sk[a-z]*|response-content-.*)$/i;

/** `url` without what signs it: what a stored file is known by. */
export function sourceOf(url: string): string {
  const parsed = new URL(url);
  for (const name of [...parsed.searchParams.keys()]) {
    if (SIGNATURE.test(name)) parsed.searchParams.delete(name);
  }
  parsed.hash = '';
  return parsed.href;
}

/** The name of the folder for a file of a model; undefined where it has no name that lasts. */
export async function folderOf({ url, blob }: { url?: string; blob?: Blob }): Promise<string | undefined> {
  if (url !== undefined) return /^(data|blob):/i.test(url) ? undefined : folderName(url);
  if (!blob) return undefined;
  const { name = '', lastModified = 0 } = blob as Partial<File>;
  return folderName(`file:///${encodeURIComponent(name)}?bytes=${blob.size}&time=${lastModified}`);
}

/** A folder within another; undefined if there is none. */
export async function existingFolder(parent: FileSystemDirectoryHandle, name: string): Promise<FileSystemDirectoryHandle | undefined> {
  return parent.getDirectoryHandle(name).catch((thrown: unknown) => {
    if (isNamed(thrown, 'NotFoundError')) return undefined;
    throw thrown;
  });
}

/** The name of the folder for the file at `url`. */
export async function folderName(url: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(sourceOf(url)));
  return hex(new Uint8Array(digest, 0, 20));
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Whether there is a private file system at all. */
export function hasFileSystem(): boolean {
  return typeof (globalThis.navigator?.storage as StorageManager | undefined)?.getDirectory === 'function';
}

/** The folder of all stored files. Throws where the browser grants none. */
export async function storeRoot(): Promise<FileSystemDirectoryHandle> {
  const origin = await navigator.storage.getDirectory();
  return origin.getDirectoryHandle(ROOT, { create: true });
}

/**
 * Opens a file of a folder. Where the browser can, several workers may have it open: one of them
 * writes, which a lock sees to, and the others verify what they read. Elsewhere it is exclusive.
 */
export async function openSync(folder: FileSystemDirectoryHandle, name: string, create: boolean): Promise<SyncFile> {
  const handle = await folder.getFileHandle(name, { create }) as FileSystemFileHandle & {
    createSyncAccessHandle(options: { mode: string }): Promise<SyncFile>;
  };
  return handle.createSyncAccessHandle({ mode: 'readwrite-unsafe' });
}

/** Times that the owner of a folder tries to open a file of it. */
const OPENINGS_MAX = 60;
/** Pause between two openings. */
const OPENING_PAUSE_MS = 50;

/**
 * Opens a file of a folder for its owner. Where a file is exclusive, whoever has it open yet, a worker that was ended or
 * a tab that looks, is about to let go of it.
 */
export async function openOwned(folder: FileSystemDirectoryHandle, name: string): Promise<SyncFile> {
  for (let count = 1; ; count += 1) {
    try {
      return await openSync(folder, name, true);
    } catch (thrown) {
      if (!isInUse(thrown) || count === OPENINGS_MAX) throw thrown;
      await new Promise((done) => setTimeout(done, OPENING_PAUSE_MS));
    }
  }
}

/** Whether several workers may have a file open in this browser: then the engine reads what the IO worker has stored. */
export function sharesFiles(): boolean {
  const { prototype } = (globalThis as { FileSystemSyncAccessHandle?: { prototype: object } }).FileSystemSyncAccessHandle ?? {};
  return prototype !== undefined && 'mode' in prototype;
}

/** The bytes of a small file, whoever has it open; undefined if there is none. */
export async function readSmall(folder: FileSystemDirectoryHandle, name: string): Promise<Uint8Array | undefined> {
  try {
    const file = await openSync(folder, name, false);
    try {
      const bytes = new Uint8Array(file.getSize());
      return bytes.subarray(0, file.read(bytes, { at: 0 }));
    } finally {
      file.close();
    }
  } catch (thrown) {
    if (isNamed(thrown, 'NotFoundError')) return undefined;
  }
  try {
    const handle = await folder.getFileHandle(name);
    return new Uint8Array(await (await handle.getFile()).arrayBuffer());
  } catch {
    return undefined;
  }
}

/** The text of a small file; undefined if there is none. */
export async function readNote(folder: FileSystemDirectoryHandle, name: string): Promise<string | undefined> {
  const bytes = await readSmall(folder, name);
  return bytes && new TextDecoder().decode(bytes);
}

/** Writes a small file, or removes it if `text` is undefined. */
export async function writeNote(folder: FileSystemDirectoryHandle, name: string, text: string | undefined): Promise<void> {
  if (text === undefined) {
    await folder.removeEntry(name).catch((thrown: unknown) => {
      if (!isNamed(thrown, 'NotFoundError')) throw thrown;
    });
    return;
  }
  const file = await openSync(folder, name, true);
  try {
    file.truncate(0);
    writeAll(file, new TextEncoder().encode(text), 0);
    file.flush();
  } finally {
    file.close();
  }
}

/** Notes that the folder is in use now. */
export function touch(folder: FileSystemDirectoryHandle): Promise<void> {
  return writeNote(folder, 'used', String(Date.now()));
}

/** Writes all of `bytes`; a browser may take them in several goes. */
export function writeAll(file: SyncFile | undefined, bytes: Uint8Array, offset: number): void {
  if (!file) throw new Error('the file is not open');
  for (let written = 0; written < bytes.length;) {
    const count = file.write(bytes.subarray(written), { at: offset + written });
    if (!(count > 0)) throw new Error('a write was cut short');
    written += count;
  }
}

/** When the folder was opened last; 0 if that is not known. */
export async function lastUsed(folder: FileSystemDirectoryHandle): Promise<number> {
  const time = Number(await readNote(folder, 'used') ?? 0);
  return Number.isFinite(time) ? time : 0;
}

/** Whether `thrown` is a DOMException, or its like, of that name. */
export function isNamed(thrown: unknown, name: string): boolean {
  return (thrown as { name?: unknown } | null)?.name === name;
}

/** Whether a file cannot be opened or removed because somebody has it open. WebKit has a name of its own for that. */
export function isInUse(thrown: unknown): boolean {
  return isNamed(thrown, 'NoModificationAllowedError') || isNamed(thrown, 'InvalidStateError');
}

/** Why the store failed, in words for people: an exception's own text says little to them. */
export function failureWords(thrown: unknown): string {
  const words: Readonly<Record<string, string>> = {
    QuotaExceededError: 'the browser grants no more storage',
    NotFoundError: 'its files were removed',
    NoModificationAllowedError: 'its files are in use elsewhere',
    InvalidStateError: 'its files are in use elsewhere',
    NotAllowedError: 'the browser does not allow it here',
    SecurityError: 'the browser does not allow it here',
  };
  if (!hasFileSystem()) return 'there is no private file system here';
  return words[String((thrown as { name?: unknown } | null)?.name)] ?? "the browser's file system failed";
}
