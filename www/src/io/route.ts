/**
 * How requests for one file travel: redirects and the caller's own headers.
 *
 * The caller's headers hold secrets, and a page cannot see where a redirect leads before following
 * it. So a request that carries them refuses to follow redirects. Where the server redirects, the
 * request is made again without them; most files behind a redirect are public. If that is refused
 * and the only secret is `Authorization`, the browser follows with it: the Fetch standard drops that
 * header when a redirect changes the origin. Browsers older than that rule are told apart and refused.
 * Other headers would be forwarded by the browser, so they never follow a redirect.
 *
 * The address behind a redirect is used for later requests, until it expires; then the original
 * address is asked again.
 */

import { isOfNetwork } from '../wire/address.js';
import { ChordError } from '../wire/errors.js';

/** Answers of an expired or refused address. */
const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 410]);

export class RequestRoute {
  readonly #origin: string;
  #redirected: string | undefined;
  #takesRanges = true;

  constructor(
    private readonly url: string,
    private readonly headers: [string, string][],
    private readonly onRequest: () => void,
  ) {
    this.#origin = new URL(url).origin;
  }

  /** Requests a range such as `bytes=0-99`. */
  async fetch(range: string | undefined, signal: AbortSignal): Promise<Response> {
    return isOfNetwork(this.url) ? this.#fromNetwork(range, signal) : this.#fromApp(range, signal);
  }

  /**
   * Requests an address that the app or extension around the page answers itself. Some know nothing of ranges, and
   * fail instead of sending the whole; some have no status.
   */
  async #fromApp(range: string | undefined, signal: AbortSignal): Promise<Response> {
    if (range !== undefined && this.#takesRanges) {
      const response = await this.#request(this.url, [], range, 'follow', signal).catch((thrown: unknown) => {
        if (signal.aborted) throw thrown;
        return undefined;
      });
      if (response && (isWhole(response) || (response.status === 206 && response.headers.has('content-range')))) return withStatus(response);
      if (response) discard(response);
      this.#takesRanges = false;
    }
    return withStatus(await this.#request(this.url, [], undefined, 'follow', signal));
  }

  async #fromNetwork(range: string | undefined, signal: AbortSignal): Promise<Response> {
    if (this.#redirected !== undefined) {
      const response = await this.#request(this.#redirected, [], range, 'follow', signal);
      if (!REFUSALS.has(response.status)) return response;
      discard(response);
      this.#redirected = undefined;
    }
    const response = await this.#original(range, signal);
    if (response.redirected && new URL(response.url).origin !== this.#origin) this.#redirected = response.url;
    return response;
  }

  async #original(range: string | undefined, signal: AbortSignal): Promise<Response> {
    if (this.headers.length === 0) return this.#request(this.url, [], range, 'follow', signal);
    const direct = await this.#request(this.url, this.headers, range, 'manual', signal);
    if (direct.type !== 'opaqueredirect') return direct;
    const open = await this.#request(this.url, [], range, 'follow', signal);
    if (!REFUSALS.has(open.status)) return open;
    discard(open);
    if (!this.headers.every(([name]) => name.toLowerCase() === 'authorization')) {
      throw new ChordError('InvalidSource', `${this.url} redirects; headers other than Authorization cannot be kept from the redirect's target`, { details: { status: open.status } });
    }
    if (!dropsAuthorizationOnRedirect()) {
      throw new ChordError('UnsupportedBrowser', 'this browser would send the access token on to the address that the server redirects to', { details: { feature: 'Authorization removed on redirect' } });
    }
    return this.#request(this.url, this.headers, range, 'follow', signal);
  }

  #request(url: string, own: [string, string][], range: string | undefined, redirect: RequestRedirect, signal: AbortSignal): Promise<Response> {
    this.onRequest();
    const headers: [string, string][] = range === undefined ? own : [...own, ['Range', range]];
    return fetch(url, { headers, redirect, signal, cache: 'no-store' });
  }
}

/**
 * Whether the browser is new enough to remove `Authorization` when a redirect changes the origin:
 * Chromium does since 119, Firefox since 111, Safari since 16.1. `Promise.withResolvers` came with
 * Chromium 119, Firefox 121 and Safari 17.4, so that it marks browsers which all do.
 */
function dropsAuthorizationOnRedirect(): boolean {
  return 'withResolvers' in Promise;
}

/** Whether a response is the whole file; some apps give no status. */
export function isWhole({ status, type }: Response): boolean {
  return status === 200 || (status === 0 && type !== 'opaque' && type !== 'error');
}

/** The response with HTTP 200 where an app gave none at all. */
function withStatus(response: Response): Response {
  return response.status === 0 && isWhole(response) ? new Response(response.body, { headers: response.headers }) : response;
}

function discard(response: Response): void {
  void response.body?.cancel().catch(() => undefined);
}
