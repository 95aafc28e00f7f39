/**
 * When to try again; pure.
 *
 * @module
 */

/**
 * What doubles at least, in milliseconds: who comes back at once the first time does
 * not go on like that.
 */
const MIN_DOUBLING_MS = 100;

/** How long to wait before each attempt, and how often to try. */
export interface BackoffOptions {
  /**
   * How long to wait before the first attempt at most, in milliseconds; 0 for not
   * at all. The bound doubles with each attempt, from 100 at least; how long it is
   * within the bound is random.
   *
   * @default {1_000}
   */
  readonly initialDelay?: number;
  /**
   * How long to wait before any attempt at most, in milliseconds.
   *
   * @default {30_000}
   */
  readonly maxDelay?: number;
  /**
   * How many attempts to make; that of `connect` itself does not count.
   *
   * @default {Infinity}
   */
  readonly maxAttempts?: number;
  /**
   * How long to go on, in milliseconds. An attempt that has begun is not cut
   * short by it.
   *
   * @default {Infinity}
   */
  readonly maxDuration?: number;
}

/** What {@linkcode backoff} asks the world. */
export interface BackoffSource {
  /**
   * A random number.
   *
   * @returns From 0 to less than 1.
   */
  random(): number;
  /**
   * How long the attempts have taken so far.
   *
   * @returns Milliseconds.
   */
  elapsed(): number;
}

/**
 * The delays before each attempt: random from zero to a bound that doubles, so
 * that those who have lost the same server at the same moment do not come back
 * at the same moment (RFC 6455, 7.2.3; "full jitter").
 *
 * @param options When to stop, and how long to wait.
 * @param source Where chance and time come from.
 * @returns A generator of milliseconds, which ends when it is time to give up.
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
 * Puts off an attempt as a server has asked for: by once to twice the time that
 * it named, so that all whom it asked do not come back in the same moment.
 *
 * @param delay The delay without that, in milliseconds.
 * @param retryAfter What the server asked for, in milliseconds, if it did.
 * @param random As in {@linkcode BackoffSource}.
 * @returns The delay in milliseconds.
 */
export function withRetryAfter(
  delay: number,
  retryAfter: number | undefined,
  random: () => number,
): number {
  return retryAfter === undefined ? delay : delay + retryAfter * (1 + random());
}
