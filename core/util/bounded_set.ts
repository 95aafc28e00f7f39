/**
 * Sets that forget their oldest values.
 *
 * @module
 */

/**
 * Adds a value to a set, and removes the oldest values above a limit.
 *
 * @returns Whether the value was not in the set before.
 */
export function addBounded<Value>(
  set: Set<Value>,
  value: Value,
  limit: number,
): boolean {
  if (set.has(value)) return false;
  set.add(value);
  for (const oldest of set) {
    if (set.size <= limit) break;
    set.delete(oldest);
  }
  return true;
}
