/**
 * When a client that was sent away may come back, as it stands in the reason of
 * a close frame: `retry-after=5`, in seconds as in the HTTP header of that name.
 * Pure.
 *
 * @module
 */

const RETRY_AFTER_PATTERN = /(?:^|; )retry-after=(\d{1,9})$/;

/**
 * Adds the hint to a reason.
 *
 * @param reason The reason for a human reader.
 * @param delay After how many milliseconds to come back.
 * @returns The reason to send.
 */
export function appendRetryAfter(reason: string, delay: number): string {
  return `${reason}${reason && "; "}retry-after=${toSeconds(delay)}`;
}

/**
 * Finds the hint in a reason.
 *
 * @param reason The reason that has come.
 * @returns After how many milliseconds to come back; undefined if it does not
 * say.
 */
export function parseRetryAfter(reason: string): number | undefined {
  const seconds = RETRY_AFTER_PATTERN.exec(reason)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/**
 * A delay as HTTP tells it.
 *
 * @param delay The delay in milliseconds.
 * @returns Whole seconds, rounded up.
 */
export function toSeconds(delay: number): number {
  return Math.ceil(delay / 1000);
}
