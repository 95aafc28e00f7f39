/**
 * The exports that `./server` and `./client` have in common.
 *
 * @module
 */

export type {
  CheckedRequestOptions,
  Connection,
  ConnectionEvents,
  SocketHandler,
  SocketHandlers,
  SocketHandlersOptions,
  SocketMessage,
  SocketRequest,
  TypedMessage,
  TypedMessages,
} from "./connection/connection.ts";
export type {
  CheckedTypes,
  Context,
  HandledData,
  HandledReply,
  HandledType,
  HandlerResult,
  HandlerReturn,
  Incoming,
  KnownNames,
  MessageType,
  NamedTypes,
  OfType,
  Outgoing,
  PresenceData,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
  TypeOf,
} from "./values/types.ts";
export type { RequestOptions } from "./requests/session.ts";
export type { ClientRequestOptions } from "./retries/retry_feature.ts";
export type { Endpoint, EndpointEvents } from "./connection/endpoint.ts";
export type { AsyncDisposer } from "./util/disposer.ts";
export type { HandleOptions } from "./requests/handlers.ts";
export type { MessageOptions } from "./connection/connection_options.ts";
export {
  SchemaError,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from "./values/schema.ts";
export { Message, type MessageAuthor, type MessageInit } from "../message.ts";
export type { Codec, Sendable, SendableObject } from "./values/codec.ts";
export type { SendOptions } from "./sending/send_queue.ts";
export type { FlowOptions } from "./sending/flow_options.ts";
export type { TrafficCount } from "./sending/socket_buffer.ts";
export type { Overflow } from "./sending/backpressure_queue.ts";
export type { Emitter } from "./events/emitter.ts";
export type {
  EventArgs,
  EventHandler,
  EventOf,
  ListenerOptions,
} from "./events/listeners.ts";
export type {
  CollectOptions,
  EventsOptions,
  WaitOptions,
} from "./events/subscriptions.ts";
export {
  ConnectEvent,
  DrainEvent,
  type EndDetails,
  EndEvent,
  type EventMap,
  FailureEvent,
  ReceivedEvent,
} from "./events/event_types.ts";
export {
  type Cause,
  CloseCode,
  type ConnectionEnd,
  ConnectionEndedError,
  MessageDroppedError,
  RequestError,
} from "./events/errors.ts";
