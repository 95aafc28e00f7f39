/**
 * Finds what a misspelt name was meant to be.
 *
 * @module
 */

/**
 * Finds the name that is closest to a misspelt one.
 *
 * @param name The misspelt name.
 * @param names The names that exist.
 * @returns The name that the fewest edits lead to; undefined if all are too far away.
 */
export function nearest(
  name: string,
  names: Iterable<string>,
): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const edits = distance(wanted, candidate.toLowerCase());
    if (edits < least) [best, least] = [candidate, edits];
  }
  return best;
}

/** No longer name is compared. */
const MAX_LENGTH = 64;

/** Counts the letters to add, remove or replace (the Levenshtein distance). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const [above = 0, diagonal = 0, left = 0] = [
        row[j + 1],
        row[j],
        next[j],
      ];
      const cost = from[i] === to[j] ? 0 : 1;
      next.push(Math.min(above + 1, left + 1, diagonal + cost));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
