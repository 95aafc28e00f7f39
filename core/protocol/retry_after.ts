/**
 * The delay before a reconnect, as part of a close reason: `retry-after=5`, in seconds
 * like the HTTP header `Retry-After` (RFC 9110, section 10.2.3).
 *
 * @module
 */

const RETRY_AFTER_PATTERN = /(?:^|; )retry-after=(\d{1,9})$/;

/** Appends the delay, in milliseconds, to a close reason. */
export function appendRetryAfter(reason: string, delay: number): string {
  return `${reason}${reason && "; "}retry-after=${toSeconds(delay)}`;
}

/** Returns the delay in a close reason, in milliseconds; undefined if there is none. */
export function parseRetryAfter(reason: string): number | undefined {
  const seconds = RETRY_AFTER_PATTERN.exec(reason)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** Converts milliseconds to whole seconds, rounded up. */
export function toSeconds(delay: number): number {
  return Math.ceil(delay / 1000);
}
