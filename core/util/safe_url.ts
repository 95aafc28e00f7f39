/**
 * URLs as they may stand in errors and logs; pure.
 *
 * @module
 */

import { printable } from "./printable.ts";

/**
 * A URL without what may be secret: user name, password, query and fragment.
 *
 * @param url The URL, which need not be a valid one.
 * @returns Printable text that still tells which server is meant.
 */
export function withoutSecrets(url: string | URL): string {
  const text = String(url);
  try {
    const { protocol, host, pathname, search } = new URL(text);
    // Without a host, as in `ada:secret@host`, all that follows the scheme may be secret.
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
