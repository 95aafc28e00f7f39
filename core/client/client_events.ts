/**
 * The events of a client.
 *
 * @module
 */

import type { Connection, ConnectionEvents } from "../connection/connection.ts";
import type {
  ConnectEvent,
  GiveUpEvent,
  ReconnectingEvent,
  RecoveryEvent,
} from "../events/event_types.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * The events of a `ClientSocket`.
 *
 * @typeParam Types The types of what comes in and goes out.
 */
export interface ClientEvents<Types extends SocketTypes>
  extends ConnectionEvents<Types> {
  /** The connection is open. */
  connect: {
    args: [connection: Connection<Types>, path: string];
    event: ConnectEvent<Connection<Types>>;
  };
  /**
   * There is no connection, and after a delay another attempt will be made to get
   * one. It is followed by another one, by `connect`, or by `giveup`.
   */
  reconnecting: {
    args: [attempt: number, delay: number, error: unknown];
    event: ReconnectingEvent;
  };
  /**
   * The client is back at a server with the option `history`, or at one that should have
   * it. Either it has got all that it has missed, or it may have missed something:
   * then it has to load anew what it shows. It is told after `connect`, and after the
   * messages that were missed.
   */
  recovery: { args: [recovered: boolean]; event: RecoveryEvent };
  /**
   * No more attempts will be made: they have reached their limit, or the program
   * has closed the client. It is told once for each way that was to lead back from
   * an end, or of which a `reconnecting` was told, and that led nowhere.
   */
  giveup: { args: [error: unknown]; event: GiveUpEvent };
}
