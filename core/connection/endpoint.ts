/**
 * The base class of servers and clients: request handlers, iterators of messages, and
 * overridable methods.
 *
 * @module
 */

import type { MessageAuthor } from "../../message.ts";
import type {
  Connection,
  SocketHandler,
  SocketHandlers,
  SocketHandlersOptions,
  SocketMessage,
  TypedMessages,
} from "./connection.ts";
import { type AsyncDisposer, onAsyncDispose } from "../util/disposer.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { Listener } from "../events/listeners.ts";
import type { EventsOptions } from "../events/subscriptions.ts";
import type { EventMap } from "../events/event_types.ts";
import type {
  HandleOptions,
  RequestHandler,
  RequestHandlers,
} from "../requests/handlers.ts";
import { handlersFeature } from "../requests/handlers_feature.ts";
import type {
  HandledType,
  Incoming,
  Outgoing,
  SocketTypes,
} from "../values/types.ts";

/** The operations on an endpoint that only the sockets use. */
interface EndpointInternals {
  /** Finds the handler of a request. */
  handlerOf<
    Types extends SocketTypes,
    Events extends EndpointEvents<Events>,
    C extends MessageAuthor<Outgoing<Types>>,
  >(
    endpoint: Endpoint<Types, Events, C>,
    request: SocketMessage<Types, C>,
  ): RequestHandler<SocketMessage<Types, C>> | undefined;
  /** Finds the method of a subclass that handles an event. */
  overrideOf<
    Types extends SocketTypes,
    Events extends EndpointEvents<Events>,
    C extends MessageAuthor<Outgoing<Types>>,
  >(
    endpoint: Endpoint<Types, Events, C>,
    type: string,
  ): Listener | undefined;
}

/** The operations on an endpoint that only the sockets use. */
export let endpoints: EndpointInternals;

/** The events that every endpoint has. */
export type EndpointEvents<Events> =
  & EventMap<Events>
  & Record<"connect" | "message" | "close" | "disconnect", {
    readonly args: readonly unknown[];
    readonly event: Event;
  }>;

/** `await using` closes an endpoint, as `close()` without arguments does. */
export interface Endpoint<
  Types extends SocketTypes,
  Events extends EndpointEvents<Events>,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> extends AsyncDisposer {}

/**
 * The base class of {@linkcode ServerSocket} and {@linkcode ClientSocket}.
 *
 * A subclass may override `onConnect`, `onMessage`, `onClose` and `onDisconnect`, as
 * methods or as fields. They are looked up when the event is emitted, and called before
 * all listeners.
 *
 * @typeParam Types The types of the data that the socket sends and receives.
 * @typeParam Events The events, by name.
 * @typeParam C The type of the connection.
 *
 * @example
 * ```ts
 * import { type Connection, ServerSocket } from "jsr:@ws/events";
 *
 * class Chat extends ServerSocket {
 *   protected override onConnect(client: Connection, path: string): void {
 *     client.join(path);
 *   }
 *   protected override onClose(client: Connection, code: number): void {
 *     this.to(client.path).send(`${client.id} has left with ${code}`);
 *   }
 * }
 * await using _chat = new Chat();
 * ```
 */
export abstract class Endpoint<
  Types extends SocketTypes,
  Events extends EndpointEvents<Events>,
  C extends MessageAuthor<Outgoing<Types>> = Connection<Types>,
> extends Emitter<Events, TypedMessages<Types, C>> {
  #handlers: RequestHandlers<Incoming<Types>, Outgoing<Types>, C> | undefined;

  static {
    onAsyncDispose(this.prototype, (endpoint) => endpoint.close());
    endpoints = {
      handlerOf: (endpoint, request) => endpoint.#handlers?.find(request),
      overrideOf: (endpoint, type) => {
        switch (type) {
          case "message":
            return endpoint.onMessage;
          case "connect":
            return endpoint.onConnect;
          case "close":
            return endpoint.onClose;
          case "disconnect":
            return endpoint.onDisconnect;
          default:
            return undefined;
        }
      },
    };
  }

  /**
   * Closes the socket and its connections.
   *
   * @returns A promise that resolves when all connections have ended.
   */
  abstract close(): Promise<void>;

  /**
   * Registers a handler for requests whose `data.type` has a given value. Once there is a
   * handler, requests are not emitted as `message`, and a request that no handler matches
   * is refused with the code `unhandled`. Without any handler, each request is emitted as
   * `message`, and {@linkcode Message.reply} replies to it.
   *
   * @param type The type of the requests.
   * @param handler The handler. The value that it returns, or that its promise resolves
   * to, is the reply; `undefined` becomes `null`. If it throws a {@linkcode
   * RequestError}, its message and code are sent to the peer. Any other error is emitted
   * as an `error` event, and the peer gets the code `internal`.
   * @param options A signal that removes the handler.
   * @returns This socket.
   * @throws {TypeError} If `type` is not a string or the handler is not a function.
   * @throws {Error} If there already is a handler for the type.
   *
   * @example
   * ```ts
   * import { RequestError, ServerSocket } from "jsr:@ws/events";
   *
   * type Question =
   *   | { type: "sum"; numbers: number[] }
   *   | { type: "root"; of: number };
   *
   * const server = new ServerSocket<{ incoming: Question }>();
   * server.handle("sum", ({ data }) => data.numbers.reduce((a, b) => a + b, 0));
   * server.handle("root", ({ data }) => {
   *   if (data.of < 0) throw new RequestError("Negative", "domain");
   *   return Math.sqrt(data.of);
   * });
   * ```
   */
  handle<Type extends HandledType<Types>>(
    type: Type,
    handler: SocketHandler<Types, Type, C>,
    options?: HandleOptions,
  ): this;
  /**
   * Registers the handlers of all types of requests in the contract of this socket: if one
   * is missing, this does not compile.
   *
   * Without a contract, registers handlers of several types, or one handler for all requests
   * without a handler for their type.
   *
   * @param handlers The handlers by the type of the requests, or one handler; as above.
   * @param options A signal that removes the handlers; not with a contract.
   * @returns This socket.
   * @throws {TypeError} If a handler is not a function.
   * @throws {Error} If there already is a handler for a type.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   * import type { ServerTypes } from "jsr:@ws/events/contract";
   *
   * interface Calculator {
   *   client: {
   *     sum(data: { numbers: number[] }): number;
   *     root(data: { of: number }): number | null;
   *   };
   * }
   *
   * const server = new ServerSocket<ServerTypes<Calculator>>();
   * server.handle({
   *   sum: ({ data }) => data.numbers.reduce((a, b) => a + b, 0),
   *   root: ({ data }) => data.of < 0 ? null : Math.sqrt(data.of),
   * });
   * ```
   *
   * @example One handler for all requests
   * ```ts
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket();
   * client.handle(({ content }) => ({ echo: content }));
   * ```
   */
  handle(
    handlers: SocketHandlers<Types, C>,
    ...options: SocketHandlersOptions<Types>
  ): this;
  handle<Type extends HandledType<Types>>(
    first: Type | SocketHandlers<Types, C>,
    second?: SocketHandler<Types, Type, C> | HandleOptions,
    third?: HandleOptions,
  ): this {
    const { RequestHandlers } = handlersFeature.require("handle()");
    this.#handlers ??= new RequestHandlers();
    this.#handlers.add(first, second, third);
    return this;
  }

  /**
   * Iterates over the messages received after this call, in order. The iterator ends when
   * a server has been closed, or when a client has no connection and will not reconnect.
   *
   * @param options A signal, the maximum number of waiting messages, and whether a lost
   * connection is an error.
   * @returns An iterator of messages. `break` discards waiting messages.
   *
   * @example
   * ```ts ignore
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * for await (const { author, content } of server.messages()) {
   *   await author.send(content);
   * }
   * ```
   */
  messages(
    options: EventsOptions = {},
  ): AsyncIterableIterator<SocketMessage<Types, C>, undefined> {
    return emitters.iterate(
      this,
      "message",
      options,
      ([message]: [SocketMessage<Types, C>]) => message,
    );
  }

  /**
   * Called when a connection is open, before the listeners of `connect`. Override it in a
   * subclass.
   *
   * @param args The arguments of the event.
   */
  protected onConnect?(...args: Events["connect"]["args"]): unknown;

  /**
   * Called with each message, before the listeners of `message`. Override it in a
   * subclass.
   *
   * @param message The message.
   */
  protected onMessage?(message: SocketMessage<Types, C>): unknown;

  /**
   * Called when a connection was closed, before the listeners of `close`. Override it in a
   * subclass.
   *
   * @param args The arguments of the event.
   */
  protected onClose?(...args: Events["close"]["args"]): unknown;

  /**
   * Called when a connection was lost, before the listeners of `disconnect`. Override it
   * in a subclass.
   *
   * @param args The arguments of the event.
   */
  protected onDisconnect?(...args: Events["disconnect"]["args"]): unknown;
}
