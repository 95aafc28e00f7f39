/**
 * Decides whether the header `Origin` refuses an upgrade; pure.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import type { Refusal } from "./handshake.ts";

/**
 * Checks the origin of the page that has sent a request. A request without one is not
 * that of a page.
 *
 * @param isOrigin Whether an origin is allowed.
 * @param hasOrigins Whether the application has set the option `origins`.
 * @returns Why the request is refused; undefined if it is not.
 */
export function checkOrigin(
  request: Request,
  isOrigin: (origin: string, request: Request) => unknown,
  hasOrigins: boolean,
): Refusal | undefined {
  const origin = request.headers.get("origin");
  if (origin === null || isOrigin(origin, request) === true) return undefined;
  const page = printable(origin);
  const reason = `Pages from ${page} may not connect to this server`;
  if (hasOrigins) return { status: 403, reason };
  const advice =
    `Refused a page from ${page}, as it is of another site and its request carries credentials: add its origin to the option "origins" if it may act as the user`;
  return { status: 403, reason, advice };
}

/**
 * Checks whether a page has the same host and port as the WebSocket endpoint. Use it as
 * {@linkcode AdmissionOptions.origins}. A page that was loaded over `http:` does not have
 * the same origin as a `wss:` endpoint. Behind a proxy that terminates TLS, the scheme is
 * unknown, and only hosts are compared. The proxy must forward the `Host` header
 * unchanged.
 *
 * @param origin The origin of the page.
 * @param request The upgrade request.
 * @returns Whether the origins are the same.
 *
 * @example
 * ```ts
 * import { sameOrigin, ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket({ origins: sameOrigin });
 * ```
 */
export function sameOrigin(origin: string, request: Request): boolean {
  const page = webPage(origin);
  const host = request.headers.get("host");
  // An attacker on the network may have modified an unencrypted page.
  const isDowngrade = page?.protocol === "http:" &&
    request.url.startsWith("https:");
  // Only one of them may include the default port.
  return page !== undefined && host !== null && !isDowngrade &&
    page.host === URL.parse(`${page.protocol}//${host}`)?.host;
}

/**
 * The default of `origins`: refuses a page of another site if its request carries
 * credentials, which browsers add by themselves.
 */
export function sameSiteIfCredentials(
  origin: string,
  request: Request,
): boolean {
  const { headers } = request;
  const hasCredentials = headers.has("cookie") || headers.has("authorization");
  return !hasCredentials || sameOrigin(origin, request) ||
    isLoopback(webPage(origin)?.hostname) &&
      isLoopback(URL.parse(`http://${headers.get("host")}`)?.hostname);
}

/**
 * Parses the origin of a page on the web. Others, such as `file://` and those of apps and
 * extensions, may have any host: they are not the same as that of a server.
 */
function webPage(origin: string): URL | undefined {
  const url = URL.parse(origin);
  return url?.protocol === "http:" || url?.protocol === "https:"
    ? url
    : undefined;
}

function isLoopback(hostname: string | undefined): boolean {
  return hostname !== undefined &&
    /^(?:(?:.+\.)?localhost\.?|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}

/**
 * Validates an entry of the option `origins`.
 *
 * @throws {TypeError} If no page has that origin.
 */
export function assertOrigin(origin: string): string {
  if (origin === "null") return origin; // what sandboxed pages and files send
  const expected = webPage(origin)?.origin ??
    /^[a-z][a-z0-9+.-]*:\/\/[^/?#]+/.exec(origin)?.[0];
  if (expected !== origin) {
    throw new TypeError(
      `Cannot use "${origin}" in "origins" as no page has that origin: ${
        expected === undefined
          ? "use an origin such as https://example.com, or () => true to allow all"
          : `use "${expected}"`
      }`,
    );
  }
  return origin;
}
