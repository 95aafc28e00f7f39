/**
 * Timers of any length.
 *
 * @module
 */

import { withResolvers } from "./deferred.ts";

/** The type of a timer in any runtime. */
export type Timer = ReturnType<typeof setTimeout>;

/**
 * The maximum delay of a timer in milliseconds, about 24 days. A longer delay fires at
 * once.
 */
export const MAX_DELAY_MS: number = 2 ** 31 - 1;

/**
 * Calls a function after a delay.
 *
 * @param delay The delay in milliseconds; at most {@linkcode MAX_DELAY_MS} if it is
 * finite.
 * @returns The timer; undefined if the delay is `Infinity`.
 */
export function startTimer(
  callback: () => void,
  delay: number,
): Timer | undefined {
  return delay === Infinity
    ? undefined
    : setTimeout(callback, Math.min(delay, MAX_DELAY_MS));
}

/**
 * Like {@linkcode startTimer}, but the timer does not keep the process running, if the
 * runtime supports that.
 */
export function startBackgroundTimer(
  action: () => void,
  delay: number,
): Timer | undefined {
  const timer = startTimer(action, delay);
  const handle: unknown = timer;
  if (
    typeof handle === "object" && handle !== null && "unref" in handle &&
    typeof handle.unref === "function"
  ) handle.unref();
  return timer;
}

/**
 * Waits for a promise, at most for a time.
 *
 * @param timeout The time in milliseconds.
 * @returns The result of the promise; undefined after the timeout.
 */
export async function withTimeout<T>(
  timeout: number,
  promise: T | PromiseLike<T>,
): Promise<T | undefined> {
  const { promise: expired, resolve } = withResolvers<undefined>();
  const timer = startTimer(() => resolve(undefined), timeout);
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}
