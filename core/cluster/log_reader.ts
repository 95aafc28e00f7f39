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
 * Looks for a message that this server has received.
 *
 * @param maxMessages The number of messages that the log keeps of each channel, at
 * least.
 * @returns `"found"`: the log has lost nothing that came before. `"removed"`: so much has
 * come since that the log does not keep it any more. `"lost"`: it should be there, but
 * is not, or another message has its offset.
 */
export async function findPosition(
  log: AdapterLog,
  { channel, offset, from, id }: LogPosition,
  maxMessages: number,
): Promise<"found" | "removed" | "lost"> {
  const limit = maxMessages + 1;
  const entries = await log.read(channel, offset - 1, limit);
  const [first] = entries;
  if (first?.offset === offset) {
    const stored = decodeEnvelope(first.message);
    return stored?.from === from && stored.id === id ? "found" : "lost";
  }
  return entries.length >= limit ? "removed" : "lost";
}
