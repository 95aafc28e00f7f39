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
export type { ClientRequestOptions } from "./retries/retry_feature.ts";
export type { MessageOptions } from "./connection/connection_options.ts";
export {
  SchemaError,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from "./values/schema.ts";
export type { TrafficCount } from "./sending/socket_buffer.ts";
export * from "./public_common.ts";
