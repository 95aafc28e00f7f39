/**
 * Channels: rooms that clients ask to join. The server decides who may, and answers with a
 * snapshot; a client joins again by itself after a loss, and is told whether it has missed
 * something.
 *
 * @example A server
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { channels } from "jsr:@ws/events/channels";
 *
 * const server = new ServerSocket();
 * channels(server).channel("orders/:id", {
 *   join: ({ params, data }) => data === `token for ${params.id}`,
 *   snapshot: ({ params }) => ({ id: params.id, status: "packed" }),
 * });
 * server.to("orders/42").send({ status: "sent" });
 * ```
 *
 * @example A client
 * ```ts ignore
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({ reconnect: true });
 * const order = channel(client, "orders/42", () => "token for 42");
 * order.on("open", (snapshot) => console.log(snapshot));
 * order.on("message", ({ data }) => console.log(data));
 * client.connect("wss://example.com/live");
 * ```
 *
 * @module
 */

export {
  channels,
  type ChannelsOptions,
  type ServerChannels,
} from "./core/channels/channel_registry.ts";
export {
  ChannelMember,
  type JoinRequestInfo,
  type MemberLink,
} from "./core/channels/channel_member.ts";
export {
  ServerChannel,
  type ServerChannelEvents,
  type ServerChannelOptions,
} from "./core/channels/server_channel.ts";
export {
  channel,
  type ChannelClient,
} from "./core/channels/client_channels.ts";
export {
  ChannelCloseEvent,
  ChannelMemberEvent,
  ChannelOpenEvent,
} from "./core/channels/channel_events.ts";
export {
  Channel,
  type ChannelEvents,
  type ChannelHistoryOptions,
  type ChannelHistoryPage,
  type ChannelOptions,
  type ChannelState,
} from "./core/channels/channel.ts";
export type {
  ChannelHandler,
  ChannelHandlers,
  ChannelMessage,
  ChannelRequest,
  ChannelTypes,
  JoinData,
  Snapshot,
  TypedChannelMessages,
} from "./core/channels/channel_types.ts";
export type {
  ChannelParams,
  ParamNames,
} from "./core/channels/channel_pattern.ts";
export type { ChannelMemberInfo } from "./core/protocol/channel_frames.ts";
