/**
 * The public class of a connection, the same on both sides. The mechanism is in
 * `connection_core.ts`.
 *
 * @module
 */

import type { Message, MessageAuthor } from "../../message.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { eventNames } from "../events/event_names.ts";
import type { EventsOptions } from "../events/subscriptions.ts";
import { type Cause, CloseCode, ignoreRejection } from "../events/errors.ts";
import type {
  DrainEvent,
  EndDetails,
  EndEvent,
  FailureEvent,
  ReceivedEvent,
} from "../events/event_types.ts";
import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import type { TrafficCount } from "../sending/socket_buffer.ts";
import { randomId } from "../util/random_id.ts";
import { encodeWith } from "../values/codec.ts";
import type {
  Context,
  HandledData,
  HandledReply,
  HandledType,
  HandlerResult,
  HandlerReturn,
  Incoming,
  MessageType,
  OfType,
  Outgoing,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";
import {
  type CheckedRequestOptions,
  ConnectionCore,
  type ConnectionInit,
} from "./connection_core.ts";
import type { HandleOptions } from "../requests/handlers.ts";
import type { ConnectionRooms, Owner } from "./owner.ts";

export type {
  CheckedRequestOptions,
  ConnectionInit,
} from "./connection_core.ts";

/**
 * The type of a message that a socket receives.
 *
 * @typeParam Types The types of the socket.
 * @typeParam C The type of the connection.
 */
export type SocketMessage<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> = Message<Incoming<Types>, Outgoing<Types>, C>;

/**
 * The type of a message whose `data.type` has a given value.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 * @typeParam C The type of the connection.
 */
export type TypedMessage<
  Types extends SocketTypes,
  Type extends string,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> = Message<OfType<Incoming<Types>, Type>, Outgoing<Types>, C>;

/**
 * A request, which a handler gets as its argument.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 * @typeParam C The type of the connection.
 */
export interface SocketRequest<
  Types extends SocketTypes,
  Type extends string,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> extends
  Message<
    HandledData<Types, Type>,
    Outgoing<Types> | HandledReply<Types, Type>,
    C
  > {
  /**
   * Replies before the handler returns. After that, the handler must return `undefined`,
   * as a second reply is an error.
   *
   * @param data The reply.
   */
  reply(data: HandledReply<Types, Type>): Promise<void>;
}

/**
 * A function that handles requests of one type. Its result, or the result of its promise,
 * is the reply.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 * @typeParam C The type of the connection.
 */
export type SocketHandler<
  Types extends SocketTypes,
  Type extends string,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> = (
  request: SocketRequest<Types, Type, C>,
) => HandlerReturn<Types, Type>;

/**
 * The handlers of all types of requests in the contract of a socket. Without a contract,
 * one handler for all requests without a handler for their type, or handlers of some types.
 *
 * @typeParam Types The types of the socket.
 * @typeParam C The type of the connection.
 */
export type SocketHandlers<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> = [Types] extends [{ handlers: unknown }]
  ? { readonly [Type in HandledType<Types>]: SocketHandler<Types, Type, C> }
  :
    | { readonly [Type in HandledType<Types>]?: SocketHandler<Types, Type, C> }
    | ((request: SocketMessage<Types, C>) => HandlerResult<Outgoing<Types>>);

/**
 * The type of the options of `handle` for {@linkcode SocketHandlers}. The handlers of a
 * contract take no options, as they are complete.
 *
 * @typeParam Types The types of the socket.
 */
export type SocketHandlersOptions<Types extends SocketTypes> = [Types] extends
  [{ handlers: unknown }] ? [] : [options?: HandleOptions];

/**
 * The events for messages whose `data.type` has one value, such as `message:chat`. Each is
 * emitted right after `message`.
 *
 * @typeParam Types The types of the socket.
 * @typeParam C The type of the connection.
 */
export type TypedMessages<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> = {
  [Type in MessageType<Types> as `message:${Type}`]: {
    args: [message: TypedMessage<Types, Type, C>];
    event: ReceivedEvent<TypedMessage<Types, Type, C>>;
  };
};

/**
 * The events of a {@linkcode Connection}.
 *
 * @typeParam Types The types of the socket.
 * @typeParam C The type of the connection.
 *
 * @example
 * ```ts
 * import type { Connection } from "jsr:@ws/events";
 *
 * function log(connection: Connection): void {
 *   connection.on("message", ({ data }) => console.log("received", data));
 *   connection.on("drain", () => console.log("has room again"));
 *   connection.on("end", ({ code, reason }) => console.log("ended", code, reason));
 * }
 * ```
 */
export interface ConnectionEvents<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> {
  /** A message was received. Listeners get the message. */
  message: {
    args: [message: SocketMessage<Types, C>];
    event: ReceivedEvent<SocketMessage<Types, C>>;
  };
  /**
   * The connection was closed: the closing handshake was completed. Listeners get the
   * close code, the reason and the cause.
   */
  close: {
    args: [code: number, reason: string, cause: Cause];
    event: EndEvent<C>;
  };
  /**
   * The connection was lost. Listeners get the code, usually 1006, the reason, usually
   * empty, and the cause.
   */
  disconnect: {
    args: [code: number, reason: string, cause: Cause];
    event: EndEvent<C>;
  };
  /**
   * The connection has ended. Emitted once, after `close` or `disconnect`, for
   * listeners that only clean up. They get `{ type, code, reason, cause, wasClean }`.
   */
  end: { args: [end: EndDetails]; event: EndEvent<C> };
  /**
   * A `send` had to wait because the send buffer was full, and the buffer has space
   * again.
   */
  drain: { args: []; event: DrainEvent };
  /**
   * A listener of this connection threw, or its promise rejected. Listeners get the
   * error, the name of the event whose listener failed, and the connection.
   */
  error: {
    args: [error: unknown, from: string, client: C | undefined];
    event: FailureEvent<C>;
  };
}

/** The owner of a connection. */
export type ConnectionOwner<Types extends SocketTypes> = Owner<
  Types,
  Connection<Types>
>;

/** Returns the inside of a connection. Only the rest of this library uses it. */
export let coreOf: <Types extends SocketTypes>(
  connection: Connection<Types>,
) => ConnectionCore<Types, Connection<Types>>;

let connectionHooks: EmitterHooks;

/**
 * A WebSocket connection: the `client` of a server's listeners, `message.author`, and
 * `ClientSocket.connection`.
 *
 * It emits its own `message`, `drain`, `close`, `disconnect`, `end` and `error`. It ends
 * with exactly one of `close` and `disconnect`, followed by `end`, and emits nothing
 * after that.
 *
 * @typeParam Types The types of the data that the connection sends and receives.
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
  /** The requested path, without the query. */
  readonly path: string;
  /**
   * The address of the peer as `host:port`. On a client, the host and port of the URL.
   */
  readonly remoteAddress: string;
  readonly #url: string;
  #context: Context<Types>;
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
      iteratorOverflowed: (connection: Connection) =>
        connection.#core.iteratorOverflowed(),
      added: (connection: Connection, type) => {
        if (!type.startsWith("message")) return;
        connection.#core.dispatcher.early.deliverSoon();
      },
    };
    coreOf = (connection) => connection.#core;
  }

  /**
   * Connections are created by their server or client.
   *
   * @ignore
   */
  constructor(init: ConnectionInit<Types>, owner: ConnectionOwner<Types>) {
    super();
    emitters.attach(this, connectionHooks);
    this.#url = init.url;
    this.path = init.path;
    this.remoteAddress = init.remoteAddress;
    // The type of `context` is the type of what `authorize` returns.
    this.#context = init.context as Context<Types>;
    this.#core = new ConnectionCore<Types, Connection<Types>>(
      this,
      init,
      owner,
    );
  }

  /**
   * The headers of the upgrade request. On a server, all of them are available until the
   * `connect` listeners have returned and their promises have settled. After that, only
   * those named by the option `keepHeaders` remain, to save memory. On a client there are
   * none, as no runtime exposes the response headers.
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

  /**
   * The value that the server's `authorize` returned, or the one that has replaced it by
   * {@linkcode Connection.renew}; undefined without `authorize`, and on a client.
   */
  get context(): Context<Types> {
    return this.#context;
  }

  /** The requested URL, with the scheme `ws:` or `wss:`. */
  get url(): string {
    return this.#url.replace(/^http/, "ws");
  }

  /** The random id of this connection: 32 hexadecimal digits. */
  get id(): string {
    return this.#id ??= randomId();
  }

  /** The negotiated subprotocol of the application, or an empty string. */
  get protocol(): string {
    return this.#core.outbound.negotiated?.protocol ?? "";
  }

  /** Whether both sides support `events.v1`, which allows requests and batches. */
  get speaksEvents(): boolean {
    return this.#core.outbound.negotiated?.isEvents ?? false;
  }

  /** The time at which the connection was opened. */
  get connectedAt(): Date {
    return new Date(this.#core.connectedAt);
  }

  /**
   * The state, as in `WebSocket.readyState`: 0 connecting, 1 open, 2 closing (after a
   * call of `close`), 3 closed.
   */
  get readyState(): 0 | 1 | 2 | 3 {
    return this.#core.closing.readyState;
  }

  /** The number of bytes that wait to be sent; 0 if the connection is not open. */
  get bufferedAmount(): number {
    const { closing, outbound } = this.#core;
    return closing.isOpen ? outbound.bufferedAmount : 0;
  }

  /**
   * The number of messages and bytes received and sent so far. Received messages include
   * those that were rejected or dropped. Sent messages are those passed to the socket,
   * including frames that `events.v1` adds. The size of a text is its `length` in
   * UTF-16 code units: for ASCII, its number of bytes.
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
   * The number of dropped messages: `incoming` ones under `messageRate`, by a hook, or for
   * a newer one with the same `key`, `outgoing` ones under `overflow`, and `replies` that
   * arrived after their request had been settled.
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
   * Sends a message. A string is sent as a text frame, bytes and a `Blob` as a binary
   * frame, and any other value as JSON in a text frame. Messages are sent in the order
   * of the calls.
   *
   * An unawaited rejection is not reported as unhandled, as the end of the connection
   * is reported by its event.
   *
   * @param data The data to send.
   * @param options The `overflow` policy, a key, and whether the message is volatile.
   * @returns A promise that resolves when the message was passed to the socket and less
   * than `highWaterMark` bytes wait to be sent, so that a loop that awaits it does not
   * fill the buffer. It does not confirm that the peer has received the message.
   * @throws {ConnectionEndedError} (rejects) If the connection is not open, or ends
   * before the message was sent.
   * @throws {MessageDroppedError} (rejects) If the message was dropped under its
   * `overflow` policy.
   * @throws {TypeError} If the data cannot be serialized: `undefined`, a function, a
   * symbol, a bigint or a circular structure. Nothing is sent.
   * @throws {RangeError} If `overflow` is not a valid policy. Nothing is sent.
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
   * @example Send only the latest of several values
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
    return core.send(encodeWith(data, core.options.codec), options, false) ??
      ignoreRejection(Promise.reject(core.closing.error("send")));
  }

  /**
   * Sends a request to the peer, and returns its reply: the result of a handler
   * registered with `handle`, or the argument of `message.reply`. Any number of requests
   * may be pending at a time, and replies may come in any order.
   *
   * A reply after the timeout is dropped and counted. An unawaited rejection is not
   * reported as unhandled.
   *
   * @param data The data of the request.
   * @param options The timeout and a signal.
   * @returns A promise of the data of the reply.
   * @throws {RequestError} (rejects) If the handler of the peer failed, or there is none.
   * @throws {DOMException} (rejects) With the name `TimeoutError` after the timeout, with
   * the reason of the signal, or with the name `NotSupportedError` if the peer does not
   * support `events.v1`.
   * @throws {ConnectionEndedError} (rejects) If the connection ends before the reply.
   * @throws {TypeError} If the data cannot be serialized.
   * @throws {RangeError} If the timeout is negative or `NaN`.
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
   *
   * @example Validate the reply
   * ```ts
   * import type { Connection } from "jsr:@ws/events";
   *
   * const isNumber = {
   *   "~standard": {
   *     version: 1,
   *     vendor: "example",
   *     validate: (value: unknown) =>
   *       typeof value === "number" ? { value } : { issues: [{ message: "No number" }] },
   *   },
   * } as const;
   *
   * async function ping(client: Connection): Promise<number> {
   *   const start = performance.now();
   *   await client.request("ping", { schema: isNumber });
   *   return performance.now() - start;
   * }
   * ```
   */
  request<Type extends RequestType<Types>, Output = Reply<Types, Type>>(
    data: RequestData<Types, Type>,
    options?: CheckedRequestOptions<Output>,
  ): Promise<NoInfer<Output>>;
  request<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options: CheckedRequestOptions = {},
  ): Promise<unknown> {
    const core = this.#core;
    const { instrumentation } = core.options;
    return instrumentation
      ? instrumentation.traceRequest(
        this,
        data,
        (trace) => core.request(data, options, trace),
      )
      : core.request(data, options);
  }

  /**
   * Iterates over the messages received after this call, in order.
   *
   * @param options A signal, the maximum number of waiting messages, and whether a lost
   * connection is an error.
   * @returns An iterator of messages. It ends when the connection ends. `break` discards
   * waiting messages.
   *
   * @example
   * ```ts
   * import type { Connection } from "jsr:@ws/events";
   *
   * async function echo(client: Connection): Promise<void> {
   *   for await (const message of client.messages({ throwIfLost: true })) {
   *     await client.send(message.content);
   *   }
   *   console.log("closed by a closing handshake");
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
   * Closes the connection with a closing handshake. Messages that were sent before are
   * still delivered; messages received afterwards are dropped. Both sides get a `close`
   * event with the same code and reason. If the peer does not complete the handshake
   * within `closeTimeout`, the connection is dropped, which is a `disconnect`.
   *
   * Later calls have no effect: the first code is used.
   *
   * @param code The close code: 1000, or 3000 to 4999; on a server also 1001 to 1003 and
   * 1007 to 1013.
   * @param reason The close reason, at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended.
   * @throws {RangeError} If the code is not allowed, or the reason is too long (RFC 6455,
   * sections 5.5.1 and 7.4).
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("message", async ({ author, data }) => {
   *   if (data !== "bye") return;
   *   await author.close(4000, "As you asked");
   *   console.log("closed");
   * });
   * ```
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    return this.#core.close(code, reason);
  }

  /**
   * Drops the connection immediately, without a closing handshake. Messages that wait to
   * be sent are lost. A `disconnect` is emitted before this returns, or after all
   * listeners of the event that is being dispatched. A client does not reconnect after
   * it. Browsers do not support this: the peer may then get a `close` without a code.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("message", ({ author, content }) => {
   *   if (content.includes("<script")) author.terminate();
   * });
   * ```
   */
  terminate(): void {
    this.#core.terminate();
  }

  /**
   * The rooms of the connection, in the order in which it joined them. After its end, the
   * rooms that it was in when it ended.
   */
  get rooms(): ReadonlySet<string> {
    return this.#core.owner.rooms?.roomsOf(this) ?? NO_ROOMS;
  }

  /**
   * Replaces {@linkcode Connection.context}, and calls the option `expiresAt` of the
   * server for the time at which the new context expires. If that time has passed, the
   * connection is closed.
   *
   * @param context The new context.
   * @throws {Error} If called on a client's connection.
   * @throws {unknown} The error that `expiresAt` throws. The earlier context and time
   * remain.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * interface Session {
   *   user: string;
   *   until: number;
   * }
   * const read = (): Session => ({ user: "ada", until: Date.now() + 900_000 });
   *
   * const server = new ServerSocket<{ context: Session }>({
   *   authorize: read,
   *   expiresAt: ({ until }) => until,
   * });
   * server.handle("renew", ({ author }) => author.renew(read()));
   * ```
   */
  renew(context: Context<Types>): void {
    const { owner } = this.#core;
    if (!owner.renew) {
      throw new Error(
        "Cannot renew the context on a client: send a request that asks the server to do so",
      );
    }
    owner.renew(this, context);
    this.#context = context;
  }

  /**
   * Joins a room, to receive the messages that are sent to it. Has no effect if the
   * connection is already a member, or has ended.
   *
   * @param room The name of the room.
   * @throws {TypeError} If the name is empty or not a string.
   * @throws {RangeError} If the name is longer than 1,024 bytes of UTF-8.
   * @throws {Error} If called on a client's connection, as rooms belong to servers.
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
   * Leaves a room. Has no effect if the connection is not a member.
   *
   * @param room The name of the room.
   * @throws {TypeError} If the name is empty or not a string.
   * @throws {RangeError} If the name is longer than 1,024 bytes of UTF-8.
   * @throws {Error} If called on a client's connection, as rooms belong to servers.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", (client) => client.join("news"));
   * server.on("message", ({ author, data }) => {
   *   if (data === "unsubscribe") author.leave("news");
   * });
   * ```
   */
  leave(room: string): void {
    this.#roomsFor("leave", room).leave(this, room);
  }

  #roomsFor(
    attempt: "join" | "leave",
    room: string,
  ): ConnectionRooms<Connection<Types>> {
    const { rooms } = this.#core.owner;
    if (rooms === undefined) {
      throw new Error(
        `Cannot ${attempt} room "${room}" on a client: send a message that asks the server to do so`,
      );
    }
    rooms.assertName(attempt, room);
    return rooms;
  }

  /** Formats the connection for `console.log` and `Deno.inspect`. */
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
