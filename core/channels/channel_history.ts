/**
 * Answers the requests of members for the history of their channel: ordinary requests in
 * the channel, whose type is `history`.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import { assertSize, RequestError } from "../events/errors.ts";
import type { HistoryPage } from "../history/history_query.ts";
import type { Payload } from "../protocol/frames.ts";
import type { ChannelHost } from "../rooms/room_channels.ts";
import { readProperty } from "../util/read_property.ts";
import { type Codec, decodeWith } from "../values/codec.ts";
import { typeOf } from "../values/type_of.ts";
import type { SocketTypes } from "../values/types.ts";

/** The type of the request. */
export const HISTORY_REQUEST = "history";

/** Whether a payload is such a request. */
export function isHistoryRequest(
  payload: Payload,
  codec: Codec | undefined,
): boolean {
  try {
    return typeOf(decodeWith(payload, codec)) === HISTORY_REQUEST;
  } catch {
    return false; // the error is reported when it is read as a message
  }
}

/**
 * Checks the option `history` of a channel.
 *
 * @throws {RangeError} If it is negative, `NaN` or larger than 1,000.
 */
export function checkHistoryLimit(limit: number): number {
  assertSize("history", limit);
  if (limit <= 1_000) return Math.floor(limit);
  throw new RangeError(
    `Cannot use "history" unless it is at most 1,000: current value is ${limit}`,
  );
}

/**
 * Reads what a member asks for.
 *
 * @param max The largest number of messages that it may read at a time.
 */
export async function readChannelHistory<ServerTypes extends SocketTypes>(
  host: ChannelHost<ServerTypes>,
  member: { readonly client: Connection<ServerTypes>; readonly name: string },
  request: unknown,
  max: number,
): Promise<HistoryPage> {
  const limit = readProperty(request, "limit") ?? max;
  const since = readProperty(request, "since");
  const isValid = typeof limit === "number" && limit >= 1 &&
    (since === undefined || typeof since === "string");
  if (!isValid) throw new RequestError(INVALID, "invalid");
  const { client, name } = member;
  let page: HistoryPage;
  try {
    page = await host.history(name, {
      limit: Math.min(Math.floor(limit), max),
      for: client,
      ...since !== undefined && { since },
    });
  } catch (error) {
    if (error instanceof TypeError) throw new RequestError(INVALID, "invalid");
    throw error;
  }
  if (coreOf(client).options.codec) return page;
  // JSON cannot represent bytes.
  const messages = page.messages.filter(({ data }) =>
    !(data instanceof Uint8Array)
  );
  return { ...page, messages };
}

const INVALID = "The limit or the position of the history is invalid";
