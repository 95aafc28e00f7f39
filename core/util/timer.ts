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
export const MAX_DELAY: number = 2 ** 31 - 1;

/**
 * Calls back after a time.
 *
 * @param action What to call.
 * @param delay After how many milliseconds. It never is called after
 * `Infinity`, nor later than after {@linkcode MAX_DELAY}.
 * @returns The timer, if there is one.
 */
export function startTimer(
  action: () => void,
  delay: number,
): Timer | undefined {
  return delay === Infinity
    ? undefined
    : setTimeout(action, Math.min(delay, MAX_DELAY));
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
 * @param patience How long to wait at most, in milliseconds.
 * @param promise The promise, or what it gives.
 * @returns The same; undefined if that is not there in time.
 */
export async function within<T>(
  patience: number,
  promise: T | PromiseLike<T>,
): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = startTimer(() => resolve(undefined), patience);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
