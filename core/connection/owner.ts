/**
 * The interface between a connection and the server or client that owns it.
 *
 * @module
 */

import type { Message, MessageAuthor } from "../../message.ts";
import type { Cause, ConnectionEnd } from "../events/errors.ts";
import type { InstrumentedConnection } from "../events/instrumentation.ts";
import type { Payload } from "../protocol/frames.ts";
import type { RequestHandler } from "../requests/handlers.ts";
import type { QueuedMessage, SendOptions } from "../sending/send_queue.ts";
import type {
  Context,
  Incoming,
  Outgoing,
  SocketTypes,
} from "../values/types.ts";
import type { InboundHooks } from "./inbound_hooks.ts";

/** A connection, as its parts and its owner see it. */
export interface OwnedConnection<Types extends SocketTypes>
  extends EventTarget, MessageAuthor<Outgoing<Types>>, InstrumentedConnection {}

/** A message that a connection has received. */
export type MessageFrom<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>>,
> = Message<Incoming<Types>, Outgoing<Types>, C>;

/** The rooms of a server, as its connections use them. */
export interface ConnectionRooms<C> {
  /** Checks the name of a room, and throws an error that names the attempt. */
  assertName(attempt: "join" | "leave", room: string): void;
  /** The rooms that a connection is in, or was in when it ended. */
  roomsOf(connection: C): ReadonlySet<string>;
  /** Adds a connection to a room. */
  join(connection: C, room: string): void;
  /** Removes a connection from a room. */
  leave(connection: C, room: string): void;
}

/**
 * The server or client that owns a connection.
 *
 * @typeParam Types The types of the socket.
 * @typeParam C The connection.
 */
export interface Owner<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>>,
> {
  /** The rooms that connections may join; undefined on a client. */
  readonly rooms: ConnectionRooms<C> | undefined;
  /** The hooks around everything that connections receive, if there are any. */
  readonly hooks?: InboundHooks<C> | undefined;
  /**
   * Called when the application replaces the context of a connection; undefined on a
   * client.
   *
   * @throws {unknown} If it cannot be replaced.
   */
  renew?(connection: C, context: Context<Types>): void;
  /** Called when the application closes or terminates the connection. Gives the cause. */
  beforeClose(): Cause;
  /**
   * Whether the connection belongs to an HTTP server that this library did not start.
   * Such a server closes its sockets itself when it shuts down.
   */
  isHosted(): boolean;
  /** Whether the owner has a listener to an event; for `message`, also to any type. */
  hasListener(type: "message" | "close" | "disconnect" | "end"): boolean;
  /** Whether the owner has a listener to a message. */
  isMessageHeard(message: MessageFrom<Types, C>): boolean;
  /**
   * Called when the connection is open.
   *
   * @param flush Delivers early messages. The owner calls it when it gets a listener to
   * messages.
   * @returns A promise for each listener that is still running; none of them rejects.
   */
  opened(connection: C, flush: () => void): readonly Promise<unknown>[];
  /**
   * Emits a message.
   *
   * @param pending Takes a promise for each listener that is still running; none of them
   * rejects.
   */
  received(message: MessageFrom<Types, C>, pending?: Promise<unknown>[]): void;
  /** Finds the handler of a request. */
  findHandler(
    request: MessageFrom<Types, C>,
  ): RequestHandler<MessageFrom<Types, C>> | undefined;
  /** Takes a frame of a request that is sent again after a loss; on a server only. */
  receiveRetry?(connection: C, payload: Payload): void;
  /** Called when the send queue of the connection is empty again. */
  drained(): void;
  /** Called on a client that has reconnected: whether all missed messages were replayed. */
  recovered?(recovered: boolean): void;
  /** Called when a message was sent that may replace a queued one with the same key. */
  superseded?(options: SendOptions | undefined): void;
  /**
   * Takes the messages that any connection of the owner may send and that this one did
   * not. Called before {@linkcode Owner.ended}.
   */
  unsent(entries: readonly QueuedMessage[]): void;
  /** Called when the connection has ended. */
  ended(connection: C, end: ConnectionEnd): void;
  /**
   * Called after {@linkcode Owner.ended}, if the connection still has to emit its own end
   * because it waits for listeners; and again when it no longer does. `close` and
   * `terminate` end the wait.
   */
  endDeferred(connection: C, isDeferred: boolean): void;
  /**
   * Called when the connection could not be opened, with the error of the runtime. The
   * end is a `close` if the server accepted the connection only to close it.
   */
  refused(connection: C, failure: unknown, end: ConnectionEnd): void;
  /** Reports an error for which the connection has no `error` listener. */
  failed(error: unknown, from: string, connection: C): void;
}
