// Addresses and names of models, as a person writes them.

/** The URL that a text is, or undefined where it is none. */
export function urlOf(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}

/** What to call a model: "hf:owner/repo:Q4_K_M" → "repo:Q4_K_M"; "https://host/path/file.gguf?x" → "file.gguf". */
export function labelOf(address: string): string {
  const path = address.replace(/[?#].*/s, '');
  return path.split('/').filter(Boolean).at(-1) ?? address;
}
