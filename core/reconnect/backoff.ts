/**
 * Exponential backoff with full jitter; pure.
 *
 * @module
 */

/**
 * The minimum value that is doubled, in milliseconds. With an `initialDelay` of 0, only
 * the first attempt is immediate.
 */
const MIN_DOUBLING_MS = 100;

/** Options of reconnecting: the delays, and when to stop. */
export interface BackoffOptions {
  /**
   * The maximum delay before the first attempt, in milliseconds; 0 for no delay. It
   * doubles with each attempt, starting from at least 100. The actual delay is random,
   * between 0 and this maximum.
   *
   * @default {1_000}
   */
  readonly initialDelay?: number;
  /**
   * The maximum delay before any attempt, in milliseconds.
   *
   * @default {30_000}
   */
  readonly maxDelay?: number;
  /**
   * The maximum number of attempts, not counting that of `connect` itself.
   *
   * @default {Infinity}
   */
  readonly maxAttempts?: number;
  /**
   * The maximum duration of all attempts, in milliseconds. An attempt that has started
   * is not aborted.
   *
   * @default {Infinity}
   */
  readonly maxDuration?: number;
}

/** The random numbers and the time that {@linkcode backoff} uses. */
export interface BackoffSource {
  /** Returns a random number from 0 (inclusive) to 1 (exclusive). */
  random(): number;
  /** Returns the duration of the attempts so far, in milliseconds. */
  elapsed(): number;
}

/**
 * Yields the delay before each attempt in milliseconds, and returns when reconnecting
 * stops. Each delay is random, from 0 to a maximum that doubles, so that clients that
 * lost the same server do not reconnect at the same moment (RFC 6455, section 7.2.3).
 */
export function* backoff(
  options: Required<BackoffOptions>,
  { random, elapsed }: BackoffSource,
): Generator<number, void, void> {
  const { initialDelay, maxDelay, maxAttempts, maxDuration } = options;
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const left = maxDuration - elapsed();
    if (left <= 0) return;
    const first = attempt === 0
      ? initialDelay
      : Math.max(initialDelay, MIN_DOUBLING_MS);
    const bound = Math.min(maxDelay, first * 2 ** Math.min(attempt, 52));
    yield Math.min(random() * bound, left);
  }
}

/**
 * Adds one to two times `retryAfter` to a delay, at random, so that the clients of a
 * server that restarts do not all reconnect at the same moment. All times are in
 * milliseconds.
 */
export function withRetryAfter(
  delay: number,
  retryAfter: number | undefined,
  random: () => number,
): number {
  return retryAfter === undefined ? delay : delay + retryAfter * (1 + random());
}
