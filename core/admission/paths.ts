/**
 * The URL and the path of a request.
 *
 * @module
 */

import { type PathPattern, withUpperCaseHex } from "./allow_list.ts";
import type { Refusal } from "./handshake.ts";

/** The refusal of a request with an invalid URL. */
export const INVALID_URL: Refusal = {
  status: 400,
  reason: "Cannot parse the URL or the Host header",
};

/** Returns the URL of a request, if valid. Deno throws if the `Host` header is not. */
export function urlOf(request: Request): URL | undefined {
  try {
    return new URL(request.url);
  } catch {
    return undefined;
  }
}

/** A dot segment (RFC 3986, section 3.3), which a URL parser resolves. */
const DOT_SEGMENT = /(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\?#]|$)/i;

/** The refusal of a path with dot segments. */
export const DOT_SEGMENTS: Refusal = {
  status: 400,
  reason: 'Cannot use a path with the segments "." or "..": resolve them first',
};

/**
 * Whether the path, as the client sent it, has dot segments. A proxy that restricts access
 * by path may not have resolved them.
 */
export function hasDotSegments(url: string): boolean {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return false;
  const end = url.slice(start).search(/[?#]/);
  return DOT_SEGMENT.test(url.slice(start, end < 0 ? undefined : start + end));
}

/**
 * Validates an entry of the option `paths`, and returns it as requests have it.
 *
 * @throws {TypeError} If no request has that path.
 */
export function assertPath(path: string): string {
  if (/\/:\w|\*/.test(path)) {
    throw new TypeError(
      `Cannot use "${path}" in "paths" as a string is not a pattern: use new URLPattern({ pathname: "${path}" })`,
    );
  }
  const url = URL.parse(path, "ws://localhost");
  const isPath = path.startsWith("/") && !path.startsWith("//") &&
    url !== null && url.search === "" && url.hash === "" &&
    !/[?#]/.test(path) && !hasDotSegments(url.protocol + "//h" + path);
  if (!isPath) {
    throw new TypeError(
      `Cannot use "${path}" in "paths" as no request has that path: use a path such as /live, without a query`,
    );
  }
  return withUpperCaseHex(url.pathname);
}

/**
 * Validates a `URLPattern` of the option `paths`.
 *
 * @throws {TypeError} If it matches more than the pathname.
 */
export function assertPathPattern(pattern: PathPattern): PathPattern {
  const { protocol, hostname, port, search } = pattern;
  if ([protocol, hostname, port, search].every((part) => part === "*")) {
    return pattern;
  }
  throw new TypeError(
    `Cannot use a URLPattern in "paths" that has more than a pathname: use new URLPattern({ pathname: "${pattern.pathname}" })`,
  );
}
