/**
 * Removes secrets from URLs for errors and logs; pure.
 *
 * @module
 */

import { printable } from "./printable.ts";

/**
 * Returns a URL without user name, password, query and fragment. The URL may be invalid.
 */
export function withoutSecrets(url: string | URL): string {
  const text = String(url);
  try {
    const { protocol, host, pathname, search } = new URL(text);
    // Without a host, as in `ada:secret@host`, everything after the scheme may be secret.
    if (host === "" && !/^(?:ws|nats|redis)\+unix:/.test(protocol)) {
      return printable(`${protocol}…`);
    }
    return printable(`${protocol}//${host}${pathname}${search && "?…"}`);
  } catch {
    const [address = ""] = text.split(/[?#]/, 1);
    const at = address.lastIndexOf("@");
    return printable(at < 0 ? address : `…${address.slice(at)}`);
  }
}
