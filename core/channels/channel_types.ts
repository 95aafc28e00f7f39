/**
 * The types of channels and of their members, for both sides.
 *
 * @module
 */

import type { Message, MessageAuthor } from "../../message.ts";
import type { ReceivedEvent } from "../events/event_types.ts";
import type {
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
