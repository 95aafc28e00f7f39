/**
 * Event-based WebSockets for Deno: a server and a client with the events `connect`,
 * `message`, `close`, `disconnect` and `error`.
 *
 * Each connection ends with exactly one of two events: `close` if the closing handshake
 * was completed, in which case both sides get the same code and reason; or `disconnect`
 * if the connection was lost, usually with code 1006 and no reason.
 *
 * @example A server
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("ready", () => console.log(`listening at ${server.url}`));
 * server.on("connect", (client) => client.send({ status: "Okay" }));
 * server.on("message", (message) => message.reply(message.content));
 * server.on("close", (client, code, reason) => console.log("closed", code, reason));
 * server.on("disconnect", (client) => console.log("lost", client.remoteAddress));
 * await server.listen("localhost", 3000);
 * ```
 *
 * @example A client
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket<{ incoming: { status: string } }>();
 * client.on("message", (message) => console.log(message.data.status));
 * client.on("close", (code, reason) => console.log("closed", code, reason));
 * client.on("disconnect", () => console.log("lost"));
 * await client.connect("ws://localhost:3000");
 * await client.send("Okay received.");
 * ```
 *
 * This module exports the names that applications write. Types that occur only in their
 * signatures, such as `HandleOptions`, are exported by `./server` and `./client`.
 *
 * @module
 */

export {
  type Cause,
  CloseCode,
  type Codec,
  ConnectEvent,
  type Connection,
  type ConnectionEnd,
  ConnectionEndedError,
  type ConnectionEvents,
  EndEvent,
  FailureEvent,
  type Incoming,
  Message,
  MessageDroppedError,
  type MessageType,
  type Outgoing,
  type Overflow,
  ReceivedEvent,
  RequestError,
  type RequestOptions,
  SchemaError,
  type Sendable,
  type SendOptions,
  type SocketMessage,
  type SocketTypes,
  type StandardSchema,
  type TypedMessage,
  type WaitOptions,
} from "./core/public.ts";
export {
  type Adapter,
  AdapterEvent,
  type AdapterState,
  Audience,
  type AuthorizeInfo,
  type BroadcastOptions,
  CloseRefusal,
  type DisconnectedClient,
  type HistoryOptions,
  type Member,
  MemberEvent,
  type MessageRate,
  type PresenceOptions,
  RefusedEvent,
  sameOrigin,
  type ServerEvents,
  type ServerListenOptions,
  type ServerOptions,
  ServerSocket,
  type ShutdownOptions,
} from "./server.ts";
export {
  type ClientEvents,
  type ClientOptions,
  ClientSocket,
  type ClientState,
  ConnectError,
  type ConnectOptions,
  type Disconnection,
  GiveUpEvent,
  isTransient,
  ReconnectingEvent,
  type ReconnectOptions,
} from "./client.ts";
