/**
 * Answers questions about the history of a room: which of the stored messages, and how
 * many of them.
 *
 * @module
 */

import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";
import { payloadOf } from "../protocol/frames.ts";
import { byteLengthOf, type Codec, decodeWith } from "../values/codec.ts";
import type { HistorySource, StoredMessage } from "./message_store.ts";

/**
 * Options of {@linkcode ServerSocket.history}.
 *
 * @typeParam Client The type of a client: a {@linkcode Connection}.
 */
export interface HistoryQuery<Client> {
  /**
   * The largest number of messages: the last ones, or the first ones after `since`. At most
   * 1,000.
   *
   * @default {50}
   */
  readonly limit?: number;
  /** The position of a message: only later messages are returned. */
  readonly since?: string;
  /**
   * The client that will be sent the messages. Messages that were withheld from it by
   * `except`, or from the members of some room, are left out. Without it, every message
   * that was withheld from anybody is left out.
   */
  readonly for?: Client;
}

/** A message in the history of a room. */
export interface HistoryMessage {
  /** The position of the message, for `since`. */
  readonly position: string;
  /** The data, as `message.data` of a client. */
  readonly data: unknown;
}

/** The answer of {@linkcode ServerSocket.history}. */
export interface HistoryPage {
  /** The messages, in order. */
  readonly messages: readonly HistoryMessage[];
  /**
   * Whether there are no other messages that were asked for: with `since`, all later ones
   * are included; without it, all that are stored. False also if some may have been
   * removed, or if `since` belongs to another history, as after a restart.
   */
  readonly isComplete: boolean;
}

const HISTORY_QUERY = optionNames<HistoryQuery<unknown>>({
  limit: true,
  since: true,
  for: true,
});

/** The largest number of messages of an answer. */
const MAX_LIMIT = 1_000;

/** The largest size of the messages of an answer, in bytes, unless there is only one. */
const MAX_BYTES = 1024 * 1024;

/** A question, checked. */
export interface CheckedHistoryQuery {
  readonly limit: number;
  /** The epoch and the offset of `since`, if there is one. */
  readonly since:
    | { readonly epoch: string; readonly offset: number }
    | undefined;
}

/**
 * Checks a question.
 *
 * @throws {TypeError} If an option is unknown or has the wrong type, or `since` is no
 * position.
 * @throws {RangeError} If the limit is not from 1 to 1,000.
 */
export function checkHistoryQuery(
  options: HistoryQuery<unknown>,
): CheckedHistoryQuery {
  assertType("options", options, "object");
  assertKnown("history()", options, HISTORY_QUERY);
  const { limit = 50, since } = options;
  assertSize("limit", limit, 1);
  if (limit > MAX_LIMIT) {
    throw new RangeError(
      `Cannot use "limit" unless it is at most ${MAX_LIMIT}: current value is ${limit}`,
    );
  }
  if (since === undefined) return { limit, since };
  assertType("since", since, "string");
  const [, epoch = "", digits] = POSITION.exec(since) ?? [];
  if (digits === undefined) {
    throw new TypeError(
      'Cannot use "since" unless it is the position of a message of a history',
    );
  }
  return { limit, since: { epoch, offset: Number(digits) } };
}

const POSITION = /^([0-9a-z]{1,64})-([0-9]{1,15})$/;

/**
 * Chooses messages.
 *
 * @param mayRead Whether a message may be included.
 */
export function answerHistoryQuery(
  { limit, since }: CheckedHistoryQuery,
  { epoch, messages, isCut }: HistorySource,
  mayRead: (message: StoredMessage) => boolean,
  codec: Codec | undefined,
): HistoryPage {
  if (since && since.epoch !== epoch) {
    return { messages: [], isComplete: false };
  }
  const { offset: after = 0 } = since ?? {};
  const all = messages.filter((one) => one.offset > after && mayRead(one));
  const fitting = takeFitting(since ? all : all.toReversed(), limit);
  if (!since) fitting.reverse();
  return {
    messages: fitting.map(({ offset, body }) => ({
      position: `${epoch}-${offset}`,
      data: decodeWith(payloadOf(body), codec),
    })),
    isComplete: !isCut && fitting.length === all.length,
  };
}

function takeFitting(
  messages: readonly StoredMessage[],
  limit: number,
): StoredMessage[] {
  const taken: StoredMessage[] = [];
  let bytes = 0;
  for (const message of messages) {
    bytes += byteLengthOf(message.body);
    const isFull = taken.length >= limit ||
      (bytes > MAX_BYTES && taken.length > 0);
    if (isFull) break;
    taken.push(message);
  }
  return taken;
}
