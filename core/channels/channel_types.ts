/**
 * The types of channels and of their members, for both sides.
 *
 * @module
 */

import type { Message, MessageAuthor } from "../../message.ts";
import type { ReceivedEvent } from "../events/event_types.ts";
import type {
  HandledData,
  HandledReply,
  HandledType,
  HandlerResult,
  HandlerReturn,
  Incoming,
  MessageType,
  NamedTypes,
  OfType,
  Outgoing,
} from "../values/types.ts";

/**
 * The types of the data of a channel. `incoming` and `outgoing` are what this side
 * receives and sends.
 *
 * @example
 * ```ts
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * interface Order {
 *   status: string;
 * }
 *
 * const client = new ClientSocket({ reconnect: true });
 * const order = channel<{ incoming: Order; snapshot: Order }>(client, "orders/42");
 * order.on("message", ({ data }) => console.log(data.status));
 * ```
 */
export interface ChannelTypes extends NamedTypes {
  /** The type of the data that a client joins with. `unknown` by default. */
  join?: unknown;
  /** The type of the snapshot that a client gets when it joins. `unknown` by default. */
  snapshot?: unknown;
}

/**
 * The type of the data that a client joins with: `join`; otherwise `unknown`.
 *
 * @typeParam Types The types of the channel.
 */
export type JoinData<Types extends ChannelTypes> = Types extends
  { join: infer Type } ? Type : unknown;

/**
 * The type of the snapshot: `snapshot`; otherwise `unknown`.
 *
 * @typeParam Types The types of the channel.
 */
export type Snapshot<Types extends ChannelTypes> = Types extends
  { snapshot: infer Type } ? Type : unknown;

/**
 * A message of a channel, as its listeners of `message` get it.
 *
 * @typeParam Types The types of the channel.
 * @typeParam From The type of the author: a member of the channel on a server, the channel
 * on a client.
 */
export type ChannelMessage<
  Types extends ChannelTypes,
  From extends MessageAuthor<Outgoing<Types>>,
> = Message<Incoming<Types>, Outgoing<Types>, From>;

/**
 * A request in a channel as its handler gets it.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Type The value of `data.type`.
 * @typeParam From The type of the author.
 */
export interface ChannelRequest<
  Types extends ChannelTypes,
  Type extends string,
  From extends MessageAuthor<Outgoing<Types>>,
> extends
  Message<
    HandledData<Types, Type>,
    Outgoing<Types> | HandledReply<Types, Type>,
    From
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
 * Handles requests of one type in a channel. What it returns, or what its promise resolves
 * to, is the reply.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Type The value of `data.type`.
 * @typeParam From The type of the author.
 */
export type ChannelHandler<
  Types extends ChannelTypes,
  Type extends string,
  From extends MessageAuthor<Outgoing<Types>>,
> = (request: ChannelRequest<Types, Type, From>) => HandlerReturn<Types, Type>;

/**
 * The handlers of all types of requests in the contract of a channel. Without a contract,
 * one handler for all requests without a handler for their type, or handlers of some types.
 *
 * @typeParam Types The types of the channel.
 * @typeParam From The type of the author.
 */
export type ChannelHandlers<
  Types extends ChannelTypes,
  From extends MessageAuthor<Outgoing<Types>>,
> = [Types] extends [{ handlers: unknown }]
  ? { readonly [Type in HandledType<Types>]: ChannelHandler<Types, Type, From> }
  :
    | {
      readonly [Type in HandledType<Types>]?: ChannelHandler<Types, Type, From>;
    }
    | ((
      request: ChannelMessage<Types, From>,
    ) => HandlerResult<Outgoing<Types>>);

/**
 * The events for messages whose `data.type` has one value, such as `message:moved`. Each
 * is emitted right after `message`.
 *
 * @typeParam Types The types of the channel.
 * @typeParam From The type of the author.
 */
export type TypedChannelMessages<
  Types extends ChannelTypes,
  From extends MessageAuthor<Outgoing<Types>>,
> = {
  [Type in MessageType<Types> as `message:${Type}`]: {
    args: [
      message: Message<OfType<Incoming<Types>, Type>, Outgoing<Types>, From>,
    ];
    event: ReceivedEvent<
      Message<OfType<Incoming<Types>, Type>, Outgoing<Types>, From>
    >;
  };
};
