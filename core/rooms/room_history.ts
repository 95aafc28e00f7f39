/**
 * Reads the history of a room for the application.
 *
 * @module
 */

import type { Connection } from "../connection/connection.ts";
import {
  answerHistoryQuery,
  checkHistoryQuery,
  type HistoryPage,
  type HistoryQuery,
} from "../history/history_query.ts";
import type { MessageStore } from "../history/message_store.ts";
import type { Recovery } from "../history/recovery.ts";
import type { Codec } from "../values/codec.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * Reads stored messages of a room.
 *
 * @throws {Error} Without a history, or if the broker that has it is down.
 */
export async function readHistory<Types extends SocketTypes>(
  room: string,
  options: HistoryQuery<Connection<Types>>,
  store: MessageStore | undefined,
  recovery: Recovery<Types> | undefined,
  codec: Codec | undefined,
): Promise<HistoryPage> {
  const query = checkHistoryQuery(options);
  if (!store || !recovery) {
    throw new Error(
      `Cannot read the history of room "${room}" without the option "history"`,
    );
  }
  const { for: client } = options;
  const recipient = client && recovery.recipientId(client);
  const source = await store.list(room, query.since?.offset ?? 0);
  return answerHistoryQuery(
    query,
    source,
    ({ target: { except, without = [] } }) =>
      except.length === 0 &&
      (recipient === undefined
        ? without.length === 0
        : !without.includes(recipient)),
    codec,
  );
}
