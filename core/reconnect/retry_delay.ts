/**
 * Decides how long a client waits before it tries to reconnect; pure. In a page,
 * `wake_up.ts` may end the delay, or extend it.
 *
 * @module
 */

/**
 * The minimum value that is doubled, in milliseconds. With an `initialDelay` of 0, only
 * the first attempt is immediate.
 */
const MIN_DOUBLING_MS = 100;

/** How long a page that may be about to be left waits before it reconnects. */
const LEAVING_MS = 3_000;

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

/** What the delay before an attempt depends on. All times are in milliseconds. */
export interface RetryDelayInput {
  /** The delay that {@linkcode backoff} has yielded. */
  readonly backoff: number;
  /** The delay that the server requires, if it does. */
  readonly retryAfter: number | undefined;
  /** Whether the page of this client may be about to be left. */
  readonly isPageLeaving: boolean;
  /** What remains of `maxDuration`. */
  readonly remaining: number;
  /** Returns a random number from 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
}

/**
 * Decides how long to wait before an attempt. One to two times `retryAfter` is added at
 * random, so that the clients of a server that restarts do not all reconnect at the same
 * moment.
 *
 * @returns The delay; undefined if the server requires a longer one than remains.
 */
export function retryDelay(
  { backoff, retryAfter, isPageLeaving, remaining, random }: RetryDelayInput,
): number | undefined {
  const required = retryAfter === undefined ? 0 : retryAfter * (1 + random());
  const delay = Math.max(backoff + required, isPageLeaving ? LEAVING_MS : 0);
  return retryAfter !== undefined && delay > remaining ? undefined : delay;
}
