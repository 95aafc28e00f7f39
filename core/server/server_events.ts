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
  ServerMessageEvent,
} from "../events/event_types.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";

/**
 * The events of a {@linkcode ServerSocket}.
 *
 * @typeParam Types The types of incoming and outgoing messages.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("ready", () => console.log("listening on", server.url));
 * server.on("connect", (client, path) => client.join(path));
 * server.on("message", ({ author, data }) => console.log(author.id, data));
 * server.on("end", (client, { code, cause }) => console.log(client.id, code, cause));
 * ```
 */
export interface ServerEvents<Types extends SocketTypes> {
  /** The server is listening. */
  ready: { args: []; event: ReadyEvent };
  /**
   * A request was not upgraded to a WebSocket. Listeners get the request, the HTTP
   * status of the response, the reason, and the address of the client.
   */
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
   * The adapter can reach its broker, and so the other servers (`up`), or cannot
   * (`down`). Listeners get the state and the error. `down` is emitted within five
   * seconds of the start, and again when the reason changes. Without a listener, the
   * first few reasons are written to the console.
   */
  adapter: {
    args: [state: "up" | "down", error: unknown];
    event: AdapterEvent;
  };
  /**
   * A member has joined a room that a client of this server is in. The member may be on
   * any server. Listeners get the member and the name of the room. Only emitted with
   * the option `presence`.
   */
  join: {
    args: [member: Member<PresenceData<Types>>, room: string];
    event: MemberEvent<PresenceData<Types>>;
  };
  /**
   * The data of a member has changed, in a room that a client of this server is in.
   * Listeners get the member and the name of the room.
   */
  update: {
    args: [member: Member<PresenceData<Types>>, room: string];
    event: MemberEvent<PresenceData<Types>>;
  };
  /**
   * A member has left a room that a client of this server is in: the last of its
   * connections has left. Listeners get the member and the name of the room.
   */
  leave: {
    args: [member: Member<PresenceData<Types>>, room: string];
    event: MemberEvent<PresenceData<Types>>;
  };
  /**
   * Another server has called {@linkcode ServerSocket.sendToServers}. Listeners get the
   * data.
   */
  servermessage: { args: [data: unknown]; event: ServerMessageEvent };
  /** A client has connected. Listeners get the connection and the requested path. */
  connect: {
    args: [client: Connection<Types>, path: string];
    event: ConnectEvent<Connection<Types>>;
  };
  /**
   * A client has sent a message. Listeners get the message; `message.author` is the
   * client.
   */
  message: {
    args: [message: SocketMessage<Types>];
    event: ReceivedEvent<SocketMessage<Types>>;
  };
  /**
   * A connection was closed: the closing handshake was completed. Listeners get the
   * client, the close code, the reason and the cause.
   */
  close: {
    args: [
      client: Connection<Types>,
      code: number,
      reason: string,
      cause: Cause,
    ];
    event: EndEvent<Connection<Types>>;
  };
  /**
   * A connection was lost. Listeners get the client, the code, usually 1006, the
   * reason, usually empty, and the cause.
   */
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
   * A connection has ended. Emitted once, after its `close` or `disconnect`, for
   * listeners that only clean up. They get the client and `{ type, code, reason, cause,
   * wasClean }`.
   */
  end: {
    args: [client: Connection<Types>, end: EndDetails];
    event: EndEvent<Connection<Types>>;
  };
  /**
   * A listener threw, or its promise rejected. Listeners get the error, the name of the
   * event whose listener failed, and the client, if the error is related to one.
   */
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
  servermessage: true,
  error: true,
});
