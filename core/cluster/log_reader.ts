/**
 * Reads stored messages from a broker's log.
 *
 * @module
 */

import {
  decodeEnvelope,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import { inLogOrder, type StoredMessage } from "../history/message_store.ts";
import type { AdapterLog } from "./adapter.ts";

/** A message from the log. */
export interface LoggedBroadcast extends SequencedBroadcast, StoredMessage {}

/** Identifies one message in the log. */
export interface LogPosition {
  readonly channel: string;
  readonly offset: number;
  readonly from: string;
  readonly id: number;
}

/**
 * Reads all messages of some channels that follow an offset.
 *
 * @param maxMessages The number of messages that the log keeps of each channel, at
 * least.
 * @returns The messages in order; undefined if some may have been removed.
 */
export async function readMessages(
  log: AdapterLog,
  channels: Iterable<string>,
  after: number,
  maxMessages: number,
): Promise<readonly LoggedBroadcast[] | undefined> {
  // The log keeps one message more than that. If it returns fewer, none was removed.
  const limit = maxMessages + 1;
  const lists = await Promise.all(
    Array.from(channels, (channel) => log.read(channel, after, limit)),
  );
  if (lists.some(({ length }) => length >= limit)) return undefined;
  const messages = lists.flat().flatMap(({ offset, message }) => {
    const broadcast = decodeEnvelope(message);
    return broadcast ? [{ ...broadcast, offset }] : [];
  });
  return inLogOrder(messages);
}

/**
 * Whether the log still has a message, and not another one with the same offset. If so,
 * it has lost nothing that came later.
 */
export async function hasMessage(
  log: AdapterLog,
  { channel, offset, from, id }: LogPosition,
): Promise<boolean> {
  const [stored] = await log.read(channel, offset - 1, 1);
  if (stored?.offset !== offset) return false;
  const broadcast = decodeEnvelope(stored.message);
  return broadcast?.from === from && broadcast.id === id;
}
