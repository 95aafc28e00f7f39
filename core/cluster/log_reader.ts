/**
 * Reads stored messages from a broker's log.
 *
 * @module
 */

import {
  ALL_CHANNEL,
  decodeEnvelope,
  roomChannel,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import {
  type HistorySource,
  inLogOrder,
  type StoredMessage,
} from "../history/message_store.ts";
import { RESOLVED } from "../events/errors.ts";
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

/** A stored message; without a broadcast if it has a later version of the format. */
interface DecodedEntry {
  readonly offset: number;
  readonly broadcast: LoggedBroadcast | undefined;
}

/** A read of one channel that has not started. */
interface NextRead {
  /** The smallest offset that it is asked for, and the largest one. */
  after: number;
  latest: number;
  readonly entries: Promise<readonly DecodedEntry[]>;
}

/** The reads of one channel. */
interface ChannelReads {
  /** Resolves when the read that is under way has ended. */
  last: Promise<unknown>;
  next: NextRead | undefined;
}

/**
 * Reads messages for many clients. While a channel is being read, further readers of it
 * share the next read: so a thousand clients that come back at once cost a few.
 */
export class LogReader {
  readonly #log: AdapterLog;
  /** The log keeps that many messages. If it returns fewer, none was removed. */
  readonly #limit: number;
  readonly #channels = new Map<string, ChannelReads>();

  /**
   * @param maxMessages The number of messages that the log keeps of each channel, at
   * least; it keeps one more.
   */
  constructor(log: AdapterLog, maxMessages: number) {
    this.#log = log;
    this.#limit = maxMessages + 1;
  }

  /**
   * Reads all messages of some channels that follow an offset.
   *
   * @returns The messages in order; undefined if some may have been removed.
   */
  async read(
    channels: Iterable<string>,
    after: number,
  ): Promise<readonly LoggedBroadcast[] | undefined> {
    const lists = await Promise.all(
      Array.from(channels, async (channel) => {
        const entries = await this.#readChannel(channel, after);
        return entries.filter(({ offset }) => offset > after);
      }),
    );
    if (lists.some(({ length }) => length >= this.#limit)) return undefined;
    return inLogOrder(
      lists.flat().flatMap(({ broadcast }) => broadcast ?? []),
    );
  }

  /**
   * Lists all stored messages to a room that follow an offset.
   *
   * @returns The messages in order, and whether others may have been removed.
   */
  async list(
    room: string,
    after: number,
  ): Promise<Pick<HistorySource, "messages" | "isCut">> {
    const lists = await Promise.all(
      [ALL_CHANNEL, roomChannel(room)].map((channel) =>
        this.#readAll(channel, { after, latest: Infinity })
      ),
    );
    const all = lists.flat().flatMap(({ broadcast }) => broadcast ?? []);
    return {
      messages: inLogOrder(
        all.filter(({ target }) => target.rooms?.includes(room)),
      ),
      isCut: lists.some(({ length }) => length >= this.#limit),
    };
  }

  #readChannel(
    channel: string,
    after: number,
  ): Promise<readonly DecodedEntry[]> {
    let reads = this.#channels.get(channel);
    if (!reads) {
      reads = { last: RESOLVED, next: undefined };
      this.#channels.set(channel, reads);
    }
    reads.next ??= this.#schedule(channel, reads, after);
    reads.next.after = Math.min(reads.next.after, after);
    reads.next.latest = Math.max(reads.next.latest, after);
    return reads.next.entries;
  }

  #schedule(channel: string, reads: ChannelReads, after: number): NextRead {
    const entries = reads.last.then(() => {
      reads.next = undefined;
      const read = this.#readAll(channel, next);
      const ended = () => {
        if (!reads.next) this.#channels.delete(channel);
      };
      reads.last = read.then(ended, ended);
      return read;
    });
    const next: NextRead = { after, latest: after, entries };
    return next;
  }

  /** Reads until the log has no more, or every reader knows that it has missed too much. */
  async #readAll(
    channel: string,
    { after, latest }: Pick<NextRead, "after" | "latest">,
  ): Promise<readonly DecodedEntry[]> {
    const entries: DecodedEntry[] = [];
    for (let count = 0, start = after;;) {
      const page = await this.#log.read(channel, start, this.#limit);
      for (const { offset, message } of page) {
        const broadcast = decodeEnvelope(message);
        entries.push({
          offset,
          broadcast: broadcast && { ...broadcast, offset },
        });
        if (offset > latest) count++;
        start = offset;
      }
      if (page.length < this.#limit || count >= this.#limit) return entries;
    }
  }
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
