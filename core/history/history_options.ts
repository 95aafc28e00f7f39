/**
 * The option `history`: what a server stores for clients that reconnect.
 *
 * @module
 */

import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";

/** The limits of the messages that a server stores for clients that reconnect. */
export interface HistoryOptions {
  /**
   * The number of messages to store for each room. A client that has missed more
   * messages of a room does not recover.
   *
   * @default {100}
   */
  readonly messages?: number;
  /**
   * How long a client may be disconnected, in milliseconds. Messages are stored for at
   * least twice as long.
   *
   * @default {120_000}
   */
  readonly maxAge?: number;
  /**
   * The memory that the messages of all rooms may take together, in bytes. Above it, the
   * messages of the least recently used rooms are removed first. A client that has missed
   * one of them does not recover. The overhead of a message counts, too, so that a small
   * message counts as about 400 bytes. Messages that a broker stores do not count.
   *
   * @default {67_108_864}
   */
  readonly maxBytes?: number;
}

const HISTORY_OPTIONS = optionNames<HistoryOptions>({
  messages: true,
  maxAge: true,
  maxBytes: true,
});

/**
 * Validates the option `history` and fills in the defaults.
 *
 * @returns The options; undefined if nothing is stored.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If a number is not finite, or less than 1.
 */
export function resolveHistoryOptions(
  options: boolean | HistoryOptions,
): Required<HistoryOptions> | undefined {
  if (options === false) return undefined;
  if (options !== true) {
    assertType("history", options, "object");
    assertKnown("history", options, HISTORY_OPTIONS);
  }
  const { messages = 100, maxAge = 120_000, maxBytes = 64 * 1024 * 1024 } =
    options === true ? {} : options;
  const limits = { messages, maxAge, maxBytes };
  for (const [name, value] of Object.entries(limits)) {
    assertSize(`history.${name}`, value);
    if (value >= 1 && value < Infinity) continue;
    throw new RangeError(
      `Cannot use "history.${name}" unless it is finite and at least 1: current value is ${value}`,
    );
  }
  return { messages: Math.ceil(messages), maxAge, maxBytes };
}
