/**
 * The implementation of {@linkcode Connection}: connects its parts with the socket and
 * with each other.
 *
 * @module
 */

import { emitters } from "../events/emitter.ts";
import {
  assertCloseFrame,
  assertKnown,
  type ConnectionEnd,
  ignoreRejection,
  optionNames,
} from "../events/errors.ts";
import { DrainEvent } from "../events/event_types.ts";
import type {
  NegotiatedProtocol,
  ResumeRequest,
} from "../protocol/subprotocol.ts";
import type { ResumePoint } from "../protocol/resume_point.ts";
import type { Payload } from "../protocol/frames.ts";
import {
  EventsSession,
  type RequestEncoder,
  type RequestOptions,
} from "../requests/session.ts";
import {
  type IdleWatch,
  isLossReportedAsClean,
  type RawSocket,
  type SocketDriver,
  type WatchedConnection,
} from "../runtime/websocket.ts";
import type { QueuedMessage, SendOptions } from "../sending/send_queue.ts";
import type { TrafficCount } from "../sending/socket_buffer.ts";
import { decodeWith, encodeWith, type Frame } from "../values/codec.ts";
import type { StandardSchema } from "../values/schema.ts";
import { schemaFeature } from "./invalid_messages.ts";
import { typeOf } from "../values/type_of.ts";
import type { SocketTypes } from "../values/types.ts";
import { Closing, type ClosingHost } from "./closing.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import { Dispatcher } from "./dispatcher.ts";
import { EndNotifier } from "./end_notifier.ts";
import { IdleTimer } from "./idle_timer.ts";
import { Outbound, type OutboundHost } from "./outbound.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { OwnedConnection, Owner } from "./owner.ts";
import { Receiver } from "./receiver.ts";

/**
 * Options of {@linkcode Connection.request}.
 *
 * @typeParam Output The output type of the schema.
 */
export interface CheckedRequestOptions<Output = unknown>
  extends RequestOptions {
  /**
   * Validates the reply; the promise resolves with the output of the schema. By default it
   * is the schema of the contract, if there is one.
   */
  readonly schema?: StandardSchema<Output>;
}

/** The parameters of a new connection. */
export interface ConnectionInit<Types extends SocketTypes> {
  /** The socket. Nothing else may listen to it or send on it. */
  readonly socket: RawSocket;
  /** How this side handles its socket. */
  readonly driver: SocketDriver;
  /** The requested URL; it may begin with `http`. */
  readonly url: string;
  /** Its path, without the query. */
  readonly path: string;
  /** The headers of the request. */
  readonly headers: Headers;
  /** Called when the `connect` listeners are done. Returns the headers to keep. */
  readonly releaseHeaders?: () => Headers | undefined;
  /** The address of the peer. */
  readonly remoteAddress: string;
  /** The negotiated subprotocol, if it is known already. */
  readonly negotiated?: NegotiatedProtocol;
  /**
   * Interprets the subprotocol of the open socket. Returns an error if the connection has
   * to fail.
   */
  readonly negotiate?: (selected: string) => NegotiatedProtocol | Error;
  /** The options that all connections of the owner share. */
  readonly options: ConnectionOptions<Types>;
  /** The result of `authorize`. */
  readonly context?: unknown;
  /** The position of a client in the history of its server; on clients only. */
  readonly resumePoint?: ResumePoint;
  /** Detects a dead peer, if the runtime does not. */
  readonly idleWatch?: IdleWatch | undefined;
}

/** The events of the socket. */
const SOCKET_EVENTS = ["open", "message", "error", "close"] as const;

const NO_TRAFFIC: TrafficCount = { messages: 0, bytes: 0 };

/** The option of a client, so that its value `false` means nothing here. */
interface RetryOption {
  readonly retry?: boolean;
}

const REQUEST_OPTIONS = optionNames<
  CheckedRequestOptions<unknown> & Required<RetryOption>
>({
  timeout: true,
  signal: true,
  schema: true,
  retry: true,
});

/** The inside of one connection. */
export class ConnectionCore<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> implements
  ConnectionHost<Types, C>,
  ClosingHost,
  OutboundHost,
  WatchedConnection {
  /** The connection. */
  readonly connection: C;
  /** The server or client that owns it. */
  readonly owner: Owner<Types, C>;
  /** The options that all connections of the owner share. */
  readonly options: ConnectionOptions<Types>;
  /** The socket. */
  readonly socket: RawSocket;
  /** How this side handles the socket. */
  readonly driver: SocketDriver;
  /** The state, and the closing handshake. */
  readonly closing: Closing;
  /** The sending side. */
  readonly outbound: Outbound;
  /** The receiving side. */
  readonly receiver: Receiver<Types, C>;
  /** Emits messages. */
  readonly dispatcher: Dispatcher<Types, C>;
  /** The headers of the request, as far as they are kept. */
  headers: Headers | undefined;
  /** When the connection was opened, in milliseconds since the Unix epoch. */
  connectedAt = 0;
  #endNotifier: EndNotifier<Types, C> | undefined;
  #releaseHeaders: (() => Headers | undefined) | undefined;
  #negotiate: ConnectionInit<Types>["negotiate"] | undefined;

  /** Creates the inside of a connection, and listens to its socket. */
  constructor(
    connection: C,
    init: ConnectionInit<Types>,
    owner: Owner<Types, C>,
  ) {
    const { socket, options } = init;
    this.connection = connection;
    this.owner = owner;
    this.socket = socket;
    this.driver = init.driver;
    this.options = options;
    this.headers = init.headers;
    this.#releaseHeaders = init.releaseHeaders;
    this.#negotiate = init.negotiate;
    this.closing = new Closing(this);
    this.closing.idleWatch = init.idleWatch;
    this.outbound = new Outbound(this, init.negotiated);
    this.dispatcher = new Dispatcher(this);
    this.receiver = new Receiver(this, this.dispatcher, init.resumePoint);
    options.instrumentation?.connectionCreated(connection);
    options.frameLog?.(connection, socket);
    socket.binaryType = "arraybuffer";
    for (const type of SOCKET_EVENTS) {
      // After `open`, the runtime need not remember its listener.
      socket.addEventListener(type, this, { once: type === "open" });
    }
  }

  /** Handles an event of the socket: an object as a listener takes no closure. */
  handleEvent(event: Event | MessageEvent | CloseEvent): void {
    if ("data" in event) this.receiver.receive(event.data);
    else if ("wasClean" in event) {
      const { wasClean, code, reason } = event;
      const isProven = !isLossReportedAsClean();
      this.closing.apply({ type: "closed", wasClean, code, reason, isProven });
    } else if (event.type === "open") this.#open();
    else {
      const message = "message" in event ? String(event.message) : "";
      this.closing.failure = "error" in event && event.error || message ||
        undefined;
      this.closing.apply({ type: "error", message });
    }
  }

  /** The number of messages sent, and their bytes. */
  get sent(): TrafficCount {
    return this.outbound.sender?.sent ?? NO_TRAFFIC;
  }

  /** See {@linkcode WatchedConnection}. */
  get sentBytes(): number {
    return this.sent.bytes;
  }

  /** The stream position of the peer, if it is a client that can resume. */
  get resume(): ResumeRequest | undefined {
    return this.outbound.negotiated?.resume;
  }

  /** The approximate memory of all queues, in bytes. */
  get memory(): number {
    return this.#sendMemory + this.receiver.memory;
  }

  /** See {@linkcode ConnectionHost}. */
  get isAccepting(): boolean {
    return this.receiver.isAccepting;
  }

  /** See {@linkcode ClosingHost}. */
  get speaksEvents(): boolean {
    return this.outbound.negotiated?.isEvents ?? false;
  }

  /** See {@linkcode ConnectionHost}. */
  beforeClosing(): boolean {
    this.receiver.dropFollowing();
    this.outbound.sender?.flush();
    return !this.closing.isOpen || this.outbound.bufferedAmount === 0;
  }

  /** See {@linkcode ConnectionHost}. */
  whenSent(action: () => void): void {
    const { sender } = this.outbound;
    if (sender) sender.whenEmpty(action);
    else action();
  }

  /** See {@linkcode ConnectionHost}. */
  drained(): void {
    this.dispatcher.callListeners(() => {
      this.owner.drained();
      emitters.emit(this.connection, "drain", DrainEvent, []);
    });
  }

  /** See {@linkcode ConnectionHost}. */
  ended(opened: boolean, end: ConnectionEnd): void {
    for (const type of SOCKET_EVENTS) {
      this.socket.removeEventListener(type, this);
    }
    this.driver.release?.(this.socket);
    this.#rejectUnsent(end.type === "close");
    if (!opened) return this.#notifier.refuse(end);
    this.options.instrumentation?.connectionEnded(this.connection, end);
    if (!this.dispatcher.isDispatching) this.#notifier.notify();
  }

  /** See {@linkcode ConnectionHost}. */
  notifyEnd(): void {
    this.#notifier.notify();
  }

  /** See {@linkcode WatchedConnection}. */
  pongsFlooded(): void {
    this.closing.terminate("limit");
  }

  /** Sends a message. Returns undefined if the connection is not open. */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> | undefined {
    const sent = this.outbound.writable()?.send(frame, options, isTransferable);
    if (sent) this.owner.superseded?.(options);
    return sent;
  }

  /** Sends a marked frame that needs credit. Returns undefined if it was not sent. */
  sendMarked(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.outbound.writable()?.sendMarked(frame, options);
  }

  /** Sends a message that has waited for a connection. Returns whether it is taken. */
  adopt(entry: QueuedMessage): boolean {
    const sender = this.outbound.writable();
    sender?.adopt(entry);
    return sender !== undefined;
  }

  /** Sends a request. */
  request(
    data: unknown,
    options: CheckedRequestOptions & RetryOption,
    trace?: string,
    encode?: RequestEncoder,
  ): Promise<unknown> {
    assertKnown("request()", options, REQUEST_OPTIONS);
    if (options.retry) {
      throw new TypeError(
        'Cannot use "retry" with a request of one connection: only request() of a ClientSocket sends it on the next connection',
      );
    }
    const { codec, replySchemas } = this.options;
    const frame = encodeWith(data, codec);
    // The contract does not cover requests in channels, which encode them.
    const given = options.schema ??
      (encode ? undefined : replySchemas?.get(typeOf(data) ?? ""));
    const validation = given && schemaFeature.require('the option "schema"');
    const schema = validation?.toSchema(given);
    const sent = this.requestFrame(frame, options, trace, encode);
    const answer = sent.then((payload) => {
      const reply = decodeWith(payload, codec);
      return schema && validation
        ? validation.validate(schema, reply, "The reply")
        : reply;
    });
    return ignoreRejection(answer);
  }

  /** Sends a request that is encoded, and returns the payload of the reply. */
  requestFrame(
    frame: Frame,
    options: RequestOptions,
    trace?: string,
    encode?: RequestEncoder,
  ): Promise<Payload> {
    const { session } = this.receiver;
    if (!this.closing.isOpen || !this.closing.isWritable) {
      return ignoreRejection(Promise.reject(this.closing.error("send")));
    }
    if (!session) {
      return ignoreRejection(Promise.reject(
        new DOMException(
          `Cannot send a request to ${this.connection.remoteAddress} as it does not support events.v1: send a message instead, or let the peer offer that subprotocol`,
          "NotSupportedError",
        ),
      ));
    }
    return session.request(frame, options, trace, encode);
  }

  /** Closes the connection for the application. Resolves when the end was emitted. */
  close(code: number, reason: string): Promise<void> {
    const { closing } = this;
    assertCloseFrame(code, reason, closing.isServer ? "server" : "client");
    const cause = this.owner.beforeClose();
    this.#notifier.discardWaiting();
    this.dispatcher.creditDiscarded();
    if (closing.state.phase === "connecting") this.socket.close();
    closing.start(code, reason, cause);
    return this.#notifier.emitted;
  }

  /** Cuts the connection for the application. */
  terminate(): void {
    const cause = this.owner.beforeClose();
    this.#notifier.discardWaiting();
    this.closing.terminate(cause);
  }

  /** Cuts a connection whose queues take more memory than those of all others. */
  terminateForMemory(): void {
    const isInbound = this.#sendMemory < this.receiver.memory;
    this.#notifier.discardWaiting();
    this.closing.terminate(isInbound ? "limit" : "backpressure");
  }

  /** Closes a connection whose messages are not read, unless somebody else hears them. */
  iteratorOverflowed(): void {
    const isHeard = emitters.isHeard(this.connection, "message") ||
      this.owner.hasListener("message");
    if (isHeard) return;
    this.closing.closeForLimit("Messages come faster than they are read");
  }

  /** Created late, as most connections are open for most of their time. */
  get #notifier(): EndNotifier<Types, C> {
    return this.#endNotifier ??= new EndNotifier(
      this,
      this.dispatcher,
      this.receiver,
    );
  }

  get #sendMemory(): number {
    return this.closing.isEnded
      ? 0
      : this.outbound.sender?.measureMemory() ?? 0;
  }

  #open(): void {
    const { closing, outbound } = this;
    if (closing.state.phase !== "connecting") return;
    // In workerd, it is null if the server selected none.
    const negotiated = this.#negotiate?.(this.socket.protocol || "");
    this.#negotiate = undefined;
    if (negotiated instanceof Error) {
      closing.failure = negotiated;
      return closing.terminate("protocol");
    }
    outbound.negotiated ??= negotiated;
    // The server is about to close the connection, and says why.
    if (outbound.negotiated?.isRefusal) return;
    closing.apply({ type: "open" });
    this.connectedAt = Date.now();
    this.#setUp(outbound.negotiated?.isEvents ?? false);
    this.options.instrumentation?.connectionOpened(this.connection);
    let pending: readonly Promise<unknown>[] = [];
    this.dispatcher.callListeners(() => {
      pending = this.owner.opened(
        this.connection,
        () => this.dispatcher.early.deliverSoon(),
      );
    });
    if (pending.length === 0) return this.#dropHeaders();
    this.dispatcher.early.awaitConnect(pending, () => this.#dropHeaders());
  }

  #dropHeaders(): void {
    this.headers = this.#releaseHeaders?.();
    this.#releaseHeaders = undefined;
  }

  /** Creates what the negotiated subprotocol needs. */
  #setUp(isEvents: boolean): void {
    const { closing, outbound, receiver } = this;
    if (isEvents) {
      outbound.prepare();
      const isBounded = this.options.guard !== undefined;
      receiver.session = new EventsSession(receiver, isBounded);
    }
    const { session } = receiver;
    this.dispatcher.opened(session);
    const { idleWatch } = closing;
    if (idleWatch && "attach" in idleWatch) {
      idleWatch.attach(this);
    }
    const timeout = this.options.idleTimeout(isEvents);
    if (timeout === 0) return;
    const idleTimer = closing.idleWatch = new IdleTimer(timeout);
    idleTimer.start(
      () => closing.terminate("timeout"),
      session && {
        ping: () => session.ping(),
        pongs: () => session.pongs,
        sent: () => this.sentBytes,
        buffered: () => this.socket.bufferedAmount,
      },
    );
  }

  /** Sends nothing more. The owner gets the messages that another connection may send. */
  #rejectUnsent(isDelivered: boolean): void {
    // All messages share one error, which is created only if there is a message.
    let error: Error | undefined;
    const makeError = () => error ??= this.closing.error("send");
    const unsent = this.outbound.sender?.stop(makeError, isDelivered);
    if (!this.receiver.isBusy) this.receiver.stopSession();
    if (unsent?.length) this.owner.unsent(unsent);
  }
}
