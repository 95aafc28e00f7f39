/**
 * The events of a server.
 *
 * @module
 */

import type { Connection, SocketMessage } from "../connection/connection.ts";
import { eventNames } from "../events/event_names.ts";
import type { Cause } from "../events/errors.ts";
import type {
  AdapterEvent,
  ConnectEvent,
  EndDetails,
  EndEvent,
  FailureEvent,
  Member,
  MemberEvent,
  ReadyEvent,
  ReceivedEvent,
  RefusedEvent,
} from "../events/event_types.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";

/**
 * The events of a {@linkcode ServerSocket}.
 *
 * @typeParam Types The types of incoming and outgoing messages.
 */
export interface ServerEvents<Types extends SocketTypes> {
  /** The server is listening. */
  ready: { args: []; event: ReadyEvent };
  /** A request was not upgraded to a WebSocket. */
  refused: {
    args: [
      request: Request,
      status: number,
      reason: string,
      remoteAddress: string,
    ];
    event: RefusedEvent;
  };
  /**
   * The broker of the adapter, and with it the other servers, can be reached (`up`) or
   * cannot (`down`). `down` is emitted within five seconds of the start, and again when
   * the reason changes. Without a listener, the first few reasons are written to the
   * console.
   */
  adapter: {
    args: [state: "up" | "down", error: unknown];
    event: AdapterEvent;
  };
  /**
   * A member has joined a room that a client of this server is in, on any server. Only
   * with the option `presence`.
   */
  join: {
    args: [member: Member<PresenceData<Types>>, room: string];
    event: MemberEvent<PresenceData<Types>>;
  };
  /** The data of a member of such a room has changed. */
  update: {
    args: [member: Member<PresenceData<Types>>, room: string];
    event: MemberEvent<PresenceData<Types>>;
  };
  /** A member has left such a room: all its connections have. */
  leave: {
    args: [member: Member<PresenceData<Types>>, room: string];
    event: MemberEvent<PresenceData<Types>>;
  };
  /** A client has connected. */
  connect: {
    args: [client: Connection<Types>, path: string];
    event: ConnectEvent<Connection<Types>>;
  };
  /** A client has sent a message; `message.author` is the client. */
  message: {
    args: [message: SocketMessage<Types>];
    event: ReceivedEvent<SocketMessage<Types>>;
  };
  /** A connection was closed: the closing handshake is complete. */
  close: {
    args: [
      client: Connection<Types>,
      code: number,
      reason: string,
      cause: Cause,
    ];
    event: EndEvent<Connection<Types>>;
  };
  /** A connection was lost. */
  disconnect: {
    args: [
      client: Connection<Types>,
      code: number,
      reason: string,
      cause: Cause,
    ];
    event: EndEvent<Connection<Types>>;
  };
  /**
   * A connection has ended: emitted once after its `close` or `disconnect`, with
   * `{ type, code, reason, cause, wasClean }`. For listeners that only clean up.
   */
  end: {
    args: [client: Connection<Types>, end: EndDetails];
    event: EndEvent<Connection<Types>>;
  };
  /** A listener has thrown, or its promise has rejected. */
  error: {
    args: [error: unknown, from: string, client: Connection<Types> | undefined];
    event: FailureEvent<Connection<Types>>;
  };
}

/** The names of the events of a server. */
export const SERVER_EVENT_NAMES: ReadonlySet<string> = eventNames<
  ServerEvents<SocketTypes>
>({
  ready: true,
  connect: true,
  message: true,
  close: true,
  disconnect: true,
  end: true,
  refused: true,
  adapter: true,
  join: true,
  update: true,
  leave: true,
  error: true,
});
