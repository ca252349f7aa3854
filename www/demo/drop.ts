// A .gguf file from the person's disk: picked in a dialog or dropped anywhere on the page.

import { byId } from './dom.js';

/** Calls `onFiles` with what was picked or dropped, the parts of a split model in the order of their names. */
export function acceptFiles(onFiles: (first: File, ...others: File[]) => void): void {
  const input = byId<HTMLInputElement>('file');
  const target = byId('drop-target');
  const take = (files: FileList | null | undefined) => {
    const [first, ...others] = [...(files ?? [])].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
    if (first) onFiles(first, ...others);
  };

  byId('pick-file').addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    take(input.files);
    input.value = '';
  });

  addEventListener('dragenter', (event) => {
    if (event.dataTransfer?.types.includes('Files')) target.hidden = false;
  });
  // While the target covers the page, every drag event arrives at it.
  target.addEventListener('dragleave', () => (target.hidden = true));
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    target.hidden = true;
    take(event.dataTransfer?.files);
  });
}
