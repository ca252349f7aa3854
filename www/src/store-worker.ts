/**
 * The store worker: commits pages and hashes whole files, so that the IO worker, which must keep up with
 * the network, never waits for the disk. The IO worker does without it where it cannot work.
 */

import { join, tell } from './wire/colleague.js';
import type { FromStore, ToStore } from './wire/protocol.js';
import { commitPages, type FolderFiles } from './store/commit.js';
import { openSync, storeRoot } from './store/layout.js';
import { hashWhole } from './store/whole.js';

const post = (message: FromStore): void => tell(message);
let files: Promise<FolderFiles> | undefined;
let buffer = new Uint8Array(0);

async function answer(message: ToStore): Promise<void> {
  try {
    const { data, journal } = await (files ??= openFolder(message.folder));
    if (message.type === 'commit') {
      const { request } = message;
      if (buffer.length < request.pageBytes) buffer = new Uint8Array(request.pageBytes);
      post({ type: 'committed', records: await commitPages({ data, journal }, request, buffer) });
    } else {
      post({ type: 'hashed', sha256: await hashWhole(data, message.bytes) });
    }
  } catch (thrown) {
    const { name = 'Error', message: text = String(thrown) } = (thrown ?? {}) as Partial<Error>;
    post({ type: 'failed', name, message: text });
  }
}

async function openFolder(name: string): Promise<FolderFiles> {
  const folder = await (await storeRoot()).getDirectoryHandle(name);
  return { data: await openSync(folder, 'pages', false), journal: await openSync(folder, 'journal', false) };
}

join((message: ToStore) => void answer(message));
