/**
 * The {@linkcode ClientSocket} for pages: small, with the methods, events and options of
 * that of `@ws/events/client`.
 *
 * Iterators and request handlers are imported from `@ws/events/client/iterators` and
 * `@ws/events/client/handlers`; using one without its import throws an error that names
 * the import. Headers, the options of a runtime's `WebSocket`, schemas, codecs and
 * `concurrency` are only in `@ws/events/client`: use that in Deno, Node and Bun.
 *
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events/client/page";
 *
 * const client = new ClientSocket({ reconnect: true });
 * client.on("message", ({ data }) => console.log(data));
 * await client.connect("wss://example.com/live");
 * ```
 *
 * @module
 */

export { PageClient as ClientSocket } from "./core/page/page_client.ts";
export type {
  PageConnection as Connection,
  PageMessage,
} from "./core/page/page_connection.ts";
export type { PageClientOptions as ClientOptions } from "./core/page/page_options.ts";
export type { BaseClient } from "./core/client/base_client.ts";
export type { ClientEvents } from "./core/client/client_events.ts";
export type {
  ConnectOptions,
  ValueOrFunction,
} from "./core/client/client_options.ts";
export type { ClientConnection } from "./core/client/client_parts.ts";
export type {
  ConnectionEvents,
  SocketMessage,
  TypedMessage,
  TypedMessages,
} from "./core/connection/connection.ts";
export type { BackoffOptions } from "./core/reconnect/retry_delay.ts";
export {
  type Disconnection,
  isTransient,
  type ReconnectOptions,
} from "./core/reconnect/reconnect_options.ts";
export {
  ConnectError,
  type ConnectErrorDetails,
  type ConnectErrorKind,
} from "./core/events/errors.ts";
export {
  type ClientState,
  GiveUpEvent,
  type GiveUpReason,
  ReconnectingEvent,
  RecoveryEvent,
  StateEvent,
} from "./core/events/event_types.ts";
export type {
  CheckedTypes,
  HandlerResult,
  Incoming,
  KnownNames,
  MessageType,
  NamedTypes,
  OfType,
  Outgoing,
  Reply,
  SocketTypes,
  TypeOf,
} from "./core/values/types.ts";
export type { RequestOptions } from "./core/requests/session.ts";
export type { Endpoint, EndpointEvents } from "./core/connection/endpoint.ts";
export type { AsyncDisposer } from "./core/util/disposer.ts";
export type { HandleOptions } from "./core/requests/handlers.ts";
export { Message, type MessageAuthor, type MessageInit } from "./message.ts";
export type { Codec, Sendable, SendableObject } from "./core/values/codec.ts";
export type { SendOptions } from "./core/sending/send_queue.ts";
export type { FlowOptions } from "./core/sending/flow_options.ts";
export type { Overflow } from "./core/sending/backpressure_queue.ts";
export type { Emitter } from "./core/events/emitter.ts";
export type {
  EventArgs,
  EventHandler,
  EventOf,
  ListenerOptions,
} from "./core/events/listeners.ts";
export type {
  CollectOptions,
  EventsOptions,
  WaitOptions,
} from "./core/events/subscriptions.ts";
export {
  ConnectEvent,
  DrainEvent,
  type EndDetails,
  EndEvent,
  type EventMap,
  FailureEvent,
  ReceivedEvent,
} from "./core/events/event_types.ts";
export {
  type Cause,
  CloseCode,
  type ConnectionEnd,
  ConnectionEndedError,
  MessageDroppedError,
  RequestError,
} from "./core/events/errors.ts";
