/**
 * A client in a channel, as the server sees it.
 *
 * @module
 */

import type { MessageAuthor } from "../../message.ts";
import type { Connection } from "../connection/connection.ts";
import { assertType } from "../events/errors.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { Context, Outgoing, SocketTypes } from "../values/types.ts";
import type { ChannelTypes, JoinData } from "./channel_types.ts";

/** The operations of a {@linkcode ChannelMember} on the connection of its client. */
export interface MemberLink {
  /**
   * Sends data to the member alone.
   *
   * @param data The data.
   * @param options The options of the message.
   * @returns A promise that settles as that of {@linkcode ChannelMember.send}.
   */
  send(data: unknown, options: SendOptions | undefined): Promise<void>;
  /**
   * Removes the member from the channel.
   *
   * @param code The machine-readable code.
   * @param reason The human-readable reason.
   */
  remove(code: string, reason: string): void;
}

/**
 * A request of a client to join a channel, which {@linkcode ServerChannelOptions.join}
 * gets.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Params The type of the parameters.
 * @typeParam ServerTypes The types of the server.
 */
export interface JoinRequestInfo<
  Types extends ChannelTypes,
  Params,
  ServerTypes extends SocketTypes,
> {
  /** The connection of the client that asks to join. */
  readonly client: Connection<ServerTypes>;
  /** The name of the channel, which is also that of its room, such as `orders/42`. */
  readonly name: string;
  /** The parameters in the name, decoded. */
  readonly params: Params;
  /**
   * The data that the client passed to `channel`. Its type is not checked at run time:
   * validate it.
   */
  readonly data: JoinData<Types>;
}

/** Creates a member. */
export let createMember: <
  Types extends ChannelTypes,
  Params,
  ServerTypes extends SocketTypes,
>(
  request: JoinRequestInfo<Types, Params, ServerTypes>,
  context: unknown,
  link: MemberLink,
) => ChannelMember<Types, Params, ServerTypes>;

/**
 * A member of a channel: a client of this server that has joined it. It is the author of
 * the messages that the client sends in the channel.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Params The type of the parameters.
 * @typeParam ServerTypes The types of the server.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { channels } from "jsr:@ws/events/channels";
 *
 * const server = new ServerSocket();
 * const orders = channels(server).channel("orders/:id", { join: () => true });
 * orders.on("join", (member) => console.log(member.params.id, member.client.id));
 * orders.on("message", ({ author, data }) => {
 *   if (data === "leave") author.remove("left", "As you asked");
 *   else author.send({ echo: data });
 * });
 * ```
 */
export class ChannelMember<
  Types extends ChannelTypes = ChannelTypes,
  Params = Readonly<Record<string, string>>,
  ServerTypes extends SocketTypes = SocketTypes,
> implements MessageAuthor<Outgoing<Types>> {
  /** The connection of the client. */
  readonly client: Connection<ServerTypes>;
  /** The name of the channel and of its room. */
  readonly name: string;
  /** The parameters in the name, decoded. */
  readonly params: Params;
  /** The value that the option `join` of the channel returned. */
  readonly context: Context<Types>;
  readonly #link: MemberLink;

  static {
    createMember = (request, context, link) =>
      new ChannelMember(request, context, link);
  }

  private constructor(
    request: JoinRequestInfo<Types, Params, ServerTypes>,
    context: unknown,
    link: MemberLink,
  ) {
    this.client = request.client;
    this.name = request.name;
    this.params = request.params;
    // The type of `context` is the type of what `join` returns.
    this.context = context as Context<Types>;
    this.#link = link;
  }

  /**
   * Sends a message to this member alone, in the channel.
   *
   * @param data The data to send.
   * @param options The `overflow` policy, a key, and whether the message is volatile.
   * @returns A promise that settles as that of {@linkcode Connection.send}. It rejects if
   * the client is not in the channel any more.
   * @throws {TypeError} If the data cannot be serialized.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   * import { channels } from "jsr:@ws/events/channels";
   *
   * const server = new ServerSocket();
   * const orders = channels(server).channel("orders/:id", { join: () => true });
   * orders.on("join", (member) => member.send({ welcome: member.params.id }));
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    return this.#link.send(data, options);
  }

  /**
   * Removes the client from the channel and its room. The channel of the client is closed
   * with the code and the reason, and it does not join again by itself. Has no effect if it
   * has left already.
   *
   * @param code The machine-readable code.
   * @param reason The human-readable reason.
   * @throws {TypeError} If the code or the reason is not a string.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   * import { channels } from "jsr:@ws/events/channels";
   *
   * const server = new ServerSocket();
   * const orders = channels(server).channel("orders/:id", { join: () => true });
   * orders.on("message", (message) => {
   *   if (message.size > 1_000) message.author.remove("spam", "Shorter, please");
   * });
   * ```
   */
  remove(code = "removed", reason = "The server ended the membership"): void {
    assertType("code", code, "string");
    assertType("reason", reason, "string");
    this.#link.remove(code, reason);
  }
}
