/**
 * The events of a client.
 *
 * @module
 */

import type { MessageAuthor } from "../../message.ts";
import type { Connection, ConnectionEvents } from "../connection/connection.ts";
import type {
  ClientState,
  ConnectEvent,
  GiveUpEvent,
  GiveUpReason,
  ReconnectingEvent,
  RecoveryEvent,
  StateEvent,
} from "../events/event_types.ts";
import type { Outgoing, SocketTypes } from "../values/types.ts";

/**
 * The events of a {@linkcode ClientSocket}.
 *
 * @typeParam Types The types of the client.
 * @typeParam C The type of the connection.
 *
 * @example
 * ```ts
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket();
 * client.on("connect", () => client.send("Hello"));
 * client.on("reconnecting", (attempt, delay) => console.log(attempt, delay));
 * client.on("recovery", (recovered) => console.log("nothing missed:", recovered));
 * client.on("giveup", (error, reason) => console.error(reason, error));
 * ```
 */
export interface ClientEvents<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> extends ConnectionEvents<Types, C> {
  /** The connection is open. Listeners get the connection and the requested path. */
  connect: {
    args: [connection: C, path: string];
    event: ConnectEvent<C>;
  };
  /**
   * The client is disconnected, and will try to connect after a delay. Listeners get the
   * number of the attempt from 1, the delay in milliseconds, and the error of the previous
   * attempt, if any. It is followed by another `reconnecting`, by `connect` or by `giveup`.
   */
  reconnecting: {
    args: [attempt: number, delay: number, error: unknown];
    event: ReconnectingEvent;
  };
  /**
   * The client has reconnected, and the last server or the new one has the option
   * `history`. Listeners get `true` if all missed messages were replayed. If it is
   * `false`, the application has to reload its state. Emitted after `connect` and the
   * replayed messages.
   */
  recovery: { args: [recovered: boolean]; event: RecoveryEvent };
  /**
   * The client has stopped reconnecting without success. Listeners get the error of the
   * last attempt, or the reason of the signal, and why the client stopped.
   */
  giveup: { args: [error: unknown, reason: GiveUpReason]; event: GiveUpEvent };
  /**
   * The state of the client has changed. Listeners get the new state and the previous
   * one. Emitted after the event that says why, such as `connect` or `disconnect`.
   */
  state: {
    args: [state: ClientState, previous: ClientState];
    event: StateEvent;
  };
}
