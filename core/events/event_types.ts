/**
 * The `Event` subclasses, and which event carries what. A listener of `on` gets
 * the same values as positional arguments.
 *
 * @module
 */

import type { Cause, ConnectionEnd } from "./errors.ts";

/** Dispatched by a server as soon as it listens. */
export class ReadyEvent extends Event {}

/** Dispatched by a server when a request does not become a WebSocket. */
export class RefusedEvent extends Event {
  /** The request. */
  readonly request: Request;
  /** The HTTP status of the answer. */
  readonly status: number;
  /** Why, for a human reader. */
  readonly reason: string;
  /** The address of whoever asked. */
  readonly remoteAddress: string;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param request The request.
   * @param status The HTTP status of the answer.
   * @param reason Why, for a human reader.
   * @param remoteAddress The address of whoever asked.
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

/** Whether a server reaches the broker of its adapter. */
export interface AdapterState {
  /**
   * `"up"` if the broker passes messages on, `"down"` if it cannot be reached, does not
   * answer, or refuses them. A server starts with `"down"`.
   */
  readonly state: "up" | "down";
  /** Since when. */
  readonly since: Date;
  /** The last reason for `"down"`, also while it is `"up"` again; undefined if none. */
  readonly lastError: unknown;
}

/**
 * Dispatched by a server when it reaches the broker of its adapter, when it does not, and
 * again when the reason changes.
 */
export class AdapterEvent extends Event {
  /** Whether it reaches the broker. */
  readonly state: "up" | "down";
  /** Why it does not; undefined if it does. */
  readonly error: unknown;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param state Whether it can.
   * @param error Why not.
   */
  constructor(type: string, state: "up" | "down", error: unknown) {
    super(type);
    this.state = state;
    this.error = error;
  }
}

/** Somebody who is in a room, on whatever server. */
export interface Member {
  /** The {@linkcode Connection.id}. */
  readonly id: string;
  /** What the server's option `presence` says of them. */
  readonly data: unknown;
}

/** Dispatched by a server when somebody joins a room or leaves it. */
export class MemberEvent extends Event {
  /** Who. */
  readonly member: Member;
  /** The room. */
  readonly room: string;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param member Who.
   * @param room The room.
   */
  constructor(type: string, member: Member, room: string) {
    super(type);
    this.member = member;
    this.room = room;
  }
}

/**
 * Dispatched when a connection is open.
 *
 * @typeParam Client The type of the connection.
 */
export class ConnectEvent<Client> extends Event {
  /** The connection. */
  readonly client: Client;
  /** The path that was asked for. */
  readonly path: string;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param client The connection.
   * @param path The path that was asked for.
   */
  constructor(type: string, client: Client, path: string) {
    super(type);
    this.client = client;
    this.path = path;
  }
}

/**
 * Dispatched when a message has come.
 *
 * @typeParam Message The type of the message.
 */
export class ReceivedEvent<Message> extends Event {
  /** The message. */
  readonly message: Message;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param message The message.
   */
  constructor(type: string, message: Message) {
    super(type);
    this.message = message;
  }
}

/** Dispatched when there is room again for what is to be sent. */
export class DrainEvent extends Event {}

/** Dispatched by a client that is about to try again. */
export class ReconnectingEvent extends Event {
  /** Which attempt it is since the client was connected; the first is 1. */
  readonly attempt: number;
  /** In how many milliseconds it will be made. */
  readonly delay: number;
  /** Why the attempt before this failed; undefined if there was none. */
  readonly error: unknown;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param attempt Which attempt it is.
   * @param delay In how many milliseconds it will be made.
   * @param error Why the attempt before this failed, if there was one.
   */
  constructor(type: string, attempt: number, delay: number, error: unknown) {
    super(type);
    this.attempt = attempt;
    this.delay = delay;
    this.error = error;
  }
}

/** Dispatched by a client that has come back to a server that keeps messages. */
export class RecoveryEvent extends Event {
  /** Whether it has got all that it has missed. */
  readonly recovered: boolean;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param recovered Whether it has got all that it has missed.
   */
  constructor(type: string, recovered: boolean) {
    super(type);
    this.recovered = recovered;
  }
}

/** Dispatched by a client that will not try again. */
export class GiveUpEvent extends Event {
  /** Why. */
  readonly error: unknown;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param error Why.
   */
  constructor(type: string, error: unknown) {
    super(type);
    this.error = error;
  }
}

/**
 * Dispatched when a connection has ended: as `close` where the closing
 * handshake was finished, as `disconnect` where the connection was lost.
 */
export class EndEvent extends Event implements ConnectionEnd {
  /** Which of the two it is. */
  declare readonly type: ConnectionEnd["type"];
  /** The close code; 1006 for a lost connection. */
  readonly code: number;
  /** The reason that came with the code; empty if there was none. */
  readonly reason: string;
  /** What brought the end about. */
  readonly cause: Cause;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param code The close code.
   * @param reason The reason.
   * @param cause What brought the end about.
   */
  constructor(
    type: ConnectionEnd["type"],
    code: number,
    reason: string,
    cause: Cause,
  ) {
    super(type);
    this.code = code;
    this.reason = reason;
    this.cause = cause;
  }

  /** Whether the closing handshake was finished, as in a `CloseEvent`. */
  get wasClean(): boolean {
    return this.type === "close";
  }
}

/**
 * An {@linkcode EndEvent} as a server dispatches it: with the connection.
 *
 * @typeParam Client The type of the connection.
 */
export class ClientEndEvent<Client> extends EndEvent {
  /** The connection that ended. */
  readonly client: Client;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param client The connection that ended.
   * @param code The close code.
   * @param reason The reason.
   * @param cause What brought the end about.
   */
  constructor(
    type: ConnectionEnd["type"],
    client: Client,
    code: number,
    reason: string,
    cause: Cause,
  ) {
    super(type, code, reason, cause);
    this.client = client;
  }
}

/**
 * Dispatched when a listener threw or its promise rejected, and when something
 * else went wrong that nobody else would hear of.
 *
 * @typeParam Client The type of the connection.
 */
export class FailureEvent<Client> extends Event {
  /** What was thrown. */
  readonly error: unknown;
  /** The name of the event whose listener threw. */
  readonly from: string;
  /** The connection that the event was about, if it was about one. */
  readonly client: Client | undefined;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param error What was thrown.
   * @param from The name of the event whose listener threw.
   * @param client The connection that the event was about, if any.
   */
  constructor(
    type: string,
    error: unknown,
    from: string,
    client: Client | undefined,
  ) {
    super(type);
    this.error = error;
    this.from = from;
    this.client = client;
  }
}

/**
 * What an emitter emits: by name, the arguments of a listener of `on` and the
 * `Event` of `addEventListener`.
 */
export type EventMap<Events> = {
  [Type in keyof Events]: {
    readonly args: readonly unknown[];
    readonly event: Event;
  };
};

/** How a connection ended, as the event `end` tells it. */
export interface EndDetails extends ConnectionEnd {
  /** Whether the closing handshake was finished, as in a `CloseEvent`. */
  readonly wasClean: boolean;
}

/**
 * Completes what is known of an end.
 *
 * @param end The end.
 * @returns Its details.
 */
export function endDetails(
  { type, code, reason, cause }: ConnectionEnd,
): EndDetails {
  return { type, code, reason, cause, wasClean: type === "close" };
}

/** Dispatched after every `close` and every `disconnect`. */
export class EndedEvent extends Event {
  /** How the connection ended. */
  readonly end: EndDetails;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param end How the connection ended.
   */
  constructor(type: string, end: EndDetails) {
    super(type);
    this.end = end;
  }
}

/**
 * Dispatched by a server after every `close` and every `disconnect`.
 *
 * @typeParam Client The type of the connection.
 */
export class ClientEndedEvent<Client> extends EndedEvent {
  /** The connection that ended. */
  readonly client: Client;

  /**
   * Creates the event.
   *
   * @param type The event's name.
   * @param client The connection that ended.
   * @param end How it ended.
   */
  constructor(type: string, client: Client, end: EndDetails) {
    super(type, end);
    this.client = client;
  }
}

/** The arguments of `close` and `disconnect`. */
export type EndArgs = [code: number, reason: string, cause: Cause];

/**
 * The arguments of `close` and `disconnect` of a server.
 *
 * @typeParam Client The type of the connection.
 */
export type ClientEndArgs<Client> = [client: Client, ...end: EndArgs];
