/**
 * The headers of a request that a connection keeps.
 *
 * @module
 */

/** The maximum length of the value of a header that is kept, in characters. */
const MAX_HEADER_LENGTH = 4096;

/** Copies the named headers. Returns undefined if no names are given. */
export function pickHeaders(
  all: Headers,
  names: readonly string[],
): Headers | undefined {
  if (names.length === 0) return undefined;
  const picked = new Headers();
  for (const name of names) {
    const value = all.get(name);
    if (value !== null && value.length <= MAX_HEADER_LENGTH) {
      picked.set(name, value);
    }
  }
  return picked;
}
