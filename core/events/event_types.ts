/**
 * The `Event` subclasses. Listeners of `on` receive the same values as positional
 * arguments.
 *
 * @module
 */

import type { Cause, ConnectionEnd } from "./errors.ts";

/**
 * Dispatched as `ready` by a server that starts to listen.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("ready", () => console.log(server.url));
 * ```
 */
export class ReadyEvent extends Event {}

/**
 * Dispatched as `refused` by a server that refuses a request.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("refused", ({ request, status, reason }) => {
 *   console.log(request.url, status, reason);
 * });
 * ```
 */
export class RefusedEvent extends Event {
  /** The request that was refused. */
  readonly request: Request;
  /** The HTTP status of the response. */
  readonly status: number;
  /** Why the request was refused, for a human reader. */
  readonly reason: string;
  /** The address of the client, as {@linkcode Connection.remoteAddress}. */
  readonly remoteAddress: string;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param request The request.
   * @param status The HTTP status of the response.
   * @param reason The human-readable reason.
   * @param remoteAddress The address of the client.
   */
  constructor(
    type: string,
    request: Request,
    status: number,
    reason: string,
    remoteAddress: string,
  ) {
    super(type);
    this.request = request;
    this.status = status;
    this.reason = reason;
    this.remoteAddress = remoteAddress;
  }
}

/** The state of the connection between an adapter and its broker. */
export interface AdapterState {
  /**
   * `up` if the broker delivers messages; `down` if it cannot be reached, does not respond,
   * or rejects messages. Initially `down`.
   */
  readonly state: "up" | "down";
  /** The time at which the state last changed. */
  readonly since: Date;
  /** The last error, even after recovery; undefined if there was none. */
  readonly lastError: unknown;
}

/**
 * Dispatched as `adapter` by a server whose adapter loses or regains the connection to the
 * broker, and when the error changes.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("adapter", ({ state, error }) => {
 *   if (state === "down") console.error("The other servers cannot be reached", error);
 * });
 * ```
 */
export class AdapterEvent extends Event {
  /** The new state: `up` if the broker can be reached, `down` if not. */
  readonly state: "up" | "down";
  /** The error; undefined if `state` is `up`. */
  readonly error: unknown;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param state Whether the broker can be reached.
   * @param error The error; undefined if `state` is `up`.
   */
  constructor(type: string, state: "up" | "down", error: unknown) {
    super(type);
    this.state = state;
    this.error = error;
  }
}

/**
 * Dispatched as `servermessage` when another server has called {@linkcode
 * ServerSocket.sendToServers}.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("servermessage", ({ data }) => console.log(data));
 * ```
 */
export class ServerMessageEvent extends Event {
  /** The data that the other server has sent. */
  readonly data: unknown;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param data The data that the other server has sent.
   */
  constructor(type: string, data: unknown) {
    super(type);
    this.data = data;
  }
}

/**
 * A member of a room: the connections to any server that have the same key.
 *
 * @typeParam Data The type of the public data.
 */
export interface Member<Data = unknown> {
  /**
   * The key that the connections of the member share, such as the id of a user: the result
   * of `key` of the server option `presence`. By default it is the {@linkcode
   * Connection.id}, so that each connection is a separate member.
   */
  readonly key: string;
  /**
   * The public data. If the connections of a member have different data, it is the data
   * that was set last.
   */
  readonly data: Data;
  /** The {@linkcode Connection.id} of each connection of the member in the room. */
  readonly connections: readonly string[];
}

/**
 * Dispatched by a server with the option `presence` as `join`, `update` or `leave`: a
 * member has joined or left a room, or its data has changed, on any server.
 *
 * @typeParam Data The type of the public data.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket({ presence: ({ id }) => ({ id }) });
 * server.addEventListener("join", ({ member, room }) => {
 *   server.to(room).send({ type: "joined", member: member.data });
 * });
 * ```
 */
export class MemberEvent<Data = unknown> extends Event {
  /** The member that has joined or left, or whose data has changed. */
  readonly member: Member<Data>;
  /** The name of the room that the member is or was in. */
  readonly room: string;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param member The member.
   * @param room The name of the room.
   */
  constructor(type: string, member: Member<Data>, room: string) {
    super(type);
    this.member = member;
    this.room = room;
  }
}

/**
 * Dispatched as `connect` when a connection is open.
 *
 * @typeParam Connection The type of the connection.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("connect", ({ connection, path }) => {
 *   connection.join(path);
 * });
 * ```
 */
export class ConnectEvent<Connection> extends Event {
  /** The connection that is open. */
  readonly connection: Connection;
  /** The requested path, without the query. */
  readonly path: string;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param connection The connection.
   * @param path The requested path.
   */
  constructor(type: string, connection: Connection, path: string) {
    super(type);
    this.connection = connection;
    this.path = path;
  }
}

/**
 * Dispatched as `message` when a message is received.
 *
 * @typeParam Message The type of the message.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("message", ({ message }) => {
 *   message.author.send(message.content);
 * });
 * ```
 */
export class ReceivedEvent<Message> extends Event {
  /** The message that was received. */
  readonly message: Message;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param message The message.
   */
  constructor(type: string, message: Message) {
    super(type);
    this.message = message;
  }
}

/**
 * Dispatched as `drain` after a `send` had to wait, when all queued messages have been
 * passed to the socket and it has room again.
 *
 * @example
 * ```ts
 * import type { Connection } from "jsr:@ws/events";
 *
 * function watch(client: Connection): void {
 *   client.addEventListener("drain", () => console.log("has room again"));
 * }
 * ```
 */
export class DrainEvent extends Event {}

/**
 * Dispatched as `reconnecting` by a client before it waits for its next attempt.
 *
 * @example
 * ```ts
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket();
 * client.addEventListener("reconnecting", ({ attempt, delay, error }) => {
 *   console.log(`attempt ${attempt} in ${delay} ms`, error);
 * });
 * ```
 */
export class ReconnectingEvent extends Event {
  /** The number of the attempt since the client was last connected, from 1. */
  readonly attempt: number;
  /** The delay before the attempt, in milliseconds. */
  readonly delay: number;
  /** The error of the previous attempt; undefined if there was none. */
  readonly error: unknown;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param attempt The number of the attempt, from 1.
   * @param delay The delay before the attempt, in milliseconds.
   * @param error The error of the previous attempt, if any.
   */
  constructor(type: string, attempt: number, delay: number, error: unknown) {
    super(type);
    this.attempt = attempt;
    this.delay = delay;
    this.error = error;
  }
}

/**
 * Dispatched as `recovery` by a client that has reconnected to a server with history.
 *
 * @example
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket();
 * client.addEventListener("recovery", ({ recovered }) => {
 *   if (!recovered) location.reload();
 * });
 * ```
 */
export class RecoveryEvent extends Event {
  /** Whether all missed messages were replayed. */
  readonly recovered: boolean;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param recovered Whether all missed messages were replayed.
   */
  constructor(type: string, recovered: boolean) {
    super(type);
    this.recovered = recovered;
  }
}

/**
 * Why a client stopped connecting:
 *
 * - `closed`: the application closed or terminated the client.
 * - `aborted`: a signal was aborted.
 * - `attempts`: `maxAttempts` was reached.
 * - `duration`: `maxDuration` was reached, or the server asked the client to wait for
 *   longer than it leaves.
 * - `final`: `shouldReconnect` decided against another attempt.
 * - `error`: an attempt failed for a reason other than the network, such as an invalid
 *   URL.
 */
export type GiveUpReason =
  | "closed"
  | "aborted"
  | "attempts"
  | "duration"
  | "final"
  | "error";

/**
 * Dispatched as `giveup` by a client that stops reconnecting without success.
 *
 * @example
 * ```ts
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket();
 * client.addEventListener("giveup", ({ error, reason }) => {
 *   console.error("Stopped reconnecting:", reason, error);
 * });
 * ```
 */
export class GiveUpEvent extends Event {
  /** The error of the last attempt, or the reason of the signal. */
  readonly error: unknown;
  /** Why the client stops, such as `attempts` or `final`. */
  readonly reason: GiveUpReason;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param error The error of the last attempt, or the reason of the signal.
   * @param reason Why the client stops.
   */
  constructor(type: string, error: unknown, reason: GiveUpReason) {
    super(type);
    this.error = error;
    this.reason = reason;
  }
}

/**
 * The state of a client:
 *
 * - `idle`: it has not connected yet.
 * - `connecting`: it makes an attempt to connect.
 * - `open`: it has a connection.
 * - `waiting`: it waits before the next attempt.
 * - `closing`: the application has closed it, and the closing handshake is under way.
 * - `closed`: it has no connection, and does not reconnect.
 */
export type ClientState =
  | "idle"
  | "connecting"
  | "open"
  | "waiting"
  | "closing"
  | "closed";

/**
 * Dispatched as `state` by a client whose state has changed.
 *
 * @example
 * ```ts
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket();
 * client.addEventListener("state", ({ state, previous }) => {
 *   console.log(`${previous} -> ${state}`);
 * });
 * ```
 */
export class StateEvent extends Event {
  /** The new state, such as `open`. */
  readonly state: ClientState;
  /** The state before the change. */
  readonly previous: ClientState;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param state The new state.
   * @param previous The state before.
   */
  constructor(type: string, state: ClientState, previous: ClientState) {
    super(type);
    this.state = state;
    this.previous = previous;
  }
}

/**
 * Dispatched when a connection has ended: as `close` if the closing handshake was
 * completed, as `disconnect` if the connection was lost, and after either as `end`.
 *
 * @typeParam Connection The type of the connection.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("end", ({ connection, code, cause, wasClean }) => {
 *   console.log(connection.id, code, cause, wasClean);
 * });
 * ```
 */
export class EndEvent<Connection> extends Event
  implements Omit<EndDetails, "type"> {
  /** The name of the event: `close`, `disconnect` or `end`. */
  declare readonly type: ConnectionEnd["type"] | "end";
  /** The connection that ended. */
  readonly connection: Connection;
  /** How the connection ended; `end.type` is `close` or `disconnect`. */
  readonly end: EndDetails;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param connection The connection that ended.
   * @param end How it ended.
   */
  constructor(
    type: ConnectionEnd["type"] | "end",
    connection: Connection,
    end: EndDetails,
  ) {
    super(type);
    this.connection = connection;
    this.end = end;
  }

  /** The close code; 1006 for a lost connection. */
  get code(): number {
    return this.end.code;
  }

  /** The close reason; an empty string if there was none. */
  get reason(): string {
    return this.end.reason;
  }

  /** Why the connection ended, such as `peer` or `timeout`. */
  get cause(): Cause {
    return this.end.cause;
  }

  /** Whether the closing handshake was completed, as in a `CloseEvent`. */
  get wasClean(): boolean {
    return this.end.wasClean;
  }
}

/**
 * Dispatched as `error` when a listener threw or its promise rejected, and for errors
 * that have no other recipient.
 *
 * @typeParam Connection The type of the connection.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.addEventListener("error", ({ error, from, connection }) => {
 *   console.error(`A listener of "${from}" failed`, connection?.id, error);
 * });
 * ```
 */
export class FailureEvent<Connection> extends Event {
  /** The error: what the listener threw, or the reason of its rejected promise. */
  readonly error: unknown;
  /** The name of the event whose listener failed, or the origin of the error. */
  readonly from: string;
  /** The connection that the error is related to; undefined if there is none. */
  readonly connection: Connection | undefined;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param error The error.
   * @param from The name of the event whose listener failed, or the origin of the error.
   * @param connection The connection that the error is related to; undefined if there is
   * none.
   */
  constructor(
    type: string,
    error: unknown,
    from: string,
    connection: Connection | undefined,
  ) {
    super(type);
    this.error = error;
    this.from = from;
    this.connection = connection;
  }
}

/**
 * The events of an emitter, by name: the arguments of listeners of `on`, and the `Event`
 * of `addEventListener`.
 */
export type EventMap<Events> = {
  [Type in keyof Events]: {
    readonly args: readonly unknown[];
    readonly event: Event;
  };
};

/** How a connection ended; the argument of listeners of `end`. */
export interface EndDetails extends ConnectionEnd {
  /** Whether the closing handshake was completed, as in a `CloseEvent`. */
  readonly wasClean: boolean;
}

/** Adds `wasClean` to the description of an end. */
export function endDetails(
  { type, code, reason, cause }: ConnectionEnd,
): EndDetails {
  return { type, code, reason, cause, wasClean: type === "close" };
}
