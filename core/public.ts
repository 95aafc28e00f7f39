/**
 * What the entry points of both sockets give to a program; re-exports, nothing
 * else.
 *
 * @module
 */

export type {
  Connection,
  Context,
  Incoming,
  Outgoing,
  SocketMessage,
  SocketTypes,
} from "./connection.ts";
export { type Author, Message } from "../message.ts";
export type { Inert, Sendable } from "./codec.ts";
export type { SendOptions } from "./backlog.ts";
export type { FlowOptions } from "./flow.ts";
export type { Overflow } from "./outbox.ts";
export type {
  Args,
  CollectOptions,
  Emitter,
  EventHandler,
  EventsOptions,
  ListenOptions,
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
} from "./errors.ts";
