/**
 * Sends clients their position: up to which message they have all, and a token that
 * proves which rooms they were in.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import { encodePosition, UNKNOWN_POSITION } from "../protocol/frames.ts";
import type { SocketTypes } from "../values/types.ts";
import type { MessageStore } from "./message_store.ts";
import { MAX_ROOMS } from "./resume_tokens.ts";

/** A client that supports recovery. */
export interface ResumableClient {
  /** The secret name of the client, the same on each of its connections. */
  readonly session: string;
  /** Whether its token does not match the rooms that it is in. */
  isStale: boolean;
  /** The epoch of its token. */
  epoch: string | undefined;
  /** Whether the last position that it was sent is unknown. */
  isPositionUnknown: boolean;
}

/** Sends the positions of the clients of one server. */
export class PositionSender {
  readonly #store: MessageStore;

  /** Creates the sender of positions in a store. */
  constructor(store: MessageStore) {
    this.#store = store;
  }

  /**
   * Sends a client its position, and a new token if its rooms have changed.
   *
   * @param recovered Whether it has recovered; undefined if that is not to be told.
   */
  send<Types extends SocketTypes>(
    connection: Connection<Types>,
    client: ResumableClient,
    recovered: boolean | undefined,
  ): void {
    const store = this.#store;
    const { tokens, epoch, offset } = store;
    const { rooms } = connection;
    const isStale = client.isStale || client.epoch !== epoch;
    const canSign = rooms.size <= MAX_ROOMS &&
      (!isStale && !store.hasGaps ||
        [...rooms].every((room) => store.isCurrent(room)));
    if (!tokens || epoch === undefined || !canSign) {
      return this.sendUnknown(connection, client, recovered);
    }
    const token = isStale
      ? tokens.sign(client.session, offset, rooms)
      : undefined;
    client.isStale = client.isPositionUnknown = false;
    client.epoch = epoch;
    // A later position supersedes this one, but not the result of a recovery.
    const overflow = recovered === undefined ? "drop-newest" : "terminate";
    const update = { position: { epoch, offset }, recovered, token };
    const sent = coreOf(connection).sendMarked(encodePosition(update), {
      overflow,
    });
    if (token) sent?.catch(() => client.isStale = true);
  }

  /** Tells a client that its position is unknown. */
  sendUnknown<Types extends SocketTypes>(
    connection: Connection<Types>,
    client: ResumableClient,
    recovered?: boolean,
  ): void {
    if (recovered === undefined && client.isPositionUnknown) return;
    client.isPositionUnknown = true;
    const update = { position: UNKNOWN_POSITION, recovered };
    // It must not be dropped, or the client would keep its earlier position.
    coreOf(connection).sendMarked(encodePosition(update), {
      overflow: "terminate",
    });
  }
}
