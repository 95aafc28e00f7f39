/**
 * The types of the data that sockets send and receive.
 *
 * @module
 */

import type { Sendable } from "./codec.ts";
import type { StandardSchema } from "./schema.ts";

/**
 * The types of the data that a socket sends and receives: an object type like {@linkcode
 * NamedTypes}, or the type of a schema, whose output is the incoming type. Types alone
 * are not checked at run time; a schema is.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * interface Move {
 *   x: number;
 *   y: number;
 * }
 *
 * const server = new ServerSocket<{ incoming: Move; outgoing: Move[] }>();
 * server.on("message", (message) => message.reply([message.data]));
 * ```
 */
export type SocketTypes = NamedTypes | StandardSchema;

/**
 * {@linkcode SocketTypes} without other names, so that a misspelt one, such as `outgoin`,
 * does not compile. A function with a type parameter for the types of a socket needs it:
 * `<Types extends CheckedTypes<Types>>(server: ServerSocket<Types>) => ...`.
 *
 * @typeParam Types The types of the socket.
 */
export type CheckedTypes<Types> = SocketTypes & KnownNames<Types>;

/**
 * Makes any other property a compile-time error. The type that it requires is the error
 * message.
 *
 * @typeParam Types The types of a socket; a schema may have any properties.
 */
export type KnownNames<Types> = "~standard" extends keyof Types ? unknown
  : {
    readonly [Name in Exclude<keyof Types, keyof NamedTypes>]:
      "no such name: the names are incoming, outgoing, reply, requests, handlers, context and presence";
  };

/** The types of the data that a socket sends and receives, by name. */
export interface NamedTypes {
  /** The type of received data, as in `message.data`. `unknown` by default. */
  incoming?: unknown;
  /** The type of sent data, including replies. {@linkcode Sendable} by default. */
  outgoing?: unknown;
  /** The type of the replies that `request` resolves to. `unknown` by default. */
  reply?: unknown;
  /**
   * The requests that the socket sends: functions from the data, with its `type`, to the
   * reply, by the `type`. They replace `reply`. `ServerTypes` and `ClientTypes` of
   * `@ws/events/contract` set them.
   */
  requests?: unknown;
  /** The requests that the socket answers, as in `requests`. */
  handlers?: unknown;
  /**
   * The type of {@linkcode Connection.context}, which `authorize` returns. `unknown` by
   * default.
   */
  context?: unknown;
  /** The type of {@linkcode Member.data}, which `presence` returns. `unknown` by default. */
  presence?: unknown;
}

/**
 * The type of received data: the property `incoming` of {@linkcode NamedTypes}, or the
 * output of a schema. `unknown` if there is neither.
 *
 * @typeParam Types The types of the socket.
 */
export type Incoming<Types extends SocketTypes> = Types extends
  { incoming: infer Type } ? Type
  : Types extends StandardSchema<infer Output> ? Output
  : unknown;

/**
 * The type of sent data: the property `outgoing` of {@linkcode NamedTypes}. {@linkcode
 * Sendable} if there is none.
 *
 * @typeParam Types The types of the socket.
 */
export type Outgoing<Types extends SocketTypes> = Types extends
  { outgoing: infer Type } ? Type : Sendable;

/**
 * The possible values of `data.type` of the requests that a socket sends: the names in
 * `requests` of {@linkcode NamedTypes}. Any string if there are none.
 *
 * @typeParam Types The types of the socket.
 */
export type RequestType<Types extends SocketTypes> = Types extends
  { requests: infer Requests } ? keyof Requests & string : string;

/**
 * The type of the data of a request that a socket sends. Without `requests`, it is
 * {@linkcode Outgoing}.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 */
export type RequestData<Types extends SocketTypes, Type extends string> =
  Types extends { requests: infer Requests } ?
      & { readonly type: Type }
      & (Type extends keyof Requests
        ? Requests[Type] extends (data: infer Data) => unknown ? Data : never
        : never)
    : Outgoing<Types>;

/**
 * The type of the reply to a request: what the function in `requests` of {@linkcode
 * NamedTypes} returns; without `requests` the property `reply`; `unknown` if there is
 * neither.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 */
export type Reply<Types extends SocketTypes, Type extends string = string> =
  Types extends
    { requests: { readonly [_ in Type]: (data: never) => infer Reply } } ? Reply
    : Types extends { reply: infer Reply } ? Reply
    : unknown;

/**
 * The possible values of `data.type` of the requests that a socket answers: the names in
 * `handlers` of {@linkcode NamedTypes}, or else {@linkcode MessageType}.
 *
 * @typeParam Types The types of the socket.
 */
export type HandledType<Types extends SocketTypes> = Types extends
  { handlers: infer Handlers } ? keyof Handlers & string : MessageType<Types>;

/**
 * The type of the data of the requests that a handler gets.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 */
export type HandledData<Types extends SocketTypes, Type extends string> =
  Types extends
    { handlers: { readonly [_ in Type]: (data: infer Data) => unknown } } ? Data
    : OfType<Incoming<Types>, Type>;

/**
 * The type of the reply of a handler: without `handlers` in {@linkcode NamedTypes}, any
 * data that can be sent.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 */
export type HandledReply<Types extends SocketTypes, Type extends string> =
  Types extends
    { handlers: { readonly [_ in Type]: (data: never) => infer Reply } } ? Reply
    : Outgoing<Types>;

/**
 * The type of the result of a handler: the reply, or a promise of it. A handler of a
 * socket without `handlers` in {@linkcode NamedTypes} may return nothing.
 *
 * @typeParam Types The types of the socket.
 * @typeParam Type The value of `data.type`.
 */
export type HandlerReturn<Types extends SocketTypes, Type extends string> =
  Types extends
    { handlers: { readonly [_ in Type]: (data: never) => infer Reply } }
    ? Reply | PromiseLike<Reply>
    : HandlerResult<Outgoing<Types>>;

/**
 * The type of {@linkcode Connection.context}: the property `context` of {@linkcode
 * NamedTypes}. `unknown` if there is none.
 *
 * @typeParam Types The types of the socket.
 */
export type Context<Types extends SocketTypes> = Types extends
  { context: infer Type } ? Type : unknown;

/**
 * The type of {@linkcode Member.data}: the property `presence` of {@linkcode
 * NamedTypes}. `unknown` if there is none.
 *
 * @typeParam Types The types of the socket.
 */
export type PresenceData<Types extends SocketTypes> = Types extends
  { presence: infer Type } ? Type : unknown;

/**
 * The possible values of `data.type`, such as `"chat"` for `{ type: "chat"; text: string
 * }`. Any string if the type of the data is unknown.
 *
 * @typeParam Types The types of the socket.
 */
export type MessageType<Types extends SocketTypes> = TypeOf<Incoming<Types>>;

/**
 * The possible values of the property `type`. Any string if the type of the data is
 * unknown.
 *
 * @typeParam Data The type of the data.
 */
export type TypeOf<Data> = unknown extends Data ? string
  : Data extends { type: infer Type extends string } ? Type
  : never;

/**
 * The members of a union whose property `type` has a given value.
 *
 * @typeParam Data The type of the data.
 * @typeParam Type The value of `type`.
 */
export type OfType<Data, Type extends string> = unknown extends Data
  ? { readonly type: Type }
  : Extract<Data, { type: Type }>;

/**
 * The result of a request handler: the reply or nothing, or a promise of it.
 *
 * @typeParam Data The type of the data that can be sent.
 */
export type HandlerResult<Data> = Data | void | PromiseLike<Data | void>;
