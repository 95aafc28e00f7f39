/**
 * Processes all but plain messages: requests, and all messages of a socket with a schema,
 * a codec, a limit of `concurrency` or hooks.
 *
 * @module
 */

import { Message } from "../../message.ts";
import type { Payload } from "../protocol/frames.ts";
import type { RequestHandler } from "../requests/handlers.ts";
import {
  IncomingRequest,
  type Responder,
} from "../requests/incoming_request.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { creditCost } from "../sending/credit_window.ts";
import { sizeOf } from "../values/codec.ts";
import type { Incoming, Outgoing, SocketTypes } from "../values/types.ts";
import { concurrencyFeature } from "./concurrency_feature.ts";
import type { ConcurrencyLimiter } from "./concurrency_limiter.ts";
import { LatestInbox } from "./latest_inbox.ts";
import type { ConnectionHost } from "./connection_host.ts";
import {
  internalError,
  type InvalidMessage,
  rejectInvalid,
  schemaFeature,
  undecodable,
  type ValidMessage,
} from "./invalid_messages.ts";
import type { InboundGate } from "./inbound_gate.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";
import type {
  ChannelTask,
  Processor,
  ProcessorHost,
} from "./processor_feature.ts";
import { MAX_RUNNING_MEMORY, RunningMessages } from "./running_messages.ts";

/** A received message, and its request if it is one. */
interface InboundMessage<M> {
  readonly message: M;
  readonly request: IncomingRequest | undefined;
}

/** A frame of a channel. */
interface InboundTask {
  readonly task: ChannelTask;
  readonly size: number;
}

/** A message or a frame of a channel, its size, and its cost in credit. */
interface Inbound<M> {
  readonly inbound: InboundMessage<M> | InboundTask;
  readonly size: number;
  readonly cost: number;
}

/** Processes the messages of one connection. */
export class MessageProcessor<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> implements Processor<C> {
  readonly #host: ConnectionHost<Types, C>;
  readonly #dispatcher: ProcessorHost<Types, C> & Responder;
  /** Holds messages back while others are handled, if the option asks for it. */
  readonly #limiter:
    | ConcurrencyLimiter<InboundMessage<MessageFrom<Types, C>> | InboundTask>
    | undefined;
  /** Runs the hooks of the owner; created with the first message, if there are any. */
  #gate: InboundGate<C> | undefined;
  /** Holds messages while listeners are behind; created for the first with a key. */
  #latest: LatestInbox<Inbound<MessageFrom<Types, C>>> | undefined;
  /** The messages that are being handled, if there is no limiter. */
  #running: RunningMessages | undefined;

  /** Creates the processor of an open connection. */
  constructor(
    host: ConnectionHost<Types, C>,
    dispatcher: ProcessorHost<Types, C> & Responder,
  ) {
    this.#host = host;
    this.#dispatcher = dispatcher;
    const { concurrency } = host.options;
    if (concurrency === Infinity) return;
    const Limiter = concurrencyFeature.require("concurrency");
    this.#limiter = new Limiter(
      concurrency,
      (inbound) => this.#handleInbound(inbound),
      (handled) => {
        dispatcher.session?.grantForHandled(handled);
        if (host.closing.isEnded) host.notifyEnd();
      },
    );
  }

  /** See {@linkcode Processor}. */
  get isWaiting(): boolean {
    return this.#gate?.isBusy === true || this.#limiter?.isEmpty === false ||
      this.#latest?.isEmpty === false;
  }

  /** See {@linkcode Processor}. */
  get gate(): InboundGate<C> | undefined {
    return this.#gate ??= this.#createGate();
  }

  #createGate(): InboundGate<C> | undefined {
    const host = this.#host;
    const dispatcher = this.#dispatcher;
    return host.owner.hooks?.createGate(host.connection, {
      callListeners: (action) => dispatcher.callListeners(action),
      reportError: (error, from) => dispatcher.reportError(error, from),
      idle: () => {
        if (host.closing.isEnded) host.notifyEnd();
      },
    });
  }

  /** See {@linkcode Processor}. */
  get memory(): number {
    return (this.#limiter?.size ?? 0) + (this.#latest?.size ?? 0) +
      (this.#running?.memory ?? 0);
  }

  /** See {@linkcode Processor}. */
  get superseded(): number {
    return (this.#limiter?.superseded ?? 0) + (this.#latest?.superseded ?? 0);
  }

  /** See {@linkcode Processor}. */
  discardWaiting(): number {
    const latest = this.#latest?.takeAll() ?? [];
    const cost = latest.reduce((sum, { cost }) => sum + cost, 0);
    return latest.length + (this.#limiter?.clear(cost) ?? 0) +
      (this.#gate?.clear() ?? 0);
  }

  /** See {@linkcode Processor}. */
  skip(cost: number): boolean {
    this.#limiter?.skip(cost);
    return this.#limiter !== undefined;
  }

  /** See {@linkcode Processor}. */
  accept(
    payload: Payload,
    frame: Payload,
    id?: number,
    trace?: string,
    key?: string,
  ): void {
    const request = id === undefined
      ? undefined
      : new IncomingRequest(id, this.#dispatcher, trace);
    const inbound = this.#parse(payload, request, undefined);
    if (inbound) this.#take(inbound, inbound.message.size, frame, key);
    else this.#dispatcher.creditDropped(frame);
  }

  /** See {@linkcode Processor}. */
  acceptTask(task: ChannelTask, frame: Payload, key?: string): void {
    const size = sizeOf(frame);
    // Keys of channels are other keys than those of messages.
    const id = key === undefined ? undefined : `\0${key}`;
    this.#take({ task, size }, size, frame, id);
  }

  #take(
    inbound: InboundMessage<MessageFrom<Types, C>> | InboundTask,
    size: number,
    frame: Payload,
    key: string | undefined,
  ): void {
    const limiter = this.#limiter;
    let cost = creditCost(frame);
    if (limiter === undefined) {
      if (!this.isFull) this.#dispatcher.session?.countReceived(cost);
      else if (!this.withhold(frame)) return;
    } else if (key !== undefined && limiter.hasRoomForLatest) {
      // Else old messages would wait here for credit that newer ones need.
      limiter.skip(cost);
      cost = 0;
    }
    if (limiter?.isBusy) {
      // Passed messages wait there, so no listener blocks the event loop.
      this.#latest?.flush();
      return this.#pass(inbound, size, cost, key);
    }
    if (key !== undefined) this.#latest ??= this.#createLatest();
    if (this.#latest) this.#latest.add({ inbound, size, cost }, size, key);
    else this.#pass(inbound, size, cost, key);
  }

  #createLatest(): LatestInbox<Inbound<MessageFrom<Types, C>>> {
    return new LatestInbox(
      ({ inbound, size, cost }, key) => this.#pass(inbound, size, cost, key),
      () => {
        if (this.#host.closing.isEnded) this.#host.notifyEnd();
      },
    );
  }

  #pass(
    inbound: InboundMessage<MessageFrom<Types, C>> | InboundTask,
    size: number,
    cost: number,
    key: string | undefined,
  ): void {
    const limiter = this.#limiter;
    if (limiter === undefined) this.#handleInbound(inbound);
    else if (limiter.add(inbound, cost, MESSAGE_COST + size, key)) {
      this.#dispatcher.spend(size);
    } else {
      this.#host.closing.closeForLimit("Too many messages wait to be handled");
    }
  }

  #handleInbound(
    inbound: InboundMessage<MessageFrom<Types, C>> | InboundTask,
  ): readonly Promise<unknown>[] {
    return "task" in inbound
      ? this.#runTask(inbound.task, inbound.size)
      : this.#process(inbound.message, inbound.request);
  }

  /** See {@linkcode Processor}. */
  handleRequest(
    payload: Payload,
    request: IncomingRequest,
    requestId: string,
  ): readonly Promise<unknown>[] {
    const inbound = this.#parse(payload, request, requestId);
    if (!inbound) return [];
    const { message } = inbound;
    const { gate } = this;
    if (!gate) return this.#dispatch(message, request);
    const done = gate.runInTurn(() => this.#runHooks(gate, message, request));
    return done ? [done] : [];
  }

  #runTask(task: ChannelTask, size: number): readonly Promise<unknown>[] {
    const { gate } = this;
    if (!gate) return this.#startTask(task, size, !this.#limiter);
    return this.#tracked(
      gate.enter(() => allOf(this.#startTask(task, size, false))),
      size,
    );
  }

  /** Counts what hooks have not finished with. */
  #tracked(
    done: Promise<unknown> | undefined,
    size: number,
  ): readonly Promise<unknown>[] {
    if (!done) return [];
    const pending = [done];
    if (!this.#limiter) this.track(pending, size);
    return pending;
  }

  #startTask(
    task: ChannelTask,
    size: number,
    isTracked: boolean,
  ): readonly Promise<unknown>[] {
    const pending: Promise<unknown>[] = [];
    this.#dispatcher.callListeners(() => {
      const done = task(pending);
      if (done) pending.push(done);
      if (pending.length > 0 && isTracked) this.track(pending, size);
    });
    return pending;
  }

  /** Makes a message. Returns undefined if it is invalid. */
  #parse(
    payload: Payload,
    request: IncomingRequest | undefined,
    requestId: string | undefined,
  ): InboundMessage<MessageFrom<Types, C>> | undefined {
    const { codec, schema: messageSchema, requestSchema } = this.#host.options;
    const schema = request ? requestSchema : messageSchema;
    const connection = this.#host.connection;
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
          requestId,
        },
      },
    );
    return { message, request };
  }

  /** Reports a message that cannot be read, and rejects it. */
  #reject(
    invalid: InvalidMessage,
    request: IncomingRequest | undefined,
  ): undefined {
    this.#dispatcher.callListeners(() => {
      this.#dispatcher.reportError(invalid.error, "message");
      rejectInvalid(this.#host, invalid, request);
    });
  }

  /**
   * Runs the hooks, then emits a message or calls the handler of a request.
   *
   * @returns A promise for each listener that is still running.
   */
  #process(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
  ): readonly Promise<unknown>[] {
    const { gate } = this;
    if (!gate) {
      const pending = this.#dispatch(message, request);
      if (pending.length > 0 && !this.#limiter) {
        this.track(pending, message.size);
      }
      return pending;
    }
    const start = () => this.#runHooks(gate, message, request);
    return this.#tracked(gate.enter(start), message.size);
  }

  /** Runs the hooks around a message or a request. */
  #runHooks(
    gate: InboundGate<C>,
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
  ): Promise<unknown> | undefined {
    if (request && !this.#isReadable(message, request)) return undefined;
    const kind = request ? "request" : "message";
    return gate.run({ kind, source: message }, {
      deliver: () => allOf(this.#dispatch(message, request)),
      drop: (failure) => {
        if (request) request.refuse(failure);
        else this.#dispatcher.dropped++;
      },
    });
  }

  /** Emits a message or calls the handler of a request. */
  #dispatch(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
  ): readonly Promise<unknown>[] {
    const pending: Promise<unknown>[] = [];
    const dispatcher = this.#dispatcher;
    dispatcher.beginDispatch();
    const handler = request && this.#findHandler(message, request);
    if (handler) {
      const done = this.#handle(handler, message, request);
      if (done) pending.push(done);
    } else if (!request?.isAnswered) {
      dispatcher.emit(message, request, pending);
    } // else it could not be read, and has been refused
    dispatcher.endDispatch(message);
    return pending;
  }

  /** See {@linkcode Processor}. */
  get isFull(): boolean {
    return this.#running?.isFull === true;
  }

  /** See {@linkcode Processor}. A plain peer needs no credit. */
  withhold(frame: Payload): boolean {
    const running = this.#running;
    const { name, session } = this.#dispatcher;
    if (running?.becomesFull()) {
      this.#dispatcher.reportError(
        new RangeError(
          `Cannot give ${name} credit for more messages while ${MAX_RUNNING_MEMORY} bytes of earlier ones are being handled: let listeners and handlers finish, or set "concurrency"`,
        ),
        "message",
      );
    }
    if (!session || running?.withhold(creditCost(frame))) return true;
    if (!this.#host.closing.isServer) return true; // a client trusts its server
    this.#host.closing.closeForLimit("Too many messages are being handled");
    return false;
  }

  /** See {@linkcode Processor}. */
  track(pending: readonly Promise<unknown>[], size: number): void {
    const running = this.#running ??= new RunningMessages();
    running.start(size);
    this.#dispatcher.spend(size);
    Promise.all(pending).then(() => {
      const cost = running.finish(size);
      if (cost > 0) this.#dispatcher.session?.countReceived(cost);
    });
  }

  #handle(
    handler: RequestHandler<MessageFrom<Types, C>>,
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

  /** Decodes a request. A decoding error is not an error of the handler. */
  #isReadable(
    message: MessageFrom<Types, C>,
    request: IncomingRequest,
  ): boolean {
    try {
      const { data: _data } = message;
      return true;
    } catch (error) {
      this.#reject(undecodable(error), request);
      return false;
    }
  }

  /** Finds the handler of a request. */
  #findHandler(
    message: MessageFrom<Types, C>,
    request: IncomingRequest,
  ): RequestHandler<MessageFrom<Types, C>> | undefined {
    if (!this.#isReadable(message, request)) return undefined;
    try {
      return this.#host.owner.findHandler(message);
    } catch (error) {
      return this.#reject(internalError(error), request);
    }
  }
}

/** One promise for several; undefined for none. */
function allOf(
  pending: readonly Promise<unknown>[],
): Promise<unknown> | undefined {
  return pending.length > 0 ? Promise.all(pending) : undefined;
}
