/**
 * Timers of any length.
 *
 * @module
 */

/** What `clearTimeout` takes. */
export type Timer = ReturnType<typeof setTimeout>;

/** The longest delay of a timer; runtimes take a longer one for none at all. */
const LONGEST = 2 ** 31 - 1;

/**
 * Calls back after a time.
 *
 * @param action What to call.
 * @param delay After how many milliseconds. After `Infinity` it never is called;
 * all else is at most 24 days.
 * @returns The timer, if there is one.
 */
export function startTimer(
  action: () => void,
  delay: number,
): Timer | undefined {
  return delay === Infinity
    ? undefined
    : setTimeout(action, Math.min(delay, LONGEST));
}
