/**
 * Turns the payload of a frame into a message or a request, validates it, and emits it or
 * calls its handler. Keeps messages that arrive before there is a listener.
 *
 * @module
 */

import { Message } from "../../message.ts";
import { emitters } from "../events/emitter.ts";
import { CloseCode, ignoreRejection } from "../events/errors.ts";
import { FailureEvent } from "../events/event_types.ts";
import type { Payload, RequestFailure } from "../protocol/frames.ts";
import type { RequestHandler } from "../requests/handlers.ts";
import {
  IncomingRequest,
  INTERNAL_FAILURE,
  type Responder,
} from "../requests/incoming_request.ts";
import { RunningRequests } from "../requests/running_requests.ts";
import type { EventsSession } from "../requests/session.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { creditCost } from "../sending/credit_window.ts";
import { decodeWith, encodeWith, type Frame } from "../values/codec.ts";
import { SchemaError, validate } from "../values/schema.ts";
import type { Incoming, Outgoing, SocketTypes } from "../values/types.ts";
import type { Timer } from "../util/timer.ts";
import { ConcurrencyLimiter } from "./concurrency_limiter.ts";
import { EarlyMessages } from "./early_messages.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";
import { emitMessage, isMessageHeard } from "./typed_messages.ts";

/** A received message, and its request if it is one. */
interface InboundMessage<M> {
  readonly message: M;
  readonly request: IncomingRequest | undefined;
}

const NO_PENDING: readonly never[] = [];

/** The failure that the peer gets for a request that nobody handles. */
const UNHANDLED_FAILURE: RequestFailure = {
  message: "Nobody handles requests",
  code: "unhandled",
};

/** Emits the messages of one connection. */
export class Dispatcher<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> implements Responder {
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
  /** Whether a listener may still be added: messages without a listener are kept. */
  #isOpening = false;
  /** Whether some `connect` listeners are still running. */
  #isConnectPending = false;
  #early: EarlyMessages<InboundMessage<MessageFrom<Types, C>>> | undefined;
  #earlyTimer: Timer | undefined;

  /** Creates the dispatcher of a connection that is not open yet. */
  constructor(host: ConnectionHost<Types, C>) {
    this.#host = host;
  }

  /** Whether an event is being dispatched. */
  get isDispatching(): boolean {
    return this.#depth > 0;
  }

  /** Whether messages wait until others have been handled. */
  get isWaiting(): boolean {
    return this.#limiter !== undefined && !this.#limiter.isEmpty;
  }

  /** Whether messages wait for a listener. */
  get hasEarly(): boolean {
    return this.#early !== undefined;
  }

  /** Whether some `connect` listeners are still running. */
  get isConnectPending(): boolean {
    return this.#isConnectPending;
  }

  /** The approximate memory that waiting messages take, in bytes. */
  get memory(): number {
    const early = this.#early;
    const earlySize = early ? early.size + early.length * MESSAGE_COST : 0;
    return earlySize + (this.#limiter?.size ?? 0) +
      (this.#running?.memory ?? 0);
  }

  /** Called when the connection is open, before its owner is notified. */
  opened(session: EventsSession | undefined): void {
    const { concurrency } = this.#host.options;
    this.#session = session;
    this.#isOpening = true;
    if (concurrency === Infinity) return;
    this.#limiter = new ConcurrencyLimiter(
      concurrency,
      ({ message, request }) => this.#dispatch(message, request),
      (handled) => {
        this.#session?.grantForHandled(handled);
        if (this.#host.closing.isEnded) this.#host.notifyEnd();
      },
    );
  }

  /** Called with the promises of the `connect` listeners that are still running. */
  awaitConnect(pending: readonly Promise<unknown>[], done: () => void): void {
    this.#isConnectPending = true;
    Promise.all(pending).then(() => {
      this.#isConnectPending = false;
      done();
      if (this.#early) this.#endOpeningSoon();
    });
  }

  /** Emits no more early messages. */
  stop(): void {
    this.#isOpening = false;
    this.#early = undefined;
    clearTimeout(this.#earlyTimer);
  }

  /** Drops the messages that wait for a listener, or for others to be handled. */
  discard(): void {
    this.#early = undefined;
    this.discardWaiting();
  }

  /** Drops the messages that wait for others to be handled. Returns how many. */
  discardWaiting(): number {
    return this.#limiter?.clear() ?? 0;
  }

  /** Emits an event on the connection, or calls listeners otherwise. */
  run(action: () => void): void {
    this.#depth++;
    action();
    this.#leave();
  }

  /** Runs an action before the end is emitted, whatever the action does. */
  hold(action: () => void): void {
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
  skip(frame: Payload): void {
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
    if (!inbound) return this.skip(frame);
    const { size } = inbound.message;
    if (limiter.add(inbound, creditCost(frame), MESSAGE_COST + size)) {
      this.#spend(size);
    } else {this.#host.closing.closeForLimit(
        "Too many messages wait to be handled",
      );}
  }

  /** Delivers early messages to a listener that has just been added, a little later. */
  deliverEarlySoon(): void {
    if (this.#early) queueMicrotask(() => this.#deliverEarly());
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
    const request = id === undefined
      ? undefined
      : new IncomingRequest(id, this, trace);
    let value: { data: Incoming<Types> } | undefined;
    if (schema) {
      let decoded: unknown;
      try {
        decoded = decodeWith(payload, codec);
      } catch (error) {
        return this.#rejectInvalid(error, request);
      }
      try {
        value = { data: validate(schema, decoded, "A message") };
      } catch (error) {
        return error instanceof SchemaError
          ? this.#rejectInvalid(error, request)
          : this.#rejectUnread(error, request);
      }
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

  /** Reports an error of the schema itself, which is not the fault of the peer. */
  #rejectUnread(
    error: unknown,
    request: IncomingRequest | undefined,
  ): undefined {
    this.#depth++;
    this.reportError(error, "message");
    request?.refuse(INTERNAL_FAILURE);
    this.#leave();
  }

  /** Reports an invalid message, and closes the connection if the option asks for it. */
  #rejectInvalid(
    error: unknown,
    request: IncomingRequest | undefined,
  ): undefined {
    this.#depth++;
    this.reportError(error, "message");
    const message = error instanceof SchemaError
      ? error.message
      : "The request could not be read";
    request?.refuse({ message, code: "invalid" });
    if (this.#host.options.isStrict) {
      const reason = "A message does not match the schema";
      this.#host.closing.closeForViolation(
        CloseCode.PolicyViolation,
        reason,
        "protocol",
      );
    }
    this.#leave();
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
    } else if (!this.#isOpening) {
      if (request) this.#refuseUnhandled(message, request);
      this.#host.owner.received(message, pending);
      emitMessage(this.#host.connection, message, pending);
    } else this.#emitWhileOpening(message, request, pending);
    if (emitters.queuedSize(this.#host.connection) > 0) {
      this.#spend(message.size);
    }
    this.#leave();
    return pending ?? NO_PENDING;
  }

  /** Counts a request until its handler has finished. */
  #track(done: Promise<void>, size: number): void {
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
      return this.#host.owner.findHandler(message);
    } catch (error) {
      return this.#rejectInvalid(error, request);
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
    if (this.#hasListener() && !this.#early) this.#emit(message, pending);
    else if (this.#host.isAccepting) {
      this.#early ??= new EarlyMessages();
      this.#early.push({ message, request }, message.size);
      this.#spend(message.size);
      if (!this.#isConnectPending) this.#endOpeningSoon();
    }
  }

  /** Refuses a request that has no listener: it would never get a reply. */
  #refuseUnhandled(
    message: MessageFrom<Types, C>,
    request: IncomingRequest,
  ): void {
    const isHeard = isMessageHeard(this.#host.connection, message) ||
      this.#host.owner.isMessageHeard(message);
    if (!isHeard) request.refuse(UNHANDLED_FAILURE);
  }

  /**
   * Whether a message would be heard. The listeners of a server are not early: they hear
   * each message when it arrives, even while listeners of the connection are added.
   */
  #hasListener(): boolean {
    const connection = this.#host.connection;
    return emitters.isHeard(connection, "message") ||
      emitters.hasTyped(connection) ||
      (!this.#host.closing.isServer && this.#host.owner.hasListener("message"));
  }

  #emit(
    message: MessageFrom<Types, C>,
    pending?: Promise<unknown>[],
  ): void {
    if (!this.#host.closing.isServer) {
      this.#host.owner.received(message, pending);
    }
    emitMessage(this.#host.connection, message, pending);
  }

  #leave(): void {
    if (--this.#depth === 0 && this.#host.closing.isEnded) {
      this.#host.notifyEnd();
    }
  }

  #deliverEarly(): void {
    const early = this.#early;
    if (early === undefined) return;
    this.#depth++;
    while (early === this.#early && this.#hasListener()) {
      const inbound = early.shift();
      if (inbound === undefined) {
        this.#early = undefined;
        break;
      }
      this.#emit(inbound.message);
    }
    const dropped = early.takeDropped();
    if (dropped > 0) {
      this.reportError(
        new RangeError(
          `Cannot deliver the first ${dropped} messages as too many arrived before there was a listener: add one before you await`,
        ),
        "message",
      );
    }
    this.#leave();
  }

  /** Drops early messages, after those who were just called back could add a listener. */
  #endOpeningSoon(): void {
    this.#earlyTimer ??= setTimeout(() => {
      this.#isOpening = false;
      const early = this.#early;
      this.#early = undefined;
      if (this.#host.closing.isEnded) return this.#host.notifyEnd();
      for (let next = early?.shift(); next; next = early?.shift()) {
        if (next.request) this.#refuseUnhandled(next.message, next.request);
      }
    }, 0);
  }

  /** Counts memory against the budget. That may end this connection or another. */
  #spend(size: number): void {
    this.#host.options.budget?.spend(size * 2 + MESSAGE_COST);
  }
}
