/**
 * The private file system as WebKit has it, over Chromium's: code that a worker's script begins with. An access handle
 * is exclusive, whatever mode is asked for, and a second one is refused by a name of WebKit's own; there are no
 * streams that write; a File is what was there when it was asked for, and cannot be read once that has changed; what
 * is written beyond the quota is refused by name.
 */
export const WEBKIT_FILES = `{
  delete FileSystemSyncAccessHandle.prototype.mode;
  const { prototype } = FileSystemFileHandle;
  const { createSyncAccessHandle, getFile } = prototype;
  delete prototype.createWritable;
  const isActive = (thrown) => thrown.name === 'NoModificationAllowedError';
  const named = (thrown) => (isActive(thrown) ? new DOMException('Some AccessHandle is active', 'InvalidStateError') : thrown);
  prototype.createSyncAccessHandle = function () {
    return createSyncAccessHandle.call(this).catch((thrown) => { throw named(thrown); });
  };
  prototype.getFile = async function () {
    const file = await getFile.call(this);
    const checked = (blob) => {
      const { slice, arrayBuffer } = blob;
      blob.slice = (...given) => checked(slice.apply(blob, given));
      blob.arrayBuffer = async () => {
        const bytes = await arrayBuffer.call(blob);
        const now = await getFile.call(this);
        if (now.size === file.size && now.lastModified === file.lastModified) return bytes;
        throw new DOMException('the file has changed', 'NotReadableError');
      };
      return blob;
    };
    return checked(file);
  };
  const { removeEntry } = FileSystemDirectoryHandle.prototype;
  FileSystemDirectoryHandle.prototype.removeEntry = function (...given) {
    return removeEntry.apply(this, given).catch((thrown) => { throw named(thrown); });
  };
}`;
