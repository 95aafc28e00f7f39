/**
 * The option `retries`: what a server remembers of requests that are sent again.
 *
 * @module
 */

import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";

/** Options of the server for requests that clients send with the option `retry`. */
export interface RetryOptions {
  /**
   * How long a client may be without a connection, in milliseconds. After that, the server
   * forgets its requests, and refuses to repeat them with the code `uncertain`.
   *
   * @default {300_000}
   */
  readonly maxAge?: number;
  /**
   * The memory that the answers of all clients may take together, in bytes. Above it, the
   * clients with the largest answers lose their oldest ones first. A client that requests
   * a forgotten answer again gets the code `uncertain`.
   *
   * @default {16_777_216}
   */
  readonly maxBytes?: number;
}

const RETRY_OPTIONS = optionNames<RetryOptions>({
  maxAge: true,
  maxBytes: true,
});

/**
 * Validates the option `retries` and fills in the defaults.
 *
 * @returns The options; undefined if nothing is remembered.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If a number is not finite, or less than 1.
 */
export function resolveRetryOptions(
  options: boolean | RetryOptions,
): Required<RetryOptions> | undefined {
  if (options === false) return undefined;
  if (options !== true) {
    assertType("retries", options, "object");
    assertKnown("retries", options, RETRY_OPTIONS);
  }
  const { maxAge = 300_000, maxBytes = 16 * 1024 * 1024 } = options === true
    ? {}
    : options;
  const limits = { maxAge, maxBytes };
  for (const [name, value] of Object.entries(limits)) {
    assertSize(`retries.${name}`, value);
    if (value >= 1 && value < Infinity) continue;
    throw new RangeError(
      `Cannot use "retries.${name}" unless it is finite and at least 1: current value is ${value}`,
    );
  }
  return limits;
}
