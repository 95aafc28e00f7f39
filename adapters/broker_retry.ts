/**
 * How long the adapters try to connect to a broker, and how long they wait in between.
 *
 * @module
 */

/** The longest time to open a connection, in milliseconds. */
export const CONNECT_TIMEOUT_MS = 4_000;

const SHORTEST_MS = 100;
const LONGEST_MS = 2_000;

/**
 * Returns a random delay before the next attempt to connect, in milliseconds: it doubles
 * from 100 ms to 2 s.
 *
 * @param failures How many attempts have failed since a connection was good.
 */
export function brokerRetryDelay(failures: number): number {
  const delay = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** failures);
  return delay * (0.5 + Math.random() / 2);
}
