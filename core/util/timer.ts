/**
 * Timers of any length.
 *
 * @module
 */

/** What `clearTimeout` takes. */
export type Timer = ReturnType<typeof setTimeout>;

/**
 * The longest delay of a timer in milliseconds, which is more than 24 days;
 * runtimes take a longer one for none at all.
 */
export const MAX_DELAY_MS: number = 2 ** 31 - 1;

/**
 * Calls back after a time.
 *
 * @param callback What to call.
 * @param delay After how many milliseconds. It never is called after
 * `Infinity`, nor later than after {@linkcode MAX_DELAY_MS}.
 * @returns The timer, if there is one.
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
 * Starts a timer that does not keep the process running, in runtimes that allow it.
 *
 * @param action What to call.
 * @param delay As of {@linkcode startTimer}.
 * @returns The timer, if there is one.
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
 * What a promise gives, if it does so in time.
 *
 * @typeParam T What it gives.
 * @param timeout How long to wait at most, in milliseconds.
 * @param promise The promise, or what it gives.
 * @returns The same; undefined if that is not there in time.
 */
export async function withTimeout<T>(
  timeout: number,
  promise: T | PromiseLike<T>,
): Promise<T | undefined> {
  const { promise: expired, resolve } = Promise.withResolvers<undefined>();
  const timer = startTimer(() => resolve(undefined), timeout);
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}
