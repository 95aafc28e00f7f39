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
