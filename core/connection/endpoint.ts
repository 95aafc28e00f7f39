/**
 * What a server and a client have in common: handlers of requests, messages as an
 * iterator, and the methods that a subclass may override.
 *
 * @module
 */

import type {
  Connection,
  SocketMessage,
  TypedMessage,
  TypedMessages,
} from "./connection.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { Listener } from "../events/listeners.ts";
import type { EventsOptions } from "../events/subscriptions.ts";
import type { EventMap } from "../events/event_types.ts";
import {
  type HandleOptions,
  type RequestHandler,
  RequestHandlers,
} from "../requests/handlers.ts";
import type {
  HandlerResult,
  Incoming,
  MessageType,
  Outgoing,
  SocketTypes,
} from "../values/types.ts";

/** What the sockets themselves do with their endpoint, and no program can. */
interface EndpointInternals {
  /**
   * Finds what answers a request.
   *
   * @param endpoint The endpoint.
   * @param request The request.
   */
  handlerOf<Types extends SocketTypes, Events extends EndpointEvents<Events>>(
    endpoint: Endpoint<Types, Events>,
    request: SocketMessage<Types>,
  ): RequestHandler<SocketMessage<Types>, Outgoing<Types>> | undefined;
  /**
   * Finds the method of a subclass that is called for an event.
   *
   * @param endpoint The endpoint.
   * @param type The event's name.
   */
  overrideOf<Types extends SocketTypes, Events extends EndpointEvents<Events>>(
    endpoint: Endpoint<Types, Events>,
    type: string,
  ): Listener | undefined;
}

/** What the sockets themselves do with their endpoint, and no program can. */
export let endpoints: EndpointInternals;

/** The events that every endpoint has. */
export type EndpointEvents<Events> =
  & EventMap<Events>
  & Record<"connect" | "message" | "close" | "disconnect", {
    readonly args: readonly unknown[];
    readonly event: Event;
  }>;

/**
 * What {@linkcode ServerSocket} and {@linkcode ClientSocket} have in common.
 *
 * A subclass may override `onConnect`, `onMessage`, `onClose` and `onDisconnect`, as
 * methods or as fields. They are looked up when the event is emitted, and called
 * before all listeners.
 *
 * @typeParam Types The types of what comes in and goes out.
 * @typeParam Events The events, by name.
 */
export abstract class Endpoint<
  Types extends SocketTypes,
  Events extends EndpointEvents<Events>,
> extends Emitter<Events, TypedMessages<Types>> {
  readonly #handlers = new RequestHandlers<
    Incoming<Types>,
    Outgoing<Types>,
    Connection<Types>
  >();

  static {
    endpoints = {
      handlerOf: (endpoint, request) => endpoint.#handlers.find(request),
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
   * Answers requests of one type: those whose data has that `type`. A request that a
   * handler answers is not emitted as a `message`; any other request is, and
   * {@linkcode Message.reply} answers it.
   *
   * @param type The type of the requests.
   * @param handler Answers a request with the value that it returns, or that its
   * promise resolves with (`null` instead of `undefined`). A {@linkcode RequestError}
   * that it throws is sent to the peer; anything else that it throws is an `error` event,
   * and the peer only learns that the request has failed.
   * @param options When to remove the handler.
   * @returns This socket.
   * @throws {TypeError} If `type` is not a string or the handler is not a function.
   * @throws {Error} If there is a handler for that type already.
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
  handle<Type extends MessageType<Types>>(
    type: Type,
    handler: (
      message: TypedMessage<Types, Type>,
    ) => HandlerResult<Outgoing<Types>>,
    options?: HandleOptions,
  ): this;
  /**
   * Answers all requests that have no handler for their type.
   *
   * @param handler Answers a request, as above.
   * @param options When to remove the handler.
   * @returns This socket.
   * @throws {Error} If there is such a handler already.
   *
   * @example
   * ```ts
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket();
   * client.handle(({ content }) => ({ heard: content }));
   * ```
   */
  handle(
    handler: (message: SocketMessage<Types>) => HandlerResult<Outgoing<Types>>,
    options?: HandleOptions,
  ): this;
  handle<Type extends MessageType<Types>>(
    first:
      | Type
      | ((message: SocketMessage<Types>) => HandlerResult<Outgoing<Types>>),
    second?:
      | ((message: TypedMessage<Types, Type>) => HandlerResult<Outgoing<Types>>)
      | HandleOptions,
    third?: HandleOptions,
  ): this {
    this.#handlers.add(first, second, third);
    return this;
  }

  /**
   * Iterates over the messages, in order, from this call on. It ends when a server has
   * been closed, and when a client has no connection and will not reconnect.
   *
   * @param options When to stop, how many messages may wait, and whether a lost
   * connection is an error.
   * @returns An iterator of the messages; `break` releases all that it holds.
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
  ): AsyncIterableIterator<SocketMessage<Types>, undefined> {
    return emitters.iterate(
      this,
      "message",
      options,
      ([message]: [SocketMessage<Types>]) => message,
    );
  }

  /**
   * To be overridden: called when a connection is open.
   *
   * @param args The arguments of the event.
   */
  protected onConnect?(...args: Events["connect"]["args"]): unknown;

  /**
   * To be overridden: called with each message.
   *
   * @param message The message.
   */
  protected onMessage?(message: SocketMessage<Types>): unknown;

  /**
   * To be overridden: called when a connection was closed.
   *
   * @param args The arguments of the event.
   */
  protected onClose?(...args: Events["close"]["args"]): unknown;

  /**
   * To be overridden: called when a connection was lost.
   *
   * @param args The arguments of the event.
   */
  protected onDisconnect?(...args: Events["disconnect"]["args"]): unknown;
}
