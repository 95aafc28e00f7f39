/**
 * Lists of allowed origins and paths.
 *
 * @module
 */

/**
 * The allowed origins or paths: a list, or a function that returns `true` for an allowed
 * value. In a list, a string must be equal to the value, and a pattern must match all of it
 * (`/https:\\/\\/.*\\.example\\.com/` does not match `https://a.example.com.evil.net`).
 */
export type AllowList =
  | readonly (string | RegExp)[]
  | ((value: string, request: Request) => boolean);

/**
 * The part of `URLPattern` that this library uses. TypeScript declares `URLPattern` only
 * with the DOM library.
 */
export interface PathPattern {
  /** The pattern of the scheme. `*` matches any scheme. */
  readonly protocol: string;
  /** The pattern of the host name. `*` matches any. */
  readonly hostname: string;
  /** The pattern of the port. `*` matches any. */
  readonly port: string;
  /** The pattern of the path. `*` matches any. */
  readonly pathname: string;
  /** The pattern of the query. `*` matches any. */
  readonly search: string;
  /**
   * Tests whether a path matches.
   *
   * @param input The parts of the URL: `pathname` alone.
   * @returns Whether the pattern matches.
   */
  test(input: { readonly pathname: string }): boolean;
}

/** Whether a value is allowed. */
export type Matcher = (value: string, request: Request) => boolean;

/**
 * Validates an option that lists allowed values.
 *
 * @param assertEntry Validates a string of the list, and returns it as requests have it.
 * @param assertPattern Validates a `URLPattern` of a list of paths.
 * @returns Whether a value is allowed; undefined if the option is not set.
 * @throws {TypeError} If an entry could never match.
 */
export function compileMatcher(
  name: string,
  allowed: AllowList | readonly (string | RegExp | PathPattern)[] | undefined,
  assertEntry: (value: string) => string,
  assertPattern?: (pattern: PathPattern) => PathPattern,
): Matcher | undefined {
  if (allowed === undefined || typeof allowed === "function") return allowed;
  const isList: boolean = Array.isArray(allowed);
  if (!isList) {
    throw new TypeError(
      `Cannot use "${name}" unless it is a list or a function: current value is of type ${typeof allowed}`,
    );
  }
  const strings = new Set<string>();
  const patterns: RegExp[] = [];
  const urlPatterns: PathPattern[] = [];
  for (const one of allowed) {
    if (typeof one === "string") {
      strings.add(assertEntry(one));
    } else if (assertPattern && one instanceof URLPattern) {
      urlPatterns.push(assertPattern(one));
    } else if (!(one instanceof RegExp)) {
      throw new TypeError(
        `Cannot use an entry of "${name}" that is neither a string nor a RegExp: current value is ${one}`,
      );
    } else {
      // Matches the whole value, without the flags that make a pattern stateful.
      const flags = one.flags.replace(/[gy]/g, "");
      patterns.push(new RegExp(`^(?:${one.source})$`, flags));
    }
  }
  return (value) =>
    strings.has(withUpperCaseHex(value)) ||
    patterns.some((pattern) => pattern.test(value)) ||
    urlPatterns.some((pattern) => pattern.test({ pathname: value }));
}

/** Percent-encoding is case-insensitive (RFC 3986, section 6.2.2.1). */
export function withUpperCaseHex(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (code) => code.toUpperCase());
}
