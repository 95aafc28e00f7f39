/**
 * What the entry points of both sockets give to a program; re-exports, nothing
 * else.
 *
 * @module
 */

export type {
  CheckedRequestOptions,
  Connection,
  MessageOf,
  SocketMessage,
} from "./connection.ts";
export type {
  Answer,
  Context,
  Incoming,
  KindOf,
  NamedTypes,
  OfKind,
  Outgoing,
  Reply,
  SocketTypes,
} from "./types.ts";
export type { RequestOptions } from "./exchange.ts";
export type { HandleOptions } from "./handlers.ts";
export type { SpeechOptions } from "./manner.ts";
export {
  SchemaError,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from "./schema.ts";
export { type Author, Message, type MessageInit } from "../message.ts";
export type { Codec, Inert, Sendable } from "./codec.ts";
export type { SendOptions } from "./backlog.ts";
export type { Carried, FlowOptions } from "./flow.ts";
export type { Overflow } from "./outbox.ts";
export type {
  Args,
  CollectOptions,
  Emitter,
  EventHandler,
  EventsOptions,
  ListenOptions,
  MessagesOptions,
  Name,
  WaitOptions,
} from "./emitter.ts";
export {
  ConnectEvent,
  type ConnectionEvents,
  DrainEvent,
  type EndArgs,
  EndEvent,
  type EventMap,
  FailureEvent,
  ReceivedEvent,
} from "./events.ts";
export {
  type Cause,
  CloseCode,
  ConnectionEndedError,
  type End,
  MessageDroppedError,
  RequestError,
} from "./errors.ts";
