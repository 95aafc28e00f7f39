/**
 * Suggests the name that a misspelled one was meant to be.
 *
 * @module
 */

/** Returns the end of an error for an unknown name: the nearest name, or all of them. */
export function suggestName(
  what: string,
  name: string,
  names: Iterable<string>,
): string {
  const closest = nearest(name, names);
  if (closest !== undefined) return `: did you mean "${closest}"?`;
  const all = Array.from(names, (one) => `"${one}"`).join(", ");
  return `: the ${what} are ${all}`;
}

/**
 * Returns the name with the smallest edit distance to a misspelled one; undefined if none
 * is similar.
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

/** Longer names are not compared. */
const MAX_LENGTH = 64;

/**
 * Returns the Levenshtein distance: the number of characters to add, remove or replace.
 */
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
