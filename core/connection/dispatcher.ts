/**
 * Turns the payload of a frame into a message and emits it. What happens to messages
 * without a listener is decided in `early_messages.ts` and `unhandled_requests.ts`.
 * Requests, and messages with a schema, a codec or a limit of `concurrency`, are those of
 * `message_processor.ts`.
 *
 * @module
 */

import { Message } from "../../message.ts";
import { emitters } from "../events/emitter.ts";
import { ignoreRejection } from "../events/errors.ts";
import { FailureEvent } from "../events/event_types.ts";
import type { Payload, RequestFailure } from "../protocol/frames.ts";
import {
  type IncomingRequest,
  type Responder,
  UNHANDLED_FAILURE,
} from "../requests/incoming_request.ts";
import { handlersFeature } from "../requests/handlers_feature.ts";
import type { EventsSession } from "../requests/session.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { creditCost } from "../sending/credit_window.ts";
import { encodeWith, type Frame } from "../values/codec.ts";
import type { SocketTypes } from "../values/types.ts";
import {
  EarlyMessages,
  type EarlyMessagesDispatcher,
  emitEarly,
} from "./early_messages.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { InboundGate } from "./inbound_gate.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";
import {
  type ChannelTask,
  type Processor,
  processorFeature,
  type ProcessorHost,
} from "./processor_feature.ts";
import { emitMessage } from "./typed_messages.ts";
import { refuseIfUnheard } from "./unhandled_requests.ts";

/** Emits the messages of one connection. */
export class Dispatcher<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> implements Responder, EarlyMessagesDispatcher, ProcessorHost<Types, C> {
  /** The messages that were received before there is a listener. */
  readonly early: EarlyMessages<Types, C>;
  readonly #host: ConnectionHost<Types, C>;
  #session: EventsSession | undefined;
  /** Whether all messages are plain, unless they are requests. */
  #isPlain = true;
  /** Created when something is not a plain message. */
  #processor: Processor<C> | undefined;
  /** The number of messages that hooks have dropped. */
  dropped = 0;
  /** How many events are being dispatched. The end waits for them. */
  #depth = 0;

  /** Creates the dispatcher of a connection that is not open yet. */
  constructor(host: ConnectionHost<Types, C>) {
    this.#host = host;
    this.early = new EarlyMessages(host, this);
  }

  /** Whether an event is being dispatched. */
  get isDispatching(): boolean {
    return this.#depth > 0;
  }

  /** The state of `events.v1`, if it was negotiated. */
  get session(): EventsSession | undefined {
    return this.#session;
  }

  /** Whether messages wait until others have been handled. */
  get isWaiting(): boolean {
    return this.#processor?.isWaiting === true;
  }

  /** The number of messages that were dropped for a newer one with the same key. */
  get superseded(): number {
    return this.#processor?.superseded ?? 0;
  }

  /** The approximate memory that waiting messages take, in bytes. */
  get memory(): number {
    return this.early.memory + (this.#processor?.memory ?? 0);
  }

  /** Called when the connection is open, before its owner is notified. */
  opened(session: EventsSession | undefined): void {
    const { concurrency, schema, codec } = this.#host.options;
    this.#session = session;
    this.#isPlain = !schema && !codec && concurrency === Infinity &&
      !this.#host.owner.hooks;
    this.early.start();
  }

  /** Called when the owner has got its first hook. */
  hooksAdded(): void {
    this.#isPlain = false;
  }

  /** The hooks of the server; undefined if there are none. */
  get gate(): InboundGate<C> | undefined {
    return this.#processor?.gate;
  }

  /** Drops the messages that wait for a listener, or for others to be handled. */
  discard(): void {
    this.early.discard();
    this.discardWaiting();
  }

  /** Drops the messages that wait for others to be handled. Returns how many. */
  discardWaiting(): number {
    return this.#processor?.discardWaiting() ?? 0;
  }

  /** Calls listeners, and emits the end afterwards if the connection has ended. */
  callListeners(action: () => void): void {
    this.#depth++;
    action();
    this.#endDispatch();
  }

  /** Calls listeners without emitting the end, neither meanwhile nor afterwards. */
  callListenersOfEnd(action: () => void): void {
    this.#depth++;
    action();
    this.#depth--;
  }

  /** Emits an `error` event on the connection, or else on its owner. */
  reportError(error: unknown, from: string): void {
    const connection = this.#host.connection;
    if (!emitters.isHeard(connection, "error")) {
      return this.#host.owner.failed(error, from, connection);
    }
    this.#host.options.instrumentation?.listenerFailed(error, from);
    emitters.emit(connection, "error", FailureEvent<C>, [
      error,
      from,
      connection,
    ]);
  }

  /** Gives credit for a message that is dropped. */
  creditDropped(frame: Payload): void {
    const cost = creditCost(frame);
    if (!this.#processor?.skip(cost)) this.#session?.countReceived(cost);
  }

  /** Gives credit for the messages that {@linkcode Dispatcher.discard} has dropped. */
  creditDiscarded(): void {
    this.#processor?.skip(0);
  }

  /**
   * Takes a message or request that is within the limits.
   *
   * @param frame The frame or the item of a batch that holds it.
   * @param trace The trace context of the request, if its sender provides one.
   */
  accept(payload: Payload, frame: Payload, id?: number, trace?: string): void {
    if (this.#isPlain && id === undefined) { // the most frequent case
      if (!this.#processor?.isFull) {
        this.#session?.countReceived(creditCost(frame));
      } else if (!this.#processor.withhold(frame)) return;
      const message: MessageFrom<Types, C> = new Message(
        payload,
        this.#host.connection,
      );
      const pending: Promise<unknown>[] = [];
      this.#depth++;
      this.emit(message, undefined, pending);
      if (pending.length > 0) this.#track(pending, message.size);
      return this.endDispatch(message);
    }
    if (id !== undefined && !handlersFeature.code) {
      this.creditDropped(frame);
      return this.#refuseUnloaded(id);
    }
    this.#getProcessor("requests and codecs")
      .accept(payload, frame, id, trace);
  }

  /** Takes a message that is within the limits, of which only the newest matters. */
  acceptLatest(payload: Payload, frame: Payload, key: string): void {
    if (!processorFeature.code) return this.accept(payload, frame);
    this.#isPlain = false; // later messages must not overtake it
    this.#getProcessor("keys")
      .accept(payload, frame, undefined, undefined, key);
  }

  /**
   * Takes a frame of a channel that is within the limits. It is handled in its turn, as a
   * message is.
   *
   * @param key The key, if only the newest with it matters.
   */
  acceptTask(task: ChannelTask, frame: Payload, key?: string): void {
    if (key !== undefined) this.#isPlain = false;
    this.#getProcessor("channels").acceptTask(task, frame, key);
  }

  /**
   * Handles a request that a task has received.
   *
   * @param requestId Its id on all connections of its client.
   * @returns A promise for each listener that is still running.
   */
  handleRequest(
    payload: Payload,
    request: IncomingRequest,
    requestId: string,
  ): readonly Promise<unknown>[] {
    return this.#getProcessor("requests")
      .handleRequest(payload, request, requestId);
  }

  #getProcessor(use: string): Processor<C> {
    return this.#processor ??= processorFeature.require(use)(this.#host, this);
  }

  /** The name of the peer, for error messages. */
  get name(): string {
    return this.#host.connection.remoteAddress;
  }

  /** Encodes a reply. */
  encode(data: unknown): Frame {
    return encodeWith(data, this.#host.options.codec);
  }

  /** Sends the reply to a request. */
  reply(id: number, frame: Frame): Promise<void> {
    return this.#session?.reply(id, frame) ??
      ignoreRejection(Promise.reject(this.#host.closing.error("send")));
  }

  /** Sends an error reply to a request. */
  refuse(id: number, failure: RequestFailure): void {
    this.#session?.refuse(id, failure);
  }

  /** Reports an error of a handler. */
  failed(error: unknown): void {
    this.reportError(error, "request");
  }

  /** Refuses a request, as the code to handle it is not loaded, and reports that. */
  #refuseUnloaded(id: number): void {
    this.refuse(id, UNHANDLED_FAILURE);
    try {
      handlersFeature.require("requests of the server");
    } catch (error) {
      this.callListeners(() => this.reportError(error, "message"));
    }
  }

  /** Counts a plain message until its listeners have finished, if the code is loaded. */
  #track(pending: readonly Promise<unknown>[], size: number): void {
    const create = processorFeature.code;
    if (!create) return;
    this.#processor ??= create(this.#host, this);
    this.#processor.track(pending, size);
  }

  /** Called before a message is emitted: until the end of that, the end waits. */
  beginDispatch(): void {
    this.#depth++;
  }

  /** Called after a message was emitted. */
  endDispatch(message: MessageFrom<Types, C>): void {
    if (emitters.queuedSize(this.#host.connection) > 0) {
      this.spend(message.size);
    }
    this.#endDispatch();
  }

  /** Emits a message, or keeps it for a listener. */
  emit(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
    pending: Promise<unknown>[] | undefined,
  ): void {
    const host = this.#host;
    if (!this.early.isOpening) {
      if (request) refuseIfUnheard(host, message, request);
      host.owner.received(message, pending);
      return emitMessage(host.connection, message, pending);
    }
    if (host.closing.isServer) host.owner.received(message, pending);
    const isKept = this.early.add(message, request);
    if (isKept) this.spend(message.size);
    else if (isKept === false) emitEarly(host, message, pending);
  }

  /** Counts memory against the budget. That may end this connection or another. */
  spend(size: number): void {
    this.#host.options.budget?.spend(size * 2 + MESSAGE_COST);
  }

  #endDispatch(): void {
    if (--this.#depth === 0 && this.#host.closing.isEnded) {
      this.#host.notifyEnd();
    }
  }
}
