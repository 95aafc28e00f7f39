/**
 * Turns the payload of a frame into a message or a request, and emits it or calls its
 * handler. What happens to messages without a listener is decided in `early_messages.ts`
 * and `unhandled_requests.ts`, and to those that cannot be read in `invalid_messages.ts`.
 *
 * @module
 */

import { Message } from "../../message.ts";
import { emitters } from "../events/emitter.ts";
import { ignoreRejection } from "../events/errors.ts";
import { FailureEvent } from "../events/event_types.ts";
import type { Payload, RequestFailure } from "../protocol/frames.ts";
import type { RequestHandler } from "../requests/handlers.ts";
import {
  type IncomingRequest,
  type Responder,
  UNHANDLED_FAILURE,
} from "../requests/incoming_request.ts";
import { requestsFeature } from "../requests/requests_feature.ts";
import type { RunningRequests } from "../requests/running_requests.ts";
import type { EventsSession } from "../requests/session.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { creditCost } from "../sending/credit_window.ts";
import { encodeWith, type Frame } from "../values/codec.ts";
import type { Incoming, Outgoing, SocketTypes } from "../values/types.ts";
import { concurrencyFeature } from "./concurrency_feature.ts";
import type { ConcurrencyLimiter } from "./concurrency_limiter.ts";
import {
  EarlyMessages,
  type EarlyMessagesDispatcher,
  emitEarly,
} from "./early_messages.ts";
import type { ConnectionHost } from "./connection_host.ts";
import {
  internalError,
  type InvalidMessage,
  rejectInvalid,
  schemaFeature,
  undecodable,
  type ValidMessage,
} from "./invalid_messages.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";
import { emitMessage } from "./typed_messages.ts";
import { refuseIfUnheard } from "./unhandled_requests.ts";

/** A received message, and its request if it is one. */
interface InboundMessage<M> {
  readonly message: M;
  readonly request: IncomingRequest | undefined;
}

const NO_PENDING: readonly never[] = [];

/** Emits the messages of one connection. */
export class Dispatcher<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> implements Responder, EarlyMessagesDispatcher {
  /** The messages that were received before there is a listener. */
  readonly early: EarlyMessages<Types, C>;
  readonly #host: ConnectionHost<Types, C>;
  /** The state of `events.v1`, if it was negotiated. */
  #session: EventsSession | undefined;
  /** Holds messages back while others are handled, if the option asks for it. */
  #limiter:
    | ConcurrencyLimiter<InboundMessage<MessageFrom<Types, C>>>
    | undefined;
  /** The requests that are being handled, if there is no limiter. */
  #running: RunningRequests | undefined;
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

  /** Whether messages wait until others have been handled. */
  get isWaiting(): boolean {
    return this.#limiter !== undefined && !this.#limiter.isEmpty;
  }

  /** The approximate memory that waiting messages take, in bytes. */
  get memory(): number {
    return this.early.memory + (this.#limiter?.size ?? 0) +
      (this.#running?.memory ?? 0);
  }

  /** Called when the connection is open, before its owner is notified. */
  opened(session: EventsSession | undefined): void {
    const { concurrency } = this.#host.options;
    this.#session = session;
    this.early.start();
    if (concurrency === Infinity) return;
    const Limiter = concurrencyFeature.require("concurrency");
    this.#limiter = new Limiter(
      concurrency,
      ({ message, request }) => this.#dispatch(message, request),
      (handled) => {
        this.#session?.grantForHandled(handled);
        if (this.#host.closing.isEnded) this.#host.notifyEnd();
      },
    );
  }

  /** Drops the messages that wait for a listener, or for others to be handled. */
  discard(): void {
    this.early.discard();
    this.discardWaiting();
  }

  /** Drops the messages that wait for others to be handled. Returns how many. */
  discardWaiting(): number {
    return this.#limiter?.clear() ?? 0;
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
    if (this.#limiter) this.#limiter.skip(creditCost(frame));
    else this.#session?.countReceived(creditCost(frame));
  }

  /** Gives credit for the messages that {@linkcode Dispatcher.discard} has dropped. */
  creditDiscarded(): void {
    this.#limiter?.skip(0);
  }

  /**
   * Takes a message or request that is within the limits.
   *
   * @param frame The frame or the item of a batch that holds it.
   * @param id The id of the request, if it is one.
   * @param trace The trace context of the request, if its sender provides one.
   */
  accept(payload: Payload, frame: Payload, id?: number, trace?: string): void {
    const { connection, options } = this.#host;
    const limiter = this.#limiter;
    const isPlain = id === undefined && !options.schema && !options.codec;
    if (isPlain && limiter === undefined) { // the most frequent case
      this.#session?.countReceived(creditCost(frame));
      this.#dispatch(new Message(payload, connection), undefined);
      return;
    }
    const inbound = this.#parse(payload, id, trace);
    if (limiter === undefined) {
      const cost = creditCost(frame);
      const isHeld = inbound?.request && this.#running?.isFull;
      if (!isHeld) this.#session?.countReceived(cost);
      else if (!this.#running?.withhold(cost) && this.#host.closing.isServer) {
        return this.#host.closing.closeForLimit(
          "Too many requests are pending",
        );
      }
      if (inbound) this.#dispatch(inbound.message, inbound.request);
      return;
    }
    if (!inbound) return this.creditDropped(frame);
    const { size } = inbound.message;
    if (limiter.add(inbound, creditCost(frame), MESSAGE_COST + size)) {
      this.#spend(size);
    } else {this.#host.closing.closeForLimit(
        "Too many messages wait to be handled",
      );}
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

  /** Makes a message. Returns undefined if it is invalid. */
  #parse(
    payload: Payload,
    id: number | undefined,
    trace: string | undefined,
  ): InboundMessage<MessageFrom<Types, C>> | undefined {
    const { codec, schema } = this.#host.options;
    const connection = this.#host.connection;
    let request: IncomingRequest | undefined;
    if (id !== undefined) {
      const { code } = requestsFeature;
      if (!code) return this.#refuseUnloaded(id);
      request = new code.IncomingRequest(id, this, trace);
    }
    let value: ValidMessage<Incoming<Types>> | undefined;
    if (schema) {
      const result = schemaFeature.require("a schema")
        .read(payload, codec, schema);
      if ("error" in result) return this.#reject(result, request);
      value = result;
    }
    const message: MessageFrom<Types, C> = new Message(
      payload,
      connection,
      undefined,
      {
        codec,
        ...value && { value },
        ...request && {
          answer: (data: Outgoing<Types>) => request.reply(data),
        },
      },
    );
    return { message, request };
  }

  /** Refuses a request, as the code to handle it is not loaded, and reports that. */
  #refuseUnloaded(id: number): undefined {
    this.refuse(id, UNHANDLED_FAILURE);
    try {
      requestsFeature.require("requests of the server");
    } catch (error) {
      this.callListeners(() => this.reportError(error, "message"));
    }
  }

  /** Reports a message that cannot be read, and rejects it. */
  #reject(
    invalid: InvalidMessage,
    request: IncomingRequest | undefined,
  ): undefined {
    this.#depth++;
    this.reportError(invalid.error, "message");
    rejectInvalid(this.#host, invalid, request);
    this.#endDispatch();
  }

  /**
   * Emits a message or calls the handler of a request.
   *
   * @returns A promise for each listener that is still running, if a limiter waits for
   * them.
   */
  #dispatch(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
  ): readonly Promise<unknown>[] {
    const pending: Promise<unknown>[] | undefined = this.#limiter && [];
    this.#depth++;
    const handler = request && this.#findHandler(message, request);
    if (handler) {
      const done = this.#handle(handler, message, request);
      if (pending && done) pending.push(done);
      else if (done) this.#track(done, message.size);
    } else if (request?.isAnswered) {
      // It could not be read, and has been refused.
    } else if (!this.early.isOpening) {
      if (request) refuseIfUnheard(this.#host, message, request);
      this.#host.owner.received(message, pending);
      emitMessage(this.#host.connection, message, pending);
    } else this.#emitWhileOpening(message, request, pending);
    if (emitters.queuedSize(this.#host.connection) > 0) {
      this.#spend(message.size);
    }
    this.#endDispatch();
    return pending ?? NO_PENDING;
  }

  /** Counts a request until its handler has finished. */
  #track(done: Promise<void>, size: number): void {
    const { RunningRequests } = requestsFeature.require("requests");
    const running = this.#running ??= new RunningRequests();
    running.start(size);
    this.#spend(size);
    done.then(() => {
      const cost = running.finish(size);
      if (cost > 0) this.#session?.countReceived(cost);
    });
  }

  #handle(
    handler: RequestHandler<MessageFrom<Types, C>, Outgoing<Types>>,
    message: MessageFrom<Types, C>,
    request: IncomingRequest,
  ): Promise<void> | undefined {
    const { instrumentation } = this.#host.options;
    const run = () => handler(message);
    return request.run(
      instrumentation
        ? () =>
          instrumentation.traceHandler(
            this.#host.connection,
            handler.type,
            request.trace,
            run,
          )
        : run,
    );
  }

  /** Finds the handler of a request. A decoding error is not an error of the handler. */
  #findHandler(
    message: MessageFrom<Types, C>,
    request: IncomingRequest,
  ): RequestHandler<MessageFrom<Types, C>, Outgoing<Types>> | undefined {
    try {
      const { data: _data } = message;
    } catch (error) {
      return this.#reject(undecodable(error), request);
    }
    try {
      return this.#host.owner.findHandler(message);
    } catch (error) {
      return this.#reject(internalError(error), request);
    }
  }

  #emitWhileOpening(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
    pending: Promise<unknown>[] | undefined,
  ): void {
    if (this.#host.closing.isServer) {
      this.#host.owner.received(message, pending);
    }
    const isKept = this.early.add(message, request);
    if (isKept) this.#spend(message.size);
    else if (isKept === false) emitEarly(this.#host, message, pending);
  }

  #endDispatch(): void {
    if (--this.#depth === 0 && this.#host.closing.isEnded) {
      this.#host.notifyEnd();
    }
  }

  /** Counts memory against the budget. That may end this connection or another. */
  #spend(size: number): void {
    this.#host.options.budget?.spend(size * 2 + MESSAGE_COST);
  }
}
