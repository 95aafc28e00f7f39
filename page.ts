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
export * from "./core/public_common.ts";
