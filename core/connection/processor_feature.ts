/**
 * The processor of requests and of messages with a schema, codec or hooks, if it is
 * loaded.
 *
 * @module
 */

import type { Payload } from "../protocol/frames.ts";
import type {
  IncomingRequest,
  Responder,
} from "../requests/incoming_request.ts";
import type { EventsSession } from "../requests/session.ts";
import { Feature } from "../util/feature.ts";
import type { SocketTypes } from "../values/types.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { InboundGate } from "./inbound_gate.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";

/** The dispatcher, as a processor uses it. */
export interface ProcessorHost<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> {
  /** The state of `events.v1`, if it was negotiated. */
  readonly session: EventsSession | undefined;
  /** The number of messages that hooks have dropped. */
  dropped: number;
  /** Calls listeners, and emits the end afterwards if the connection has ended. */
  callListeners(action: () => void): void;
  /** Reports an error of this side. */
  reportError(error: unknown, from: string): void;
  /** Gives credit for a message that is dropped. */
  creditDropped(frame: Payload): void;
  /** Counts memory against the budget. */
  spend(size: number): void;
  /** Called before a message is emitted: until the end of that, the end waits. */
  beginDispatch(): void;
  /** Called after a message was emitted. */
  endDispatch(message: MessageFrom<Types, C>): void;
  /** Emits a message, or keeps it for a listener. */
  emit(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
    pending: Promise<unknown>[] | undefined,
  ): void;
}

/**
 * Handles a frame of a channel.
 *
 * @param pending Receives a promise for each listener that has not finished, if others
 * wait for them.
 * @returns A promise that resolves when a request has been handled, unless it has been.
 */
export type ChannelTask = (
  pending: Promise<unknown>[] | undefined,
) => Promise<unknown> | undefined;

/** Processes the messages of one connection; see `message_processor.ts`. */
export interface Processor<C> {
  /** The hooks of the server; undefined if there are none. */
  readonly gate: InboundGate<C> | undefined;
  /** Whether messages wait until others have been handled. */
  readonly isWaiting: boolean;
  /** The approximate memory of messages that wait or are handled, in bytes. */
  readonly memory: number;
  /** The number of messages that were dropped for a newer one with the same key. */
  readonly superseded: number;
  /** Drops the messages that wait for others to be handled. Returns how many. */
  discardWaiting(): number;
  /** Counts the cost of a dropped message, if it limits `concurrency`. */
  skip(cost: number): boolean;
  /** Whether the credit for further messages is withheld; see {@linkcode withhold}. */
  readonly isFull: boolean;
  /**
   * Gives no credit for a message, as too many are being handled.
   *
   * @returns False if the peer had no credit for it, so that it is closed.
   */
  withhold(frame: Payload): boolean;
  /** Counts a message until its listeners have finished. */
  track(pending: readonly Promise<unknown>[], size: number): void;
  /**
   * Takes a message or a request; see `Dispatcher.accept`.
   *
   * @param key The key of a message, if only the newest with it matters.
   */
  accept(
    payload: Payload,
    frame: Payload,
    id?: number,
    trace?: string,
    key?: string,
  ): void;
  /** Takes a frame of a channel; see `Dispatcher.acceptTask`. */
  acceptTask(task: ChannelTask, frame: Payload, key?: string): void;
  /** Handles a request that a task has received; see `Dispatcher.handleRequest`. */
  handleRequest(
    payload: Payload,
    request: IncomingRequest,
    requestId: string,
  ): readonly Promise<unknown>[];
}

/** Creates the processor of one connection. */
export type CreateProcessor = <
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
>(
  host: ConnectionHost<Types, C>,
  dispatcher: ProcessorHost<Types, C> & Responder,
) => Processor<C>;

/** The processor of requests and of messages with a schema, codec or hooks. */
export const processorFeature: Feature<CreateProcessor> = new Feature("full");
