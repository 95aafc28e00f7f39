/**
 * The exports that all servers and clients have in common, the client for pages included.
 *
 * @module
 */

export type { RequestOptions } from "./requests/session.ts";
export type { Endpoint, EndpointEvents } from "./connection/endpoint.ts";
export type { AsyncDisposer } from "./util/disposer.ts";
export type { HandleOptions } from "./requests/handlers.ts";
export { Message, type MessageAuthor, type MessageInit } from "../message.ts";
export type { Codec, Sendable, SendableObject } from "./values/codec.ts";
export type { SendOptions } from "./sending/send_queue.ts";
export type { FlowOptions } from "./sending/flow_options.ts";
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
