/**
 * When an authorization expires: the result of the option `expiresAt`.
 *
 * @module
 */

/** The reason of a connection whose authorization has expired. */
export const EXPIRED_REASON = "The authorization has expired";

/** What the option `expiresAt` returns. */
export type ExpiryTime = number | Date | undefined;

/** No time since 1973 in milliseconds is smaller, and none in seconds is larger. */
const MIN_TIME_MS = 1e11;

/**
 * Returns the time as a number of milliseconds; `Infinity` for none.
 *
 * @throws {TypeError} If it is neither a number nor a `Date`.
 * @throws {RangeError} If it is `NaN`, an invalid `Date`, or a number of seconds.
 */
export function toDeadline(value: unknown): number {
  if (value === undefined) return Infinity;
  if (typeof value !== "number" && !(value instanceof Date)) {
    throw new TypeError(
      `Cannot use the result of "expiresAt" unless it is a number, a Date or undefined: current value is of type ${typeof value}`,
    );
  }
  const time = Number(value);
  if (Number.isNaN(time)) {
    throw new RangeError(
      'Cannot use the result of "expiresAt" unless it is a valid time: current value is NaN',
    );
  }
  if (typeof value === "number" && time > 0 && time < MIN_TIME_MS) {
    throw new RangeError(
      `Cannot use the result of "expiresAt" unless it is in milliseconds: current value is ${time}, so multiply seconds such as "exp" of a JWT by 1,000`,
    );
  }
  return time;
}
