/**
 * Stored files as the engine's own worker reads them: at any offset and at once, straight to where the
 * bytes are needed. Only bytes are read that the IO worker has verified.
 */

import { folderName, openSync, storeRoot, type SyncFile } from './layout.js';

export class OpenedFiles {
  readonly #files = new Map<string, Promise<SyncFile | undefined>>();

  /** The stored file of a URL, opened once; undefined if it cannot be. */
  file(url: string): Promise<SyncFile | undefined> {
    let file = this.#files.get(url);
    if (!file) {
      file = open(url).catch(() => undefined);
      this.#files.set(url, file);
    }
    return file;
  }

  close(): void {
    for (const file of this.#files.values()) void file.then((opened) => opened?.close());
    this.#files.clear();
  }
}

async function open(url: string): Promise<SyncFile> {
  const root = await storeRoot();
  return openSync(await root.getDirectoryHandle(await folderName(url)), 'pages', false);
}
