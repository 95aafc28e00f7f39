/**
 * The types that a program uses on its sockets.
 *
 * @module
 */

import type { Sendable } from "./codec.ts";
import type { StandardSchema } from "./schema.ts";

/**
 * The types that a program uses on its sockets: each by its name, or a schema of
 * what comes in.
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

/** The types that a program uses on its sockets, by name. */
export interface NamedTypes {
  /** What comes in: the type of `message.data`. `unknown` by default. */
  incoming?: unknown;
  /**
   * What goes out, answers to requests among it: the type that `send` and `reply` take,
   * and that a handler gives. All that can be sent by default.
   */
  outgoing?: unknown;
  /** What answers a request: the type that `request` gives. `unknown` by default. */
  reply?: unknown;
  /**
   * What a server knows of a client: the type of `client.context`, and of what
   * `authorize` returns. `unknown` by default.
   */
  context?: unknown;
}

/** What comes in, by {@linkcode SocketTypes}. */
export type Incoming<Types extends SocketTypes> = Types extends
  { incoming: infer Type } ? Type
  : Types extends StandardSchema<infer Output> ? Output
  : unknown;

/** What goes out, by {@linkcode SocketTypes}. */
export type Outgoing<Types extends SocketTypes> = Types extends
  { outgoing: infer Type } ? Type : Sendable;

/** What answers a request, by {@linkcode SocketTypes}. */
export type Reply<Types extends SocketTypes> = Types extends
  { reply: infer Type } ? Type : unknown;

/** What a server knows of a client, by {@linkcode SocketTypes}. */
export type Context<Types extends SocketTypes> = Types extends
  { context: infer Type } ? Type : unknown;

/**
 * The types of messages: what `data.type` may be, such as `"chat"` of
 * `{ type: "chat"; text: string }`; any string where nothing is known of the data.
 *
 * @typeParam Types The types of the sockets.
 */
export type MessageType<Types extends SocketTypes> = TypeOf<Incoming<Types>>;

/**
 * What the `type` of some data may be.
 *
 * @typeParam Data The type of the data.
 */
export type TypeOf<Data> = unknown extends Data ? string
  : Data extends { type: infer Type extends string } ? Type
  : never;

/**
 * Data of one type.
 *
 * @typeParam Data The type of the data.
 * @typeParam Type What its `type` is.
 */
export type OfType<Data, Type extends string> = unknown extends Data
  ? { readonly type: Type }
  : Extract<Data, { type: Type }>;

/**
 * What a handler of requests gives: the answer, or none; or a promise of it.
 *
 * @typeParam Data What can be sent.
 */
export type HandlerResult<Data> = Data | void | PromiseLike<Data | void>;
