/** What can be told of an address from its scheme. */

/** Whether a URL is read from a server, over the network. */
export function isOfNetwork(url: string): boolean {
  return /^https?:/i.test(url);
}

/** The origin of a URL, of the schemes of apps too, whose origin browsers call "null". */
export function originOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
