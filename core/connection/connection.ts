/**
 * The public class of one live WebSocket, the same on both sides. What it does is in
 * `connection_core.ts`.
 *
 * @module
 */

import type { Message } from "../../message.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { eventNames } from "../events/event_names.ts";
import type { EventsOptions } from "../events/subscriptions.ts";
import { CloseCode, ignoreRejection } from "../events/errors.ts";
import type {
  DrainEvent,
  EndArgs,
  EndDetails,
  EndedEvent,
  EndEvent,
  FailureEvent,
  ReceivedEvent,
} from "../events/event_types.ts";
import type { ResumeRequest } from "../protocol/subprotocol.ts";
import type { RequestOptions } from "../requests/session.ts";
import {
  assertSendOptions,
  type QueuedMessage,
  type SendOptions,
} from "../sending/send_queue.ts";
import type { TrafficCount } from "../sending/socket_writer.ts";
import { randomId } from "../util/random_id.ts";
import { encodeWith, type Frame } from "../values/codec.ts";
import type { StandardSchema } from "../values/schema.ts";
import type {
  Context,
  Incoming,
  MessageType,
  OfType,
  Outgoing,
  Reply,
  SocketTypes,
} from "../values/types.ts";
import {
  type CheckedRequestOptions,
  ConnectionCore,
  type ConnectionInit,
} from "./connection_core.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import type { ConnectionRooms, Owner } from "./owner.ts";

export type {
  CheckedRequestOptions,
  ConnectionInit,
} from "./connection_core.ts";

/** A message as a socket emits it, by {@linkcode SocketTypes}. */
export type SocketMessage<Types extends SocketTypes> = Message<
  Incoming<Types>,
  Outgoing<Types>,
  Connection<Types>
>;

/**
 * A message of one type: its data is the member of `incoming` that has this `type`.
 *
 * @typeParam Types The types of the sockets.
 * @typeParam Type The type of the message.
 */
export type TypedMessage<Types extends SocketTypes, Type extends string> =
  Message<
    OfType<Incoming<Types>, Type>,
    Outgoing<Types>,
    Connection<Types>
  >;

/**
 * The events for messages of one type, such as `message:chat`, by the union of
 * `data.type`. Each is emitted right after `message`.
 *
 * @typeParam Types The types of the sockets.
 */
export type TypedMessages<Types extends SocketTypes> = {
  [Type in MessageType<Types> as `message:${Type}`]: {
    args: [message: TypedMessage<Types, Type>];
    event: ReceivedEvent<TypedMessage<Types, Type>>;
  };
};

/**
 * The events of a `Connection`.
 *
 * @typeParam Types The types of what comes in and goes out.
 */
export interface ConnectionEvents<Types extends SocketTypes> {
  /** A message has come. */
  message: {
    args: [message: SocketMessage<Types>];
    event: ReceivedEvent<SocketMessage<Types>>;
  };
  /** The connection was closed: the closing handshake is finished. */
  close: {
    args: EndArgs;
    event: EndEvent;
  };
  /** The connection was lost. */
  disconnect: {
    args: EndArgs;
    event: EndEvent;
  };
  /**
   * The connection has ended: emitted once after its `close` or `disconnect`, with
   * `{ type, code, reason, cause, wasClean }`. For listeners that only clean up.
   */
  end: { args: [end: EndDetails]; event: EndedEvent };
  /**
   * So much had waited for the peer that `send` let wait, too; now all is sent,
   * or on its way, and there is room again.
   */
  drain: { args: []; event: DrainEvent };
  /** A listener of this connection threw. */
  error: {
    args: [error: unknown, from: string, client: Connection<Types> | undefined];
    event: FailureEvent<Connection<Types>>;
  };
}

/** The owner of a connection. */
export type ConnectionOwner<Types extends SocketTypes> = Owner<
  Types,
  Connection<Types>
>;

/** What the owner of a connection may do with it, and nobody else. */
export interface ConnectionInternals {
  /**
   * Sends for the owner.
   *
   * @param connection The connection.
   * @param frame What to send.
   * @param options What to do if the peer does not keep up.
   * @param isTransferable Whether it may go out by another connection: then the promise
   * resolves even if this one is lost after the message has been handed to it.
   * @returns As `Connection.send`; undefined if it takes nothing any more.
   */
  send<Types extends SocketTypes>(
    connection: Connection<Types>,
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> | undefined;
  /**
   * Sends what has waited for a connection.
   *
   * @param connection The connection.
   * @param entry What to send.
   * @returns Whether the connection takes it.
   */
  adopt<Types extends SocketTypes>(
    connection: Connection<Types>,
    entry: QueuedMessage,
  ): boolean;
  /**
   * Sends what only `events.v1` knows, and what counts as a message.
   *
   * @param connection The connection.
   * @param frame What to send.
   * @param options What to do if the peer does not keep up.
   * @returns As {@linkcode Connection.send}; undefined if nothing was sent.
   */
  sendMarked<Types extends SocketTypes>(
    connection: Connection<Types>,
    frame: Frame,
    options?: SendOptions,
  ): Promise<void> | undefined;
  /**
   * Who is at the other end, if it is a client that can come back.
   *
   * @param connection The connection.
   * @returns The client.
   */
  resumeOf<Types extends SocketTypes>(
    connection: Connection<Types>,
  ): ResumeRequest | undefined;
  /**
   * About how many bytes of memory its queues take, and those of its socket.
   *
   * @param connection The connection.
   * @returns The bytes.
   */
  heldBy<Types extends SocketTypes>(connection: Connection<Types>): number;
  /**
   * Ends a connection whose queues take more memory than all others'. Nothing that has
   * waited is sent or handed out any more.
   *
   * @param connection The connection.
   */
  endLargest<Types extends SocketTypes>(connection: Connection<Types>): void;
  /**
   * Ends a connection whose messages came faster than the owner's loop took them,
   * unless somebody else hears them.
   *
   * @param connection The connection.
   */
  outrun<Types extends SocketTypes>(connection: Connection<Types>): void;
}

/** What the owner of a connection may do with it; no program gets this. */
export let internals: ConnectionInternals;

let connectionHooks: EmitterHooks;

/**
 * One live WebSocket: what a server's listeners call `client`, what
 * `message.author` is, and what `ClientSocket.connection` holds.
 *
 * It is an emitter of its own `message`, `drain`, `close`, `disconnect` and
 * `error`. It ends with one `close` or one `disconnect`, never both, and emits nothing
 * after that.
 *
 * @typeParam Types The types of what comes in and goes out.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("connect", (client) => {
 *   client.on("message", (message) => client.send(message.content));
 *   client.on("close", (code, reason) => console.log("closed", code, reason));
 *   client.on("disconnect", () => console.log("lost", client.remoteAddress));
 * });
 * ```
 */
export class Connection<Types extends SocketTypes = SocketTypes>
  extends Emitter<ConnectionEvents<Types>, TypedMessages<Types>> {
  /** The path that was asked for, without the query. */
  readonly path: string;
  /**
   * The peer's address as `host:port`, ready to print. On the client's side it
   * is the host and port that were asked for.
   */
  readonly remoteAddress: string;
  /**
   * What the server's `authorize` has returned for it; `undefined` where there is
   * none, as on the client's side.
   */
  readonly context: Context<Types>;
  readonly #url: string;
  readonly #owner: ConnectionOwner<Types>;
  readonly #options: ConnectionOptions<Types>;
  readonly #core: ConnectionCore<Types, Connection<Types>>;
  #id: string | undefined;

  static {
    connectionHooks = {
      names: eventNames<ConnectionEvents<SocketTypes>>({
        message: true,
        drain: true,
        close: true,
        disconnect: true,
        end: true,
        error: true,
      }),
      failed: (connection: Connection, error, from) =>
        connection.#core.dispatcher.reportError(error, from),
      outrun: (connection: Connection) => connection.#core.outrun(),
      added: (connection: Connection, type) => {
        if (!type.startsWith("message")) return;
        connection.#core.dispatcher.deliverEarlySoon();
      },
    };
    internals = {
      send: (connection, frame, options, isTransferable) =>
        connection.#core.send(frame, options, isTransferable),
      adopt: (connection, entry) => connection.#core.adopt(entry),
      sendMarked: (connection, frame, options) =>
        connection.#core.outbound.writable()?.sendMarked(frame, options),
      resumeOf: (connection) => connection.#core.outbound.negotiated?.resume,
      heldBy: (connection) => connection.#core.memory,
      endLargest: (connection) => connection.#core.terminateLargest(),
      outrun: (connection) => connection.#core.outrun(),
    };
  }

  /** Connections are created by their server or client. */
  constructor(init: ConnectionInit<Types>, owner: ConnectionOwner<Types>) {
    super();
    emitters.attach(this, connectionHooks);
    this.#url = init.url;
    this.path = init.path;
    this.remoteAddress = init.remoteAddress;
    // The type of `context` is the type of what `authorize` returns.
    this.context = init.context as Context<Types>;
    this.#owner = owner;
    this.#options = init.options;
    this.#core = new ConnectionCore<Types, Connection<Types>>(
      this,
      init,
      owner,
    );
  }

  /**
   * The headers of the request. All of them are there until the `connect` listeners are
   * done, and the promises that they returned have settled. After that, only those are
   * that the server's option `keepHeaders` names, as headers take memory for as long as
   * the connection lives. Read what you need in `authorize` or in a `connect` listener.
   * On the client's side there are none, because no runtime tells the headers of the
   * response.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket({ keepHeaders: ["User-Agent"] });
   * server.on("connect", ({ headers }) => console.log(headers.get("Accept-Language")));
   * server.on("close", ({ headers }) => console.log(headers.get("User-Agent")));
   * ```
   */
  get headers(): Headers {
    return this.#core.headers ?? new Headers();
  }

  /** The URL that was asked for. */
  get url(): string {
    return this.#url.replace(/^http/, "ws");
  }

  /** A random name of this connection, of 32 hexadecimal digits. */
  get id(): string {
    return this.#id ??= randomId();
  }

  /** The program's own subprotocol that both sides speak; empty if there is none. */
  get protocol(): string {
    return this.#core.outbound.negotiated?.protocol ?? "";
  }

  /**
   * Whether both sides speak `events.v1`: then there are requests, and messages that
   * are sent together travel together.
   */
  get speaksEvents(): boolean {
    return this.#core.outbound.negotiated?.isEvents ?? false;
  }

  /** When the connection was opened. */
  get connectedAt(): Date {
    return new Date(this.#core.connectedAt);
  }

  /**
   * The state, as in `WebSocket.readyState`: 0 connecting, 1 open, 2 closing (as
   * soon as `close` has been called), 3 ended.
   */
  get readyState(): 0 | 1 | 2 | 3 {
    return this.#core.closing.readyState;
  }

  /** How many bytes wait for the peer; 0 if the connection is not open. */
  get bufferedAmount(): number {
    const { closing, outbound } = this.#core;
    return closing.isOpen ? outbound.bufferedAmount : 0;
  }

  /**
   * What the connection has carried so far: how many messages have come in, also those
   * that were refused or dropped then; and how many were handed to the socket, what
   * `events.v1` adds among them: answers to pings and requests, and their traces. The
   * size of a text is its `length`, which for ASCII is that of its bytes.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("close", ({ id, traffic: { received, sent } }) => {
   *   console.log(id, received.messages, sent.bytes);
   * });
   * ```
   */
  get traffic(): {
    readonly received: TrafficCount;
    readonly sent: TrafficCount;
  } {
    const { receiver: { received }, sent } = this.#core;
    return { received, sent };
  }

  /**
   * How many messages were dropped: of those that came in (as `messageRate` says),
   * of those that were to go out (as `overflow` says), and of replies, those that
   * came when nobody waited for them any more.
   */
  get dropped(): {
    readonly incoming: number;
    readonly outgoing: number;
    readonly replies: number;
  } {
    const { receiver, outbound } = this.#core;
    return {
      incoming: receiver.dropped,
      outgoing: outbound.sender?.dropped ?? 0,
      replies: receiver.session?.lateReplies ?? 0,
    };
  }

  /**
   * Sends a message: a string as a text frame, bytes and a `Blob` as a binary
   * frame, all else as JSON in a text frame. Messages go out in the order of
   * the calls.
   *
   * @param data What to send.
   * @param options What to do if the peer does not keep up.
   * @returns A promise that resolves when the message has been handed to the
   * socket and less than `highWaterMark` waits for the peer, so that a loop that
   * awaits it cannot outrun the peer. It does not tell that the message has
   * arrived. It rejects with a `ConnectionEndedError` if the connection is not
   * open, or ends while it waits, and with a `MessageDroppedError` if the message
   * is dropped, as `overflow` says; if nobody awaits it, that is no unhandled
   * rejection: the end is told by its event.
   * @throws {TypeError} If JSON cannot hold the data: `undefined`, a function, a
   * symbol, a bigint, a cycle. Then nothing has been sent.
   * @throws {RangeError} If `overflow` is no policy. Neither then.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", async (client) => {
   *   await client.send("text");
   *   await client.send({ status: "Okay", ping: 10.4 });
   *   await client.send(new Uint8Array([1, 2, 3]));
   * });
   * ```
   *
   * @example Only the latest position counts
   * ```ts
   * import type { Connection } from "jsr:@ws/events";
   *
   * function move(client: Connection, player: string, x: number, y: number) {
   *   const key = `position of ${player}`;
   *   client.send({ player, x, y }, { overflow: "latest", key });
   * }
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const core = this.#core;
    return core.send(encodeWith(data, this.#options.codec), options, false) ??
      ignoreRejection(Promise.reject(core.closing.error("send")));
  }

  /**
   * Asks the peer, and gives its answer: what a handler there returns, or what is
   * given to `message.reply`. Many may be under way at once; they are answered in any
   * order.
   *
   * @param data What to ask.
   * @param options How long to wait.
   * @returns A promise of the answer. It rejects with a {@linkcode RequestError} if the
   * peer says that there is none; with a `DOMException` named `TimeoutError` when the
   * time is over, or with the signal's reason; with a `ConnectionEndedError` when
   * the connection ends; with a `DOMException` named `NotSupportedError` if the peer
   * does not speak `events.v1`. An answer that comes later is dropped, and counted. If
   * nobody awaits the promise, that is no unhandled rejection.
   * @throws {TypeError} If JSON cannot hold the data.
   * @throws {RangeError} If the timeout is negative or no number.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{ reply: { time: string } }>();
   * server.on("connect", async (client) => {
   *   const { time } = await client.request("What time is it?", { timeout: 2_000 });
   *   console.log(`At ${client.remoteAddress} it is ${time}`);
   * });
   * ```
   */
  request(
    data: Outgoing<Types>,
    options?: RequestOptions,
  ): Promise<Reply<Types>>;
  /**
   * Asks the peer, as above, and checks its answer.
   *
   * @param data What to ask.
   * @param options How long to wait, and what checks the answer.
   * @returns A promise as above of what the schema makes of the answer. It rejects
   * with a {@linkcode SchemaError} if the answer does not fit.
   * @throws {TypeError} If JSON cannot hold the data.
   */
  request<Output>(
    data: Outgoing<Types>,
    options: CheckedRequestOptions<Output>,
  ): Promise<Output>;
  request(
    data: Outgoing<Types>,
    options: RequestOptions & { schema?: StandardSchema } = {},
  ): Promise<unknown> {
    const { instrumentation } = this.#options;
    const core = this.#core;
    return instrumentation
      ? instrumentation.traceRequest(
        this,
        data,
        (trace) => core.request(data, options, trace),
      )
      : core.request(data, options);
  }

  /**
   * Iterates over the messages, in order, from this call on.
   *
   * @param options When to stop, how many may wait, and whether a lost connection is
   * an error.
   * @returns An iterator of the messages. It ends at the end of the connection;
   * `break` removes all that it holds.
   *
   * @example
   * ```ts
   * import type { Connection } from "jsr:@ws/events";
   *
   * async function echo(client: Connection): Promise<void> {
   *   for await (const message of client.messages({ throwIfLost: true })) {
   *     await client.send(message.content);
   *   }
   *   console.log("closed, and all is said");
   * }
   * ```
   */
  messages(
    options: EventsOptions = {},
  ): AsyncIterableIterator<SocketMessage<Types>, undefined> {
    return emitters.iterate(
      this,
      "message",
      options,
      ([message]: [SocketMessage<Types>]) => message,
    );
  }

  /**
   * Closes the connection: what was sent before still goes out, messages that
   * come after are dropped, and both sides get a `close` event with the same
   * code and reason. A peer that does not answer within the socket's
   * `closeTimeout` is cut off, which is a `disconnect`.
   *
   * @param code The close code: 1000, or 3000 to 4999; on a server also 1001 to
   * 1003 and 1007 to 1013.
   * @param reason A reason for a human reader, of at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended. Closing
   * twice is closing once: the first code counts.
   * @throws {RangeError} If the code may not be sent, or the reason is too long
   * (RFC 6455, 5.5.1 and 7.4).
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    return this.#core.close(code, reason);
  }

  /**
   * Ends the connection now, without a closing handshake: a `disconnect`, which
   * is told before this returns, or as soon as all listeners have had the event
   * that is just being dispatched. What was sent but has not left yet is lost. A
   * browser has no way to do so: there the peer may still see a `close` without
   * a code.
   */
  terminate(): void {
    this.#core.terminate();
  }

  /**
   * The rooms that the connection is in, in the order in which it joined them; those
   * that it was in at its end when it has ended. Nothing is sent to it there then.
   */
  get rooms(): ReadonlySet<string> {
    return this.#owner.rooms?.roomsOf(this) ?? NO_ROOMS;
  }

  /**
   * Joins a room: from now on it gets what is sent to the room. There need not be
   * anybody in it. Joining twice is joining once; a connection that has ended joins
   * nothing.
   *
   * @param room The room's name.
   * @throws {TypeError} If the name is empty, or no string.
   * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
   * @throws {Error} On a client's side: rooms are the server's.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", (client, path) => client.join(path));
   * server.on("message", ({ author, content }) => {
   *   server.to(author.path).send(content);
   * });
   * ```
   */
  join(room: string): void {
    const rooms = this.#roomsFor("join", room);
    if (!this.#core.closing.isEnded) rooms.join(this, room);
  }

  /**
   * Leaves a room, if it is in it.
   *
   * @param room The room's name.
   * @throws {TypeError} If the name is empty, or no string.
   * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
   * @throws {Error} On a client's side: rooms are the server's.
   */
  leave(room: string): void {
    this.#roomsFor("leave", room).leave(this, room);
  }

  #roomsFor(
    attempt: "join" | "leave",
    room: string,
  ): ConnectionRooms<Connection<Types>> {
    const { rooms } = this.#owner;
    if (rooms === undefined) {
      throw new Error(
        `Cannot ${attempt} room "${room}" on a client's side: rooms are the server's, so ask it to`,
      );
    }
    rooms.assertName(attempt, room);
    return rooms;
  }

  /** What `console.log` shows of it. */
  [Symbol.for("Deno.customInspect")](
    inspect: (value: unknown, options?: unknown) => string,
    options: unknown,
  ): string {
    const { id, remoteAddress, path, readyState } = this;
    return `Connection ${
      inspect({ id, remoteAddress, path, readyState }, options)
    }`;
  }
}

const NO_ROOMS: ReadonlySet<string> = new Set<string>();
