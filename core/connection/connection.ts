/**
 * One live WebSocket, the same on both sides.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import { Message } from "../../message.ts";
import {
  assertSendOptions,
  type QueuedMessage,
  type SendOptions,
} from "../sending/send_queue.ts";
import type { ResumePoint } from "../protocol/resume_point.ts";
import {
  decodeWith,
  encodeWith,
  type Frame,
  isLargerThan,
} from "../values/codec.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { eventNames } from "../events/event_names.ts";
import type { EventsOptions } from "../events/subscriptions.ts";
import {
  CONNECTING_STATE,
  type ConnectionSignal,
  type ConnectionState,
  transition,
} from "./close_state.ts";
import {
  assertCloseFrame,
  assertKnown,
  type Cause,
  CloseCode,
  type ConnectionEnd,
  ConnectionEndedError,
  ignoreRejection,
  optionNames,
  RESOLVED,
} from "../events/errors.ts";
import {
  DrainEvent,
  type EndArgs,
  type EndDetails,
  endDetails,
  EndedEvent,
  EndEvent,
  FailureEvent,
  type ReceivedEvent,
} from "../events/event_types.ts";
import { EventsSession, type RequestOptions } from "../requests/session.ts";
import type { TrafficCount, WriterSignal } from "../sending/socket_writer.ts";
import {
  isMarked,
  isPart,
  MAX_BATCH_BYTES,
  type Payload,
  type RequestFailure,
} from "../protocol/frames.ts";
import { creditCost, INITIAL_CREDIT } from "../sending/credit_window.ts";
import type { RequestHandler } from "../requests/handlers.ts";
import { EarlyMessages } from "./early_messages.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { Sender } from "../sending/sender.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import {
  IncomingRequest,
  INTERNAL_FAILURE,
  type Responder,
} from "../requests/incoming_request.ts";
import { randomId } from "../util/random_id.ts";
import { DEFAULT_MESSAGE_RATE, TokenBucket } from "./rate_limiter.ts";
import { assertRoom, type Rooms } from "../rooms/rooms.ts";
import {
  SchemaError,
  type StandardSchema,
  toSchema,
  validate,
} from "../values/schema.ts";
import { IdleTimer } from "./idle_timer.ts";
import { SlicedReceiver } from "./sliced_receiver.ts";
import { isTurnOver } from "../runtime/time_slices.ts";
import {
  destroySocket,
  freeTimers,
  type IdleWatch,
  type RawSocket,
  type SocketDriver,
} from "../runtime/websocket.ts";
import {
  type NegotiatedProtocol,
  parseSelected,
  type ResumeRequest,
} from "../protocol/subprotocol.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import { emitMessage, isMessageHeard } from "./typed_messages.ts";
import { ConcurrencyLimiter } from "./concurrency_limiter.ts";
import type {
  Context,
  Incoming,
  MessageType,
  OfType,
  Outgoing,
  Reply,
  SocketTypes,
} from "../values/types.ts";

/** A message as a socket emits it, by {@linkcode SocketTypes}. */
export type SocketMessage<Types extends SocketTypes> = Message<
  Incoming<Types>,
  Outgoing<Types>,
  Connection<Types>
>;

/**
 * A message of one type: its data is the member of `incoming` that has this `type`.
 *
 * @typeParam Types The types of the sockets.
 * @typeParam Type The type of the message.
 */
export type TypedMessage<Types extends SocketTypes, Type extends string> =
  Message<
    OfType<Incoming<Types>, Type>,
    Outgoing<Types>,
    Connection<Types>
  >;

/**
 * The events for messages of one type, such as `message:chat`, by the union of
 * `data.type`. Each is emitted right after `message`.
 *
 * @typeParam Types The types of the sockets.
 */
export type TypedMessages<Types extends SocketTypes> = {
  [Type in MessageType<Types> as `message:${Type}`]: {
    args: [message: TypedMessage<Types, Type>];
    event: ReceivedEvent<TypedMessage<Types, Type>>;
  };
};

/**
 * The events of a `Connection`.
 *
 * @typeParam Types The types of what comes in and goes out.
 */
export interface ConnectionEvents<Types extends SocketTypes> {
  /** A message has come. */
  message: {
    args: [message: SocketMessage<Types>];
    event: ReceivedEvent<SocketMessage<Types>>;
  };
  /** The connection was closed: the closing handshake is finished. */
  close: {
    args: EndArgs;
    event: EndEvent;
  };
  /** The connection was lost. */
  disconnect: {
    args: EndArgs;
    event: EndEvent;
  };
  /**
   * The connection has ended: emitted once after its `close` or `disconnect`, with
   * `{ type, code, reason, cause, wasClean }`. For listeners that only clean up.
   */
  end: { args: [end: EndDetails]; event: EndedEvent };
  /**
   * So much had waited for the peer that `send` let wait, too; now all is sent,
   * or on its way, and there is room again.
   */
  drain: { args: []; event: DrainEvent };
  /** A listener of this connection threw. */
  error: {
    args: [error: unknown, from: string, client: Connection<Types> | undefined];
    event: FailureEvent<Connection<Types>>;
  };
}

/** What a connection is made of. */
export interface ConnectionInit<Types extends SocketTypes> {
  /** The socket; nobody else may listen to it or send by it. */
  readonly socket: RawSocket;
  /** How this side handles its socket. */
  readonly driver: SocketDriver;
  /** The URL that was asked for; one of HTTP stands for that of its WebSocket. */
  readonly url: string;
  /** Its path, without the query. */
  readonly path: string;
  /** The headers that came with the request. */
  readonly headers: Headers;
  /** Lets go of them where else they are held. */
  readonly releaseHeaders?: () => void;
  /** The peer's address. */
  readonly remoteAddress: string;
  /** What both sides speak; by default what the socket says once it is open. */
  readonly negotiated?: NegotiatedProtocol;
  /** What is common to all connections of one owner. */
  readonly options: ConnectionOptions<Types>;
  /** What `authorize` has returned. */
  readonly context?: unknown;
  /** Where a client stands among what its server keeps; on its side. */
  readonly resumePoint?: ResumePoint;
  /** Notices that the peer is gone, where the runtime does not do so itself. */
  readonly idleWatch?: IdleWatch | undefined;
}

/** Options of {@linkcode Connection.request} that check the answer. */
export interface CheckedRequestOptions<Output> extends RequestOptions {
  /** Checks the answer; the promise gives what this makes of it. */
  readonly schema: StandardSchema<Output>;
}

/**
 * Who owns a connection, and hears of all that happens to it.
 *
 * @typeParam Types The types of the sockets.
 */
export interface ConnectionOwner<Types extends SocketTypes> {
  /** The rooms that connections may join; undefined on a client's side. */
  readonly rooms: Rooms<Connection<Types>> | undefined;
  /**
   * Hears that the program closes the connection, or terminates it.
   *
   * @returns Why it does so.
   */
  beforeClose(): Cause;
  /**
   * Whether a server of another's carries the connection.
   *
   * @returns True if so.
   */
  isHosted(): boolean;
  /**
   * Whether somebody at the owner's listens to an event; with `message`, to messages
   * of any type.
   *
   * @param type The event's name.
   * @returns True if so.
   */
  hasListener(type: "message" | "close" | "disconnect" | "end"): boolean;
  /**
   * Whether somebody at the owner's would hear a message.
   *
   * @param message The message.
   */
  isMessageHeard(message: SocketMessage<Types>): boolean;
  /**
   * Hears that the connection is open.
   *
   * @param connection The connection.
   * @param flush To be called when somebody at the owner's begins to listen to
   * messages.
   * @returns Promises of the listeners that are not done yet; they never reject.
   */
  opened(
    connection: Connection<Types>,
    flush: () => void,
  ): readonly Promise<unknown>[];
  /**
   * Hears of a message.
   *
   * @param message The message.
   * @param pending Takes promises of the listeners that are not done yet; they
   * never reject.
   */
  received(
    message: SocketMessage<Types>,
    pending?: Promise<unknown>[],
  ): void;
  /**
   * Who answers a request.
   *
   * @param request The request.
   * @returns The handler, if there is one for it.
   */
  findHandler(
    request: SocketMessage<Types>,
  ): RequestHandler<SocketMessage<Types>, Outgoing<Types>> | undefined;
  /** Hears that there is room again for what is to be sent. */
  drained(): void;
  /**
   * Hears whether a client that has come back has got all that it has missed.
   *
   * @param recovered Whether it has.
   */
  recovered?(recovered: boolean): void;
  /**
   * Hears that a message was sent, which may be newer than one that waits elsewhere.
   *
   * @param options Those of the message.
   */
  superseded?(options: SendOptions | undefined): void;
  /**
   * Hears of messages that were to be sent by any connection, and were not sent
   * by this one, which has ended: before it hears of the end.
   *
   * @param entries The messages, in order.
   */
  unsent(entries: readonly QueuedMessage[]): void;
  /**
   * Hears of the end.
   *
   * @param connection The connection.
   * @param end How it ended.
   */
  ended(connection: Connection<Types>, end: ConnectionEnd): void;
  /**
   * Hears that the connection, whose end it has been told, still waits for
   * listeners of its own, or no longer does. Closing it ends the wait.
   *
   * @param connection The connection.
   * @param isDeferred Whether it waits.
   */
  endDeferred(connection: Connection<Types>, isDeferred: boolean): void;
  /**
   * Hears that the connection could not be had.
   *
   * @param connection The connection.
   * @param failure What the runtime told, if it told something.
   */
  refused(connection: Connection<Types>, failure: unknown): void;
  /**
   * Hears of an error that nobody who listens to the connection has heard of.
   *
   * @param error The error.
   * @param from The name of the event whose listener threw.
   * @param connection The connection.
   */
  failed(error: unknown, from: string, connection: Connection<Types>): void;
}

/** What the owner of a connection may do with it, and nobody else. */
export interface ConnectionInternals {
  /**
   * Sends for the owner.
   *
   * @param connection The connection.
   * @param frame What to send.
   * @param options What to do if the peer does not keep up.
   * @param isTransferable Whether it may go out by another connection: then the promise
   * resolves even if this one is lost after the message has been handed to it.
   * @returns As `Connection.send`; undefined if it takes nothing any more.
   */
  send<Types extends SocketTypes>(
    connection: Connection<Types>,
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> | undefined;
  /**
   * Sends what has waited for a connection.
   *
   * @param connection The connection.
   * @param entry What to send.
   * @returns Whether the connection takes it.
   */
  adopt<Types extends SocketTypes>(
    connection: Connection<Types>,
    entry: QueuedMessage,
  ): boolean;
  /**
   * Sends what only `events.v1` knows, and what counts as a message.
   *
   * @param connection The connection.
   * @param frame What to send.
   * @param options What to do if the peer does not keep up.
   * @returns As {@linkcode Connection.send}; undefined if nothing was sent.
   */
  sendMarked<Types extends SocketTypes>(
    connection: Connection<Types>,
    frame: Frame,
    options?: SendOptions,
  ): Promise<void> | undefined;
  /**
   * Who is at the other end, if it is a client that can come back.
   *
   * @param connection The connection.
   * @returns The client.
   */
  resumeOf<Types extends SocketTypes>(
    connection: Connection<Types>,
  ): ResumeRequest | undefined;
  /**
   * About how many bytes of memory its queues take, and those of its socket.
   *
   * @param connection The connection.
   * @returns The bytes.
   */
  heldBy<Types extends SocketTypes>(connection: Connection<Types>): number;
  /**
   * Ends a connection whose queues take more memory than all others'. Nothing that has
   * waited is sent or handed out any more.
   *
   * @param connection The connection.
   */
  endLargest<Types extends SocketTypes>(connection: Connection<Types>): void;
  /**
   * Ends a connection whose messages came faster than the owner's loop took them,
   * unless somebody else hears them.
   *
   * @param connection The connection.
   */
  outrun<Types extends SocketTypes>(connection: Connection<Types>): void;
}

/** What the owner of a connection may do with it; no program gets this. */
export let internals: ConnectionInternals;

let connectionHooks: EmitterHooks;

/**
 * One live WebSocket: what a server's listeners call `client`, what
 * `message.author` is, and what `ClientSocket.connection` holds.
 *
 * It is an emitter of its own `message`, `drain`, `close`, `disconnect` and
 * `error`. It ends with one `close` or one `disconnect`, never both, and emits nothing
 * after that.
 *
 * @typeParam Types The types of what comes in and goes out.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("connect", (client) => {
 *   client.on("message", (message) => client.send(message.content));
 *   client.on("close", (code, reason) => console.log("closed", code, reason));
 *   client.on("disconnect", () => console.log("lost", client.remoteAddress));
 * });
 * ```
 */
export class Connection<Types extends SocketTypes = SocketTypes>
  extends Emitter<ConnectionEvents<Types>, TypedMessages<Types>> {
  /** The path that was asked for, without the query. */
  readonly path: string;
  /**
   * The peer's address as `host:port`, ready to print. On the client's side it
   * is the host and port that were asked for.
   */
  readonly remoteAddress: string;
  /**
   * What the server's `authorize` has returned for it; `undefined` where there is
   * none, as on the client's side.
   */
  readonly context: Context<Types>;
  readonly #url: string;
  #headers: Headers | undefined;
  #releaseHeaders: (() => void) | undefined;
  readonly #socket: RawSocket;
  readonly #driver: SocketDriver;
  readonly #owner: ConnectionOwner<Types>;
  readonly #options: ConnectionOptions<Types>;
  readonly #resumePoint: ResumePoint | undefined;
  #negotiated: NegotiatedProtocol | undefined;
  #state: ConnectionState = CONNECTING_STATE;
  #id: string | undefined;
  #connectedAt = 0;
  /** What the runtime said of the last error. */
  #failure: unknown;
  /** Settles what `close` has returned. */
  #closed: PromiseWithResolvers<void> | undefined;
  /** How many dispatches are under way; the end waits for them. */
  #dispatchDepth = 0;
  #isOwnerNotified = false;
  #isEndEmitted = false;
  /** Somebody may still be about to listen: what nobody hears is kept. */
  #isOpening = false;
  /** Some `connect` listeners are not done. */
  #isConnectPending = false;
  #earlyMessages: EarlyMessages<InboundMessage<Types>> | undefined;
  /** Stops keeping what is in the early messages. */
  #earlyTimer: Timer | undefined;
  /** Stops waiting: for the opening, for the peer's answer, or for listeners. */
  #endTimer: Timer | undefined;
  #stopClosing: (() => void) | undefined;
  /** The way out, once something has been sent. */
  #sender: Sender | undefined;
  /** What `events.v1` adds, where it is spoken. */
  #session: EventsSession | undefined;
  /** Hands out what has come in slices, once it was too much for one. */
  #receiver: SlicedReceiver | undefined;
  #responder: Responder | undefined;
  /** Where messages wait for others to be handled, if they have to. */
  #limiter: ConcurrencyLimiter<InboundMessage<Types>> | undefined;
  #rateBucket: TokenBucket | undefined;
  /** Bounds what may be dropped, too. */
  #floodBucket: TokenBucket | undefined;
  #droppedIncoming = 0;
  #receivedMessages = 0;
  #receivedBytes = 0;
  /** What has come since this side began to close, and when to look at the clock. */
  #bytesWhileClosing = 0;
  #nextClockCheck = CLOSING_BYTES_PER_CHECK;
  /** When this side waits no longer for the peer to close. */
  #closeDeadline = Infinity;
  #idleTimer: IdleWatch | IdleTimer | undefined;

  static {
    connectionHooks = {
      names: eventNames<ConnectionEvents<SocketTypes>>({
        message: true,
        drain: true,
        close: true,
        disconnect: true,
        end: true,
        error: true,
      }),
      failed: (connection: Connection, error, from) =>
        connection.#reportError(error, from),
      outrun: (connection: Connection) => connection.#outrun(),
      // Messages that came early go to their first listener.
      added: (connection: Connection, type) => {
        if (connection.#earlyMessages && type.startsWith("message")) {
          connection.#deliverEarlySoon();
        }
      },
    };
    internals = {
      send: (connection, frame, options, isTransferable) =>
        connection.#send(frame, options, isTransferable),
      adopt: (connection, entry) => {
        const sender = connection.#writableSender();
        sender?.adopt(entry);
        return sender !== undefined;
      },
      sendMarked: (connection, frame, options) =>
        connection.#writableSender()?.sendMarked(frame, options),
      resumeOf: (connection) => connection.#negotiated?.resume,
      heldBy: (connection) => {
        const memory = connection.#measureMemory();
        return memory.out + memory.in;
      },
      endLargest: (connection) => {
        const memory = connection.#measureMemory();
        const cause = memory.out < memory.in ? "limit" : "backpressure";
        connection.#discardWaiting();
        connection.#abort({ type: "terminate", cause });
      },
      outrun: (connection) => connection.#outrun(),
    };
  }

  /**
   * Sockets make connections; programs get them from sockets.
   *
   * @param init What it is made of.
   * @param owner Who owns it.
   */
  constructor(init: ConnectionInit<Types>, owner: ConnectionOwner<Types>) {
    super();
    emitters.attach(this, connectionHooks);
    const { socket, driver, url, path, headers, remoteAddress } = init;
    this.#url = url;
    this.path = path;
    this.#headers = headers;
    this.#releaseHeaders = init.releaseHeaders;
    this.remoteAddress = remoteAddress;
    this.#resumePoint = init.resumePoint;
    this.#negotiated = init.negotiated;
    this.#options = init.options;
    // `authorize` returned it, whose type is this; there is no other way here.
    this.context = init.context as Context<Types>;
    this.#socket = socket;
    this.#driver = driver;
    this.#idleTimer = init.idleWatch;
    this.#owner = owner;
    init.options.instrumentation?.connectionCreated(this);
    socket.binaryType = "arraybuffer";
    for (const type of SOCKET_EVENTS) {
      // It opens once, and then the runtime need not remember who has listened to it.
      socket.addEventListener(type, this.#onSocketEvent, {
        once: type === "open",
      });
    }
  }

  /**
   * The headers of the request. All of them are there until the `connect` listeners are
   * done, and the promises that they returned have settled. After that, only those are
   * that the server's option `keepHeaders` names, as headers take memory for as long as
   * the connection lives. Read what you need in `authorize` or in a `connect` listener.
   * On the client's side there are none, because no runtime tells the headers of the
   * response.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket({ keepHeaders: ["User-Agent"] });
   * server.on("connect", ({ headers }) => console.log(headers.get("Accept-Language")));
   * server.on("close", ({ headers }) => console.log(headers.get("User-Agent")));
   * ```
   */
  get headers(): Headers {
    return this.#headers ?? new Headers();
  }

  /** The URL that was asked for. */
  get url(): string {
    return this.#url.replace(/^http/, "ws");
  }

  /** A random name of this connection, of 32 hexadecimal digits. */
  get id(): string {
    return this.#id ??= randomId();
  }

  /** The program's own subprotocol that both sides speak; empty if there is none. */
  get protocol(): string {
    return this.#negotiated?.protocol ?? "";
  }

  /**
   * Whether both sides speak `events.v1`: then there are requests, and messages that
   * are sent together travel together.
   */
  get speaksEvents(): boolean {
    return this.#negotiated?.isEvents ?? false;
  }

  /** When the connection was opened. */
  get connectedAt(): Date {
    return new Date(this.#connectedAt);
  }

  /**
   * The state, as in `WebSocket.readyState`: 0 connecting, 1 open, 2 closing (as
   * soon as `close` has been called), 3 ended.
   */
  get readyState(): 0 | 1 | 2 | 3 {
    return READY_STATE[this.#state.phase];
  }

  /** How many bytes wait for the peer; 0 if the connection is not open. */
  get bufferedAmount(): number {
    if (this.#state.phase !== "open") return 0;
    return (this.#sender ?? this.#socket).bufferedAmount;
  }

  /**
   * What the connection has carried so far: how many messages have come in, also those
   * that were refused or dropped then; and how many were handed to the socket, what
   * `events.v1` adds among them: answers to pings and requests, and their traces. The
   * size of a text is its `length`, which for ASCII is that of its bytes.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("close", ({ id, traffic: { received, sent } }) => {
   *   console.log(id, received.messages, sent.bytes);
   * });
   * ```
   */
  get traffic(): {
    readonly received: TrafficCount;
    readonly sent: TrafficCount;
  } {
    return {
      received: {
        messages: this.#receivedMessages,
        bytes: this.#receivedBytes,
      },
      sent: this.#sender?.sent ?? NO_TRAFFIC,
    };
  }

  /**
   * How many messages were dropped: of those that came in (as `messageRate` says),
   * of those that were to go out (as `overflow` says), and of replies, those that
   * came when nobody waited for them any more.
   */
  get dropped(): {
    readonly incoming: number;
    readonly outgoing: number;
    readonly replies: number;
  } {
    return {
      incoming: this.#droppedIncoming,
      outgoing: this.#sender?.dropped ?? 0,
      replies: this.#session?.lateReplies ?? 0,
    };
  }

  /**
   * Sends a message: a string as a text frame, bytes and a `Blob` as a binary
   * frame, all else as JSON in a text frame. Messages go out in the order of
   * the calls.
   *
   * @param data What to send.
   * @param options What to do if the peer does not keep up.
   * @returns A promise that resolves when the message has been handed to the
   * socket and less than `highWaterMark` waits for the peer, so that a loop that
   * awaits it cannot outrun the peer. It does not tell that the message has
   * arrived. It rejects with a `ConnectionEndedError` if the connection is not
   * open, or ends while it waits, and with a `MessageDroppedError` if the message
   * is dropped, as `overflow` says; if nobody awaits it, that is no unhandled
   * rejection: the end is told by its event.
   * @throws {TypeError} If JSON cannot hold the data: `undefined`, a function, a
   * symbol, a bigint, a cycle. Then nothing has been sent.
   * @throws {RangeError} If `overflow` is no policy. Neither then.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", async (client) => {
   *   await client.send("text");
   *   await client.send({ status: "Okay", ping: 10.4 });
   *   await client.send(new Uint8Array([1, 2, 3]));
   * });
   * ```
   *
   * @example Only the latest position counts
   * ```ts
   * import type { Connection } from "jsr:@ws/events";
   *
   * function move(client: Connection, player: string, x: number, y: number) {
   *   const key = `position of ${player}`;
   *   client.send({ player, x, y }, { overflow: "latest", key });
   * }
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    return this.#send(this.#encode(data), options, false) ??
      ignoreRejection(Promise.reject(this.#endedError("send")));
  }

  /**
   * Asks the peer, and gives its answer: what a handler there returns, or what is
   * given to `message.reply`. Many may be under way at once; they are answered in any
   * order.
   *
   * @param data What to ask.
   * @param options How long to wait.
   * @returns A promise of the answer. It rejects with a {@linkcode RequestError} if the
   * peer says that there is none; with a `DOMException` named `TimeoutError` when the
   * time is over, or with the signal's reason; with a `ConnectionEndedError` when
   * the connection ends; with a `DOMException` named `NotSupportedError` if the peer
   * does not speak `events.v1`. An answer that comes later is dropped, and counted. If
   * nobody awaits the promise, that is no unhandled rejection.
   * @throws {TypeError} If JSON cannot hold the data.
   * @throws {RangeError} If the timeout is negative or no number.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{ reply: { time: string } }>();
   * server.on("connect", async (client) => {
   *   const { time } = await client.request("What time is it?", { timeout: 2_000 });
   *   console.log(`At ${client.remoteAddress} it is ${time}`);
   * });
   * ```
   */
  request(
    data: Outgoing<Types>,
    options?: RequestOptions,
  ): Promise<Reply<Types>>;
  /**
   * Asks the peer, as above, and checks its answer.
   *
   * @param data What to ask.
   * @param options How long to wait, and what checks the answer.
   * @returns A promise as above of what the schema makes of the answer. It rejects
   * with a {@linkcode SchemaError} if the answer does not fit.
   * @throws {TypeError} If JSON cannot hold the data.
   */
  request<Output>(
    data: Outgoing<Types>,
    options: CheckedRequestOptions<Output>,
  ): Promise<Output>;
  request(
    data: Outgoing<Types>,
    options: RequestOptions & { schema?: StandardSchema } = {},
  ): Promise<unknown> {
    const { instrumentation } = this.#options;
    return instrumentation
      ? instrumentation.traceRequest(
        this,
        data,
        (trace) => this.#request(data, options, trace),
      )
      : this.#request(data, options);
  }

  #request(
    data: Outgoing<Types>,
    options: RequestOptions & { schema?: StandardSchema },
    trace?: string,
  ): Promise<unknown> {
    assertKnown("request()", options, REQUEST_OPTIONS);
    const frame = this.#encode(data);
    const session = this.#session;
    if (this.#state.phase !== "open" || !this.#isWritable()) {
      return ignoreRejection(Promise.reject(this.#endedError("send")));
    }
    if (!session) {
      return ignoreRejection(Promise.reject(
        new DOMException(
          `Cannot request anything of ${this.remoteAddress} as it does not speak events.v1: send it a message, or let it offer that subprotocol`,
          "NotSupportedError",
        ),
      ));
    }
    const schema = options.schema && toSchema(options.schema);
    const answer = session.request(frame, options, trace).then((payload) => {
      const reply = decodeWith(payload, this.#options.codec);
      return schema ? validate(schema, reply, "The answer") : reply;
    });
    return ignoreRejection(answer);
  }

  /**
   * Iterates over the messages, in order, from this call on.
   *
   * @param options When to stop, how many may wait, and whether a lost connection is
   * an error.
   * @returns An iterator of the messages. It ends at the end of the connection;
   * `break` removes all that it holds.
   *
   * @example
   * ```ts
   * import type { Connection } from "jsr:@ws/events";
   *
   * async function echo(client: Connection): Promise<void> {
   *   for await (const message of client.messages({ throwIfLost: true })) {
   *     await client.send(message.content);
   *   }
   *   console.log("closed, and all is said");
   * }
   * ```
   */
  messages(
    options: EventsOptions = {},
  ): AsyncIterableIterator<SocketMessage<Types>, undefined> {
    return emitters.iterate(
      this,
      "message",
      options,
      ([message]: [SocketMessage<Types>]) => message,
    );
  }

  /** A loop was too slow: the peer goes on, though nobody hears it any more. */
  #outrun(): void {
    if (
      emitters.isHeard(this, "message") || this.#owner.hasListener("message")
    ) return;
    const why = "Messages come faster than they are read";
    this.#closeOnViolation(CloseCode.PolicyViolation, why, "limit");
  }

  #encode(data: unknown): Frame {
    return encodeWith(data, this.#options.codec);
  }

  #send(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> | undefined {
    const sent = this.#writableSender()?.send(frame, options, isTransferable);
    if (sent) this.#owner.superseded?.(options);
    return sent;
  }

  /** The way out, as long as it is open. */
  #writableSender(): Sender | undefined {
    if (this.#state.phase !== "open") return undefined;
    if (this.#isWritable()) return this.#sender ??= this.#createSender();
    // In Node it is closing from the peer's close frame to the end of TCP, which
    // may never come.
    this.#onWriterSignal("stuck");
    return undefined;
  }

  #createSender(): Sender {
    return new Sender(
      this.#socket,
      this.#options.writerLimits,
      this.#negotiated ?? { isEvents: false },
      (signal) => this.#onWriterSignal(signal),
      this.#options,
      this.#options.budget,
    );
  }

  /**
   * Closes the connection: what was sent before still goes out, messages that
   * come after are dropped, and both sides get a `close` event with the same
   * code and reason. A peer that does not answer within the socket's
   * `closeTimeout` is cut off, which is a `disconnect`.
   *
   * @param code The close code: 1000, or 3000 to 4999; on a server also 1001 to
   * 1003 and 1007 to 1013.
   * @param reason A reason for a human reader, of at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended. Closing
   * twice is closing once: the first code counts.
   * @throws {RangeError} If the code may not be sent, or the reason is too long
   * (RFC 6455, 5.5.1 and 7.4).
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    assertCloseFrame(code, reason, this.#driver.side);
    const cause = this.#owner.beforeClose();
    this.#discardWaiting();
    this.#limiter?.skip(0); // what it drops gives credit
    if (this.#state.phase === "connecting") this.#socket.close();
    return this.#startClosing(code, reason, cause);
  }

  /** Closes for what the peer has done. */
  #closeOnViolation(code: number, reason: string, cause: Cause): void {
    // What came before is still heard, what came after is not.
    if (this.#receiver?.isDispatching) this.#dropFrames();
    // A client may not send the codes that say so: it adds 3000 to them.
    this.#startClosing(
      this.#isServer ? code : code + 3000,
      reason,
      cause,
    );
  }

  #startClosing(code: number, reason: string, cause: Cause): Promise<void> {
    this.#sender?.flush();
    const isFlushed = this.bufferedAmount === 0;
    const isHosted = this.#owner.isHosted();
    const closing = { code, reason, cause, isFlushed, isHosted };
    if (this.#apply({ type: "close", ...closing })) {
      this.#idleTimer?.stop(); // from now on there is a limit for the answer
      clearTimeout(this.#endTimer);
      const { closeTimeout } = this.#options;
      this.#closeDeadline = performance.now() + closeTimeout;
      this.#endTimer = startTimer(
        () => this.#abort({ type: "timeout" }),
        closeTimeout,
      );
      const close = () => {
        // The runtime may have the peer's close frame already, and tell soon.
        if (!this.#isWritable()) return;
        const sent = () => this.#apply({ type: "sent" });
        this.#stopClosing = this.#driver.close(
          this.#socket,
          code,
          reason,
          sent,
        );
      };
      if (this.#sender) this.#sender.whenEmpty(close);
      else close();
    }
    return this.#isEndEmitted
      ? RESOLVED
      : (this.#closed ??= Promise.withResolvers()).promise;
  }

  /**
   * Ends the connection now, without a closing handshake: a `disconnect`, which
   * is told before this returns, or as soon as all listeners have had the event
   * that is just being dispatched. What was sent but has not left yet is lost. A
   * browser has no way to do so: there the peer may still see a `close` without
   * a code.
   */
  terminate(): void {
    const cause = this.#owner.beforeClose();
    this.#discardWaiting();
    this.#abort({ type: "terminate", cause });
  }

  /**
   * The rooms that the connection is in, in the order in which it joined them; those
   * that it was in at its end when it has ended. Nothing is sent to it there then.
   */
  get rooms(): ReadonlySet<string> {
    return this.#owner.rooms?.roomsOf(this) ?? NO_ROOMS;
  }

  /**
   * Joins a room: from now on it gets what is sent to the room. There need not be
   * anybody in it. Joining twice is joining once; a connection that has ended joins
   * nothing.
   *
   * @param room The room's name.
   * @throws {TypeError} If the name is empty, or no string.
   * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
   * @throws {Error} On a client's side: rooms are the server's.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", (client, path) => client.join(path));
   * server.on("message", ({ author, content }) => {
   *   server.to(author.path).send(content);
   * });
   * ```
   */
  join(room: string): void {
    const rooms = this.#roomsFor("join", room);
    if (this.#state.phase !== "ended") rooms.join(this, room);
  }

  /**
   * Leaves a room, if it is in it.
   *
   * @param room The room's name.
   * @throws {TypeError} If the name is empty, or no string.
   * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
   * @throws {Error} On a client's side: rooms are the server's.
   */
  leave(room: string): void {
    this.#roomsFor("leave", room).leave(this, room);
  }

  #roomsFor(attempt: "join" | "leave", room: string): Rooms<Connection<Types>> {
    assertRoom(attempt, room);
    const { rooms } = this.#owner;
    if (rooms === undefined) {
      throw new Error(
        `Cannot ${attempt} room "${room}" on a client's side: rooms are the server's, so ask it to`,
      );
    }
    return rooms;
  }

  /** What `console.log` shows of it. */
  [Symbol.for("Deno.customInspect")](
    inspect: (value: unknown, options?: unknown) => string,
    options: unknown,
  ): string {
    const { id, remoteAddress, path, readyState } = this;
    return `Connection ${
      inspect({ id, remoteAddress, path, readyState }, options)
    }`;
  }

  /** Turns what a listener threw into an `error` event, here or at the owner's. */
  #emit<Type extends keyof ConnectionEvents<Types> & string>(
    type: Type,
    Event: new (
      type: Type,
      ...args: ConnectionEvents<Types>[Type]["args"]
    ) => ConnectionEvents<Types>[Type]["event"],
    args: ConnectionEvents<Types>[Type]["args"],
  ): void {
    emitters.emit(this, type, Event, args);
  }

  #reportError(error: unknown, from: string): void {
    if (emitters.isHeard(this, "error")) {
      this.#options.instrumentation?.listenerFailed(error, from);
      this.#emit("error", FailureEvent, [error, from, this]);
    } else this.#owner.failed(error, from, this);
  }

  /** The one place where the state changes. Tells whether it did. */
  #apply(signal: ConnectionSignal): boolean {
    const before = this.#state;
    const state = transition(before, signal, this.#driver.side);
    this.#state = state;
    if (state === before) return false;
    if (state.phase === "ended") this.#ended(state.opened, state.end);
    return true;
  }

  /** Whatever the socket dispatches. */
  readonly #onSocketEvent = (
    event: Event | MessageEvent | CloseEvent,
  ): void => {
    if ("data" in event) this.#receive(event.data);
    else if ("wasClean" in event) {
      const { wasClean, code, reason } = event;
      this.#apply({ type: "closed", wasClean, code, reason });
    } else if (event.type === "open") this.#open();
    else {
      const message = "message" in event ? String(event.message) : "";
      this.#failure = "error" in event && event.error || message || undefined;
      this.#apply({ type: "error", message });
    }
  };

  #open(): void {
    if (this.#state.phase !== "connecting") return;
    const { support } = this.#options;
    this.#negotiated ??= parseSelected(this.#socket.protocol, support);
    if (!this.#negotiated) {
      this.#failure = new Error(
        `the server does not speak "${support.codecName}", the codec of this client`,
      );
      return this.#abort({ type: "terminate", cause: "protocol" });
    }
    this.#apply({ type: "open" });
    clearTimeout(this.#endTimer);
    this.#endTimer = undefined;
    this.#connectedAt = Date.now();
    this.#isOpening = true;
    this.#setUp(this.#negotiated.isEvents);
    this.#options.instrumentation?.connectionOpened(this);
    this.#dispatchDepth++;
    const pending = this.#owner.opened(this, () => this.#deliverEarlySoon());
    this.#leaveDispatch();
    if (pending.length === 0) return this.#dropHeaders();
    this.#isConnectPending = true;
    Promise.all(pending).then(() => {
      this.#isConnectPending = false;
      this.#dropHeaders();
      if (this.#earlyMessages) this.#endOpeningSoon();
    });
  }

  #dropHeaders(): void {
    const { keepHeaders = [] } = this.#options;
    const all = this.#headers;
    this.#headers = all && keepHeaders.length > 0
      ? pickHeaders(all, keepHeaders)
      : undefined;
    this.#releaseHeaders?.();
    this.#releaseHeaders = undefined;
  }

  /** Makes what the connection needs for what both sides speak. */
  #setUp(isEvents: boolean): void {
    const { idleTimeout, concurrency } = this.#options;
    if (isEvents) {
      this.#sender = this.#createSender();
      this.#session = this.#createSession();
    }
    if (concurrency < Infinity) {
      this.#limiter = new ConcurrencyLimiter(
        concurrency,
        (inbound) => this.#dispatch(inbound),
        (handled) => {
          this.#session?.grantForHandled(handled);
          if (this.#state.phase === "ended") this.#notifyEnd();
        },
      );
    }
    if (this.#idleTimer && "attach" in this.#idleTimer) {
      this.#idleTimer.attach(
        () => this.#sender?.sent.bytes ?? 0,
        () => this.#abort({ type: "terminate", cause: "limit" }),
      );
    }
    const timeout = idleTimeout(isEvents);
    if (timeout === 0) return;
    const idleTimer = this.#idleTimer = new IdleTimer(timeout);
    idleTimer.start(
      () => this.#abort({ type: "terminate", cause: "timeout" }),
      this.#session && {
        ping: () => this.#session?.ping(),
        pongs: () => this.#session?.pongs ?? 0,
        sent: () => this.#sender?.sent.bytes ?? 0,
        buffered: () => this.#socket.bufferedAmount,
      },
    );
  }

  #createSession(): EventsSession {
    return new EventsSession({
      name: this.remoteAddress,
      send: (frame, options) =>
        this.#writableSender()?.sendWithoutCredit(frame, options),
      sendCredit: (text) => {
        // Also while this side waits to close, as the other may, too.
        if (this.#isWritable()) {
          (this.#sender ??= this.#createSender()).sendCredit(text);
        }
      },
      sendCounted: (frame, options) =>
        this.#writableSender()?.sendMarked(frame, options),
      unpackBatch: (items) => this.#unpack(items),
      hasParts: this.#negotiated?.hasParts ?? false,
      maxFrame: this.#maxFrame,
      frameTooBig: () => this.#closeTooBig(),
      deliver: (payload, frame, id, trace) =>
        this.#accept(payload, frame, id, trace),
      skipMessage: (frame) => this.#skip(frame),
      isWithinLimits: (payload) => this.#isWithinLimits(payload),
      raiseLimit: (limit) => this.#sender?.raiseLimit(limit),
      creditDelay: () => this.#creditDelay(),
      updatePosition: (update) => {
        const resumePoint = this.#resumePoint;
        if (typeof update === "number") resumePoint?.advance(update);
        else {
          const { position, recovered, token } = update;
          resumePoint?.update(position, token);
          if (recovered !== undefined) this.#owner.recovered?.(recovered);
        }
        return resumePoint !== undefined;
      },
      protocolError: (reason) =>
        this.#closeOnViolation(CloseCode.ProtocolError, reason, "protocol"),
    }, this.#options.limits !== undefined);
  }

  #makeReceiver(): SlicedReceiver {
    return new SlicedReceiver({
      isAccepting: () => this.#isAccepting,
      dispatchFrame: (payload, isItem) => {
        const exchange = this.#session;
        if (!exchange) {
          this.#accept(payload, payload, undefined, undefined, true);
        } else if (!isItem && isMarked(payload)) exchange.receive(payload);
        else exchange.receiveItem(payload);
      },
      skip: (payload) => this.#skip(payload),
      caughtUp: () => {
        if (this.#state.phase !== "ended") return;
        this.#stopSession();
        if (this.#dispatchDepth === 0) this.#notifyEnd();
      },
    }, this.#session !== undefined);
  }

  #receive(data: Payload): void {
    if (this.#state.phase === "closing") {
      this.#idleTimer?.reset(); // else it would count as a pong
      return this.#receiveWhileClosing(data, this.#state.closing.cause);
    }
    if (this.#state.phase !== "open") return;
    this.#sender?.noteActivity();
    this.#idleTimer?.reset();
    this.#resumePoint?.noteActivity();
    const session = this.#session;
    let isOurs = session !== undefined && isMarked(data);
    // The limit is for each message, and a batch holds many.
    if (isOurs && isLargerThan(data, this.#maxFrame)) {
      return this.#closeTooBig();
    }
    if (isOurs && isPart(data)) {
      const whole = session?.join(data);
      if (whole === undefined) return;
      data = whole;
      isOurs = isMarked(data);
    }
    if (this.#receiver?.isBusy || this.#hasUsedItsTurn()) this.#postpone(data);
    else if (isOurs) session?.receive(data);
    else this.#accept(data, data);
  }

  /**
   * Whether this turn of the event loop has lasted for longer than a slice. A peer
   * that sends more than there is time to hear has the runtime read on in one turn.
   */
  #hasUsedItsTurn(): boolean {
    return (this.#receivedMessages & CLOCK_CHECK_MASK) === CLOCK_CHECK_MASK &&
      this.#options.limits !== undefined && isTurnOver();
  }

  /** Lets a frame wait for the next slice. */
  #postpone(data: Payload): void {
    const receiver = this.#receiver ??= this.#makeReceiver();
    const items = this.#session?.batchItemsOf(data);
    if (items) this.#options.instrumentation?.batched("receive", items.length);
    if (!this.#session && !this.#isWithinLimits(data)) return this.#count(data);
    const isAllowed = receiver.push(data, items);
    this.#spend(byteCount(data));
    if (isAllowed) return;
    const why = "More messages came than there was credit for";
    this.#closeOnViolation(CloseCode.PolicyViolation, why, "limit");
  }

  /** Takes the items of a batch: what this side limits in slices, else at once. */
  #unpack(items: readonly Payload[]): void {
    this.#options.instrumentation?.batched("receive", items.length);
    if (this.#options.limits !== undefined) {
      const receiver = this.#receiver ??= this.#makeReceiver();
      return receiver.receiveItems(items);
    }
    for (const item of items) {
      if (!this.#isAccepting) return;
      this.#session?.receiveItem(item);
    }
  }

  /**
   * How long a peer has to wait for credit, so that what it may send then is within
   * `messageRate`: it is slowed down instead of being closed.
   */
  #creditDelay(): number {
    const { burst = 0 } = this.#options.limits?.messageRate ?? {};
    const needed = INITIAL_CREDIT + CREDIT_RESERVE;
    if (this.#rateBucket === undefined || burst < needed) return 0;
    return this.#rateBucket.delayFor(needed, performance.now());
  }

  /** Gives credit for a message that is dropped. */
  #skip(frame: Payload): void {
    const cost = creditCost(frame);
    if (this.#limiter) this.#limiter.skip(cost);
    else this.#session?.countReceived(cost);
  }

  /**
   * Takes of what comes while this side waits to close only what the peer has room
   * for. A peer that is closed for what it has sent, and goes on, is cut off: it may
   * keep the runtime so busy that neither a close frame nor a timer gets its turn.
   */
  #receiveWhileClosing(data: Payload, cause: Cause): void {
    this.#bytesWhileClosing += CLOSING_BYTES_PER_FRAME + byteCount(data);
    const isBlamed = cause === "limit" || cause === "protocol";
    if (isBlamed && this.#bytesWhileClosing > MAX_BYTES_WHILE_CLOSING) {
      return this.#abort({ type: "terminate", cause });
    }
    if (this.#bytesWhileClosing > this.#nextClockCheck) {
      this.#nextClockCheck = this.#bytesWhileClosing + CLOSING_BYTES_PER_CHECK;
      if (performance.now() > this.#closeDeadline) {
        return this.#abort({ type: "timeout" });
      }
    }
    this.#session?.receiveWhileClosing(data);
  }

  /** Whether what has come is still handed out: also after the end, what waits. */
  get #isAccepting(): boolean {
    return this.#state.phase === "open" || this.#receiver?.isBusy === true;
  }

  /** Counts what has come, and waits. It may end this connection, or another. */
  #spend(size: number): void {
    this.#options.budget?.spend(size * 2 + MESSAGE_COST);
  }

  /** About how many bytes of memory take what is to go out, and what has come in. */
  #measureMemory(): { readonly out: number; readonly in: number } {
    const inbox = this.#earlyMessages;
    const early = inbox ? inbox.size + inbox.length * MESSAGE_COST : 0;
    const waiting = (this.#receiver?.size ?? 0) + (this.#limiter?.size ?? 0);
    const isEnded = this.#state.phase === "ended";
    const out = isEnded ? 0 : this.#sender?.measureMemory() ?? 0;
    return { out, in: waiting + early + emitters.queuedSize(this) * 2 };
  }

  /** Counts what has come. */
  #count(payload: Payload): void {
    this.#receivedMessages++;
    this.#receivedBytes += byteCount(payload);
  }

  /** How many bytes a marked frame may have. */
  get #maxFrame(): number {
    const { maxPayload = Infinity } = this.#options.limits ?? {};
    return Math.max(maxPayload, MAX_BATCH_BYTES) + MARK_OVERHEAD_BYTES;
  }

  /** Takes a message, or a request. */
  #accept(
    payload: Payload,
    frame: Payload,
    id?: number,
    trace?: string,
    isAdmitted = false,
  ): void {
    if (!this.#isAccepting) return;
    this.#count(payload);
    const limiter = this.#limiter;
    const cost = limiter || this.#session ? creditCost(frame) : 0;
    const inbound = isAdmitted || this.#isWithinLimits(payload)
      ? this.#parse(payload, id, trace)
      : undefined;
    if (!limiter) {
      this.#session?.countReceived(cost);
      if (inbound) this.#dispatch(inbound);
    } else if (!inbound) limiter.skip(cost);
    else if (limiter.add(inbound, cost, MESSAGE_COST + byteCount(payload))) {
      this.#spend(byteCount(payload));
    } else {
      const reason = "Too many messages wait to be handled";
      this.#closeOnViolation(CloseCode.PolicyViolation, reason, "limit");
    }
  }

  /** Makes a message of what has come, if it is fit to be one. */
  #parse(
    payload: Payload,
    id: number | undefined,
    trace: string | undefined,
  ): InboundMessage<Types> | undefined {
    const { codec, schema } = this.#options;
    if (!schema && !codec && id === undefined) {
      return { message: new Message(payload, this), request: undefined };
    }
    const request = id === undefined ? undefined : new IncomingRequest(
      id,
      this.#responder ??= this.#createResponder(),
      trace,
    );
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
          : this.#failToRead(error, request);
      }
    }
    const message: SocketMessage<Types> = new Message(
      payload,
      this,
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
  #failToRead(error: unknown, request: IncomingRequest | undefined): undefined {
    this.#dispatchDepth++;
    this.#reportError(error, "message");
    request?.refuse(INTERNAL_FAILURE);
    this.#leaveDispatch();
  }

  /** Reports a message that is not valid, and closes the connection if that is strict. */
  #rejectInvalid(
    error: unknown,
    request: IncomingRequest | undefined,
  ): undefined {
    this.#dispatchDepth++;
    this.#reportError(error, "message");
    const message = error instanceof SchemaError
      ? error.message
      : "The request could not be read";
    request?.refuse({ message, code: "invalid" });
    if (this.#options.isStrict) {
      const reason = "A message does not fit the schema";
      this.#closeOnViolation(CloseCode.PolicyViolation, reason, "protocol");
    }
    this.#leaveDispatch();
  }

  /**
   * Hands out a message that has come.
   *
   * @returns Promises of those who are not done with it yet, where that matters.
   */
  #dispatch(inbound: InboundMessage<Types>): readonly Promise<unknown>[] {
    const { message, request } = inbound;
    const pending: Promise<unknown>[] | undefined = this.#limiter && [];
    this.#dispatchDepth++;
    const handler = request && this.#findHandler(message, request);
    if (handler) {
      const { instrumentation } = this.#options;
      const run = () => handler(message);
      const done = request.run(
        instrumentation
          ? () =>
            instrumentation.traceHandler(
              this,
              handler.type,
              request.trace,
              run,
            )
          : run,
      );
      if (done) pending?.push(done);
    } else if (request?.isAnswered) {
      // What cannot be read has been refused.
    } else if (!this.#isOpening) {
      if (request) this.#refuseUnhandled(inbound);
      this.#owner.received(message, pending);
      emitMessage(this, message, pending);
    } else {
      const isServer = this.#isServer;
      if (isServer) this.#owner.received(message, pending);
      if (this.#hasMessageListener() && !this.#earlyMessages) {
        this.#emitMessage(message, pending);
      } else if (this.#isAccepting) {
        (this.#earlyMessages ??= new EarlyMessages()).push(
          inbound,
          message.size,
        );
        this.#spend(message.size);
        if (!this.#isConnectPending) this.#endOpeningSoon();
      }
    }
    if (emitters.queuedSize(this) > 0) this.#spend(message.size);
    this.#leaveDispatch();
    return pending ?? NO_PENDING;
  }

  /** Who answers a request. That a codec fails to read it is no fault of theirs. */
  #findHandler(
    message: SocketMessage<Types>,
    request: IncomingRequest,
  ): ReturnType<ConnectionOwner<Types>["findHandler"]> {
    try {
      const { data: _data } = message;
      return this.#owner.findHandler(message);
    } catch (error) {
      return this.#rejectInvalid(error, request);
    }
  }

  #createResponder(): Responder {
    return {
      name: this.remoteAddress,
      encode: (data) => this.#encode(data),
      reply: (id, frame) =>
        this.#session?.reply(id, frame) ??
          ignoreRejection(Promise.reject(this.#endedError("send"))),
      refuse: (id, failure) => this.#session?.refuse(id, failure),
      failed: (error) => this.#reportError(error, "request"),
    };
  }

  /** What nobody hears would never be answered. */
  #refuseUnhandled({ message, request }: InboundMessage<Types>): void {
    const isHeard = isMessageHeard(this, message) ||
      this.#owner.isMessageHeard(message);
    if (!isHeard) request?.refuse(UNHANDLED_FAILURE);
  }

  #closeTooBig(): void {
    const { maxPayload = Infinity } = this.#options.limits ?? {};
    const reason = `A message may have at most ${maxPayload} bytes`;
    this.#closeOnViolation(CloseCode.TooBig, reason, "limit");
  }

  /** Whether a message that has come is within the limits. */
  #isWithinLimits(data: Payload): boolean {
    const { limits } = this.#options;
    if (limits === undefined) return true;
    const { maxPayload, messageRate } = limits;
    if (isLargerThan(data, maxPayload)) {
      this.#closeTooBig();
      return false;
    }
    if (messageRate === undefined) return true;
    const { perSecond, burst, policy } = messageRate;
    this.#rateBucket ??= new TokenBucket(perSecond, burst, performance.now());
    if (
      this.#rateBucket.takeSpare() || this.#rateBucket.take(performance.now())
    ) {
      return true;
    }
    if (policy === "drop") this.#droppedIncoming++;
    if (policy === "close" || this.#isFlood()) {
      const reason = `At most ${perSecond} messages a second may be sent`;
      this.#closeOnViolation(CloseCode.PolicyViolation, reason, "limit");
    }
    return false;
  }

  /** Whether even to drop all that is to be dropped takes more time than it may. */
  #isFlood(): boolean {
    const { perSecond, burst } = DEFAULT_MESSAGE_RATE;
    const now = performance.now();
    this.#floodBucket ??= new TokenBucket(perSecond, burst, now);
    return !this.#floodBucket.take(now);
  }

  /** Does what the way out asks for. */
  #onWriterSignal(signal: WriterSignal): void {
    if (signal === "stuck") {
      if (this.#state.phase !== "open" || this.#endTimer !== undefined) return;
      // A close frame of the runtime's may wait behind what the peer does not take:
      // nothing would ever tell of the end.
      this.#endTimer = startTimer(
        () => this.#abort({ type: "terminate", cause: "timeout" }),
        this.#options.closeTimeout,
      );
      // Deno closes by itself at a missing pong. If the peer has closed, it is
      // further: it answers, and takes the connection for closed already.
      if (this.#socket.readyState === READY_STATE.closing) {
        this.#apply({ type: "stuck" });
      }
    } else if (signal === "drained") {
      if (this.#state.phase !== "open") return; // nobody may send any more
      this.#dispatchDepth++;
      this.#owner.drained();
      this.#emit("drain", DrainEvent, []);
      this.#leaveDispatch();
    } else {
      const isNotReading = signal === "overflow" || this.#sender?.isPeerActive;
      const cause = isNotReading ? "backpressure" : "timeout";
      this.#abort({ type: "terminate", cause });
    }
  }

  /**
   * Whether this is a server's side. Its owner hears messages and the end as soon as they
   * come, even while listeners of the connection itself are still being added.
   */
  get #isServer(): boolean {
    return this.#driver.side === "server";
  }

  /** Whether a message that is handed out would be heard. */
  #hasMessageListener(): boolean {
    return emitters.isHeard(this, "message") || emitters.hasTyped(this) ||
      (!this.#isServer && this.#owner.hasListener("message"));
  }

  /** Lets those hear a message who do not hear of it early. */
  #emitMessage(
    message: SocketMessage<Types>,
    pending?: Promise<unknown>[],
  ): void {
    if (!this.#isServer) this.#owner.received(message, pending);
    emitMessage(this, message, pending);
  }

  /** A dispatch is over. The end that came about in it is told now. */
  #leaveDispatch(): void {
    if (--this.#dispatchDepth === 0 && this.#state.phase === "ended") {
      this.#notifyEnd();
    }
  }

  /** Whoever has just begun to listen first gets what came before, but later. */
  #deliverEarlySoon(): void {
    queueMicrotask(() => {
      const early = this.#earlyMessages;
      if (early === undefined) return;
      this.#dispatchDepth++;
      while (early === this.#earlyMessages && this.#hasMessageListener()) {
        const inbound = early.shift();
        if (inbound === undefined) {
          this.#earlyMessages = undefined;
          break;
        }
        this.#emitMessage(inbound.message);
      }
      const dropped = early.takeDropped();
      if (dropped > 0) {
        this.#reportError(
          new RangeError(
            `Cannot hand out the first ${dropped} messages as too many came before there was a listener: listen before you await`,
          ),
          "message",
        );
      }
      this.#leaveDispatch();
    });
  }

  /** Lets those who have just been called back have a turn to listen. */
  #endOpeningSoon(): void {
    this.#earlyTimer ??= setTimeout(() => {
      this.#isOpening = false;
      const early = this.#earlyMessages;
      this.#earlyMessages = undefined;
      if (this.#state.phase === "ended") return this.#notifyEnd();
      for (let inbound = early?.shift(); inbound; inbound = early?.shift()) {
        if (inbound.request) this.#refuseUnhandled(inbound);
      }
    }, 0);
  }

  /** Who ends a connection wants no more of its messages. */
  #discardWaiting(): void {
    this.#earlyMessages = undefined;
    this.#dropFrames();
    this.#limiter?.clear();
    if (this.#dispatchDepth === 0) this.#notifyEnd();
  }

  #abort(signal: ConnectionSignal): void {
    if (this.#apply(signal)) destroySocket(this.#socket);
  }

  #ended(opened: boolean, end: ConnectionEnd): void {
    for (const type of SOCKET_EVENTS) {
      this.#socket.removeEventListener(type, this.#onSocketEvent);
    }
    freeTimers(this.#socket);
    this.#idleTimer?.stop();
    this.#rejectUnsent(end.type === "close");
    if (opened) this.#options.instrumentation?.connectionEnded(this, end);
    // What it waited for has come; it may have to wait for listeners now.
    clearTimeout(this.#endTimer);
    this.#endTimer = undefined;
    if (!opened) {
      this.#isEndEmitted = true;
      this.#owner.refused(this, this.#failure);
      this.#closed?.resolve();
    } else if (this.#dispatchDepth === 0) this.#notifyEnd();
  }

  /** Nothing goes out any more. What may go out by another connection does. */
  #rejectUnsent(isDelivered: boolean): void {
    // One error for all; and none, with all that it costs, if nobody hears of it.
    let error: Error | undefined;
    const makeError = () => error ??= this.#endedError("send");
    const unsent = this.#sender?.stop(makeError, isDelivered);
    if (!this.#receiver?.isBusy) this.#stopSession();
    if (unsent?.length) this.#owner.unsent(unsent);
  }

  /** What waits to be handed out is not. */
  #dropFrames(): void {
    this.#receiver?.drop();
    if (this.#state.phase === "ended") this.#stopSession();
  }

  /** No answer comes any more. */
  #stopSession(): void {
    this.#session?.stop(() => this.#endedError("hear"));
  }

  /** Tells the end to everybody who is not still to hear what came before it. */
  #notifyEnd(): void {
    const state = this.#state;
    if (state.phase !== "ended" || this.#isEndEmitted) return;
    const isWaiting = this.#limiter && !this.#limiter.isEmpty;
    if (isWaiting || this.#receiver?.isBusy) return this.#awaitHandling();
    const hasEarlyMessages = this.#earlyMessages !== undefined &&
      !this.#canEmitEnd();
    if (
      !this.#isOwnerNotified && (this.#isServer || !hasEarlyMessages)
    ) {
      this.#isOwnerNotified = true;
      this.#dispatchDepth++; // the owner's listeners come first, whatever they do
      this.#owner.ended(this, state.end);
      this.#dispatchDepth--;
    }
    if (!hasEarlyMessages || this.#earlyMessages === undefined) {
      return this.#emitEnd(state.end);
    }
    if (this.#isServer) this.#owner.endDeferred(this, true);
    // If nobody comes to listen, the end is told all the same.
    this.#endTimer ??= startTimer(
      () => this.#discardWaiting(),
      this.#options.closeTimeout,
    );
  }

  /** What has come before the end is still to be handled, but not for ever. */
  #awaitHandling(): void {
    this.#endTimer ??= startTimer(() => {
      this.#dropFrames();
      const count = this.#limiter?.clear() ?? 0;
      if (count > 0) {
        this.#reportError(
          new Error(
            `Cannot hand out the last ${count} messages of ${this.remoteAddress}: the connection has ended, and those before them take too long`,
          ),
          "message",
        );
      }
      this.#discardWaiting(); // its time is over, too
    }, this.#options.closeTimeout);
  }

  /** Whether there is nobody who could still come to listen to what is kept. */
  #canEmitEnd(): boolean {
    const isServer = this.#isServer;
    // A client's own listeners may come right after `connect()` has resolved.
    if (!this.#isConnectPending) return isServer;
    // Those who are busy may be waiting for the end itself.
    const hasListener = (type: "close" | "disconnect" | "end") =>
      emitters.isHeard(this, type) ||
      (!isServer && this.#owner.hasListener(type));
    return hasListener("close") || hasListener("disconnect") ||
      hasListener("end");
  }

  #emitEnd(end: ConnectionEnd): void {
    this.#isEndEmitted = true;
    this.#owner.endDeferred(this, false);
    this.#isOpening = false;
    this.#earlyMessages = undefined;
    clearTimeout(this.#earlyTimer);
    clearTimeout(this.#endTimer);
    this.#stopClosing?.();
    const { type, code, reason, cause } = end;
    emitters.stopWaiting(
      this,
      () => this.#endedError("wait"),
      true,
      () => {
        this.#emit(type, EndEvent, [code, reason, cause]);
        this.#emit("end", EndedEvent, [endDetails(end)]);
      },
    );
    this.#closed?.resolve();
  }

  /**
   * Whether what is handed to the socket goes out. It stops to take anything,
   * without a word, before it tells of the end.
   */
  #isWritable(): boolean {
    return this.#socket.readyState === READY_STATE.open &&
      this.#state.phase !== "ended";
  }

  #endedError(attempt: "send" | "hear" | "wait"): ConnectionEndedError {
    const action = {
      send: `Cannot send to ${this.remoteAddress}`,
      hear: `Cannot wait any longer for a reply from ${this.remoteAddress}`,
      wait: `Cannot wait any longer for an event from ${this.remoteAddress}`,
    }[attempt];
    const state = this.#state;
    if (state.phase !== "ended") {
      const phase = state.phase === "open" ? "closing" : state.phase;
      return new ConnectionEndedError(
        `${action} as the connection is ${phase}`,
      );
    }
    const { type, code, reason } = state.end;
    return new ConnectionEndedError(
      `${action} as the connection has ended: ${type} with code ${code} and reason "${
        printable(reason)
      }"`,
      state.end,
    );
  }
}

/** The longest value of a header that is kept, in characters. */
const MAX_HEADER_LENGTH = 4096;

function pickHeaders(all: Headers, names: readonly string[]): Headers {
  const picked = new Headers();
  for (const name of names) {
    const value = all.get(name);
    if (value !== null && value.length <= MAX_HEADER_LENGTH) {
      picked.set(name, value);
    }
  }
  return picked;
}

/** A message that has come, and the request that it may be. */
interface InboundMessage<Types extends SocketTypes> {
  readonly message: SocketMessage<Types>;
  readonly request: IncomingRequest | undefined;
}

/** What a peer is told whose requests nobody answers. */
const UNHANDLED_FAILURE: RequestFailure = {
  message: "Nobody handles requests",
  code: "unhandled",
};

/** How many bytes marks may add to a message. */
const MARK_OVERHEAD_BYTES = 64;

/** How many frames that need no credit a peer may send beside what it has credit for. */
const CREDIT_RESERVE = 256;

/** After how many messages to look how long this turn has lasted: a power of two. */
const CLOCK_CHECK_MASK = 15;

/** How much may come of a peer that is closed for what it has sent, in bytes. */
const MAX_BYTES_WHILE_CLOSING = 4 * 1024 * 1024;

/** What a frame counts for there, however small it is. */
const CLOSING_BYTES_PER_FRAME = 4 * 1024;

/** How much may come before this side looks at the clock, while it waits to close. */
const CLOSING_BYTES_PER_CHECK = 1024 * 1024;

/** The bytes of a frame; of a text, its length. */
function byteCount(payload: Payload): number {
  return typeof payload === "string" ? payload.length : payload.byteLength;
}

const NO_PENDING: readonly never[] = [];

const NO_TRAFFIC: TrafficCount = { messages: 0, bytes: 0 };

const NO_ROOMS: ReadonlySet<string> = new Set<string>();

/** What a connection listens to. */
const SOCKET_EVENTS = ["open", "message", "error", "close"] as const;

const READY_STATE = { connecting: 0, open: 1, closing: 2, ended: 3 } as const;

const REQUEST_OPTIONS = optionNames<CheckedRequestOptions<unknown>>({
  timeout: true,
  signal: true,
  schema: true,
});
