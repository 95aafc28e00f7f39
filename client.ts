/**
 * The client's side: {@linkcode ClientSocket}. It needs nothing but a global
 * `WebSocket`, so it runs in browsers, too.
 *
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * client.on("message", (message) => console.log(message.data));
 * await client.connect("ws://localhost:3000");
 * await client.send({ hello: "server" });
 * ```
 *
 * @module
 */

import { printable } from "./core/util/printable.ts";
import {
  assertSendOptions,
  type QueuedMessage,
  type SendOptions,
  SendQueue,
} from "./core/sending/send_queue.ts";
import { encodeWith } from "./core/values/codec.ts";
import {
  type CheckedRequestOptions,
  type Connection,
  type ConnectionOwner,
  internals,
} from "./core/connection/connection.ts";
import { ErrorLog } from "./core/events/error_log.ts";
import { emitters } from "./core/events/emitter.ts";
import type { EmitterHooks } from "./core/events/emitter_internals.ts";
import { eventNames } from "./core/events/event_names.ts";
import { Endpoint, endpoints } from "./core/connection/endpoint.ts";
import {
  emitMessage,
  isMessageHeard,
} from "./core/connection/typed_messages.ts";
import {
  REQUEST_TIMEOUT_MS,
  type RequestOptions,
} from "./core/requests/session.ts";
import type { ConnectionOptions } from "./core/connection/connection_options.ts";
import { assertOverflow } from "./core/sending/bounded_queue.ts";
import type { ConnectAttempts } from "./core/reconnect/connect_attempts.ts";
import { Reconnector } from "./core/reconnect/reconnector.ts";
import type { Disconnection } from "./core/reconnect/reconnect_options.ts";
import {
  assertConnectOptions,
  type ClientOptions,
  type ConnectOptions,
  resolveClientOptions,
  type ValueOrFunction,
} from "./core/client/client_options.ts";
import type { ClientEvents } from "./core/client/client_events.ts";
import {
  type AttemptResult,
  Connector,
  displayUrl,
} from "./core/client/connector.ts";
import { DeferredEvents } from "./core/client/deferred_events.ts";
import { register } from "./core/events/instrumentation.ts";
import { parseRetryAfter } from "./core/protocol/retry_after.ts";
import type { StandardSchema } from "./core/values/schema.ts";
import type { Outgoing, Reply, SocketTypes } from "./core/values/types.ts";
import {
  ConnectEvent,
  DrainEvent,
  endDetails,
  EndedEvent,
  EndEvent,
  FailureEvent,
  GiveUpEvent,
  ReconnectingEvent,
  RecoveryEvent,
} from "./core/events/event_types.ts";
import {
  assertCloseFrame,
  assertSize,
  CloseCode,
  type ConnectionEnd,
  ConnectionEndedError,
  ignoreRejection,
  RESOLVED,
} from "./core/events/errors.ts";

export * from "./core/public.ts";
export type { BackoffOptions } from "./core/reconnect/backoff.ts";
export {
  type Disconnection,
  isTransient,
  type ReconnectOptions,
} from "./core/reconnect/reconnect_options.ts";
export type {
  ClientOptions,
  ConnectOptions,
  ValueOrFunction,
} from "./core/client/client_options.ts";
export type { ClientEvents } from "./core/client/client_events.ts";
export { ConnectError } from "./core/events/errors.ts";
export {
  GiveUpEvent,
  ReconnectingEvent,
  RecoveryEvent,
} from "./core/events/event_types.ts";

let clientHooks: EmitterHooks;

/**
 * A client. It holds one live {@linkcode Connection} at a time, and comes back by
 * itself if it is told to.
 *
 * A subclass may override `onConnect`, `onMessage`, `onClose` and
 * `onDisconnect`; they are called like listeners that came first.
 *
 * @typeParam Types The types of what comes in and goes out.
 *
 * @example
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * interface Price {
 *   symbol: string;
 *   value: number;
 * }
 *
 * const client = new ClientSocket<{ incoming: Price }>();
 * client.on("message", ({ data }) => console.log(data.symbol, data.value));
 * client.on("close", (code, reason) => console.log("closed", code, reason));
 * client.on("disconnect", (code) => console.log("lost", code));
 * await client.connect("ws://localhost:3000");
 * ```
 */
export class ClientSocket<Types extends SocketTypes = SocketTypes>
  extends Endpoint<Types, ClientEvents<Types>>
  implements AsyncDisposable {
  readonly #options: ConnectionOptions<Types>;
  readonly #errorLog = new ErrorLog();
  /** What waits for a connection. */
  readonly #queue: SendQueue;
  readonly #connector: Connector<Types>;
  readonly #reconnector: Reconnector;
  readonly #deferredEvents = new DeferredEvents();
  #connection: Connection<Types> | undefined;
  /** Whether the program wants the connection to end. */
  #isClosing = false;
  /** Whether `connect` listeners are being called. */
  #isOpening = false;
  #openedAt = 0;
  #disconnection: Disconnection | undefined;
  /** Hands out what came before there was a listener. */
  #flush: (() => void) | undefined;

  static {
    clientHooks = {
      names: eventNames<ClientEvents<SocketTypes>>({
        connect: true,
        message: true,
        close: true,
        disconnect: true,
        end: true,
        drain: true,
        reconnecting: true,
        recovery: true,
        giveup: true,
        error: true,
      }),
      failed: (client: ClientSocket, error, from) =>
        client.#reportError(error, from),
      // Messages that came early go to their first listener.
      added: (client: ClientSocket, type) => {
        if (type.startsWith("message")) client.#flush?.();
      },
      override: (client: ClientSocket, type) =>
        endpoints.overrideOf(client, type),
      outrun: (client: ClientSocket) => {
        if (client.#connection) internals.outrun(client.#connection);
      },
    };
  }

  /**
   * Creates a client. It does not connect yet.
   *
   * @param options What to do unlike the defaults.
   * @throws {RangeError} If a number among the options is negative or none, or
   * `overflow` is no policy.
   * @throws {TypeError} If one is of another type than it should be, or the schema or
   * the codec is none.
   */
  constructor(options: ClientOptions<Types> = {}) {
    super();
    emitters.attach(this, clientHooks);
    const resolved = resolveClientOptions(options);
    this.#options = resolved.connection;
    register(this, this.#options);
    this.#queue = new SendQueue(this.#options.writerLimits);
    this.#connector = new Connector(resolved);
    this.#reconnector = new Reconnector(
      resolved.reconnect,
      resolved.connectTimeout,
      {
        connectOnce: (attempts) =>
          this.#connector.connect(
            attempts.signal,
            (result) => this.#createOwner(attempts, result),
          ),
        createError: (reason, cause) =>
          this.#connector.createError(reason, cause),
        waiting: (...args) =>
          this.#deferredEvents.run(() =>
            this.#emit("reconnecting", ReconnectingEvent, args)
          ),
        gaveUp: (attempts, error) => this.#gaveUp(attempts, error),
        failed: (error, end) => this.#reportError(error, end.type),
      },
    );
  }

  /** The live connection, if there is one. */
  get connection(): Connection<Types> | undefined {
    return this.#connection;
  }

  /** How the last connection ended, if one has. */
  get disconnection(): Disconnection | undefined {
    return this.#disconnection;
  }

  /**
   * How many bytes wait to be sent: for the server to take them, or for there to be a
   * connection.
   */
  get bufferedAmount(): number {
    return this.#queue.size + (this.#connection?.bufferedAmount ?? 0);
  }

  /**
   * How many messages were dropped, as `overflow` says, of those that were sent
   * while there was no connection. What a connection drops, it counts itself.
   */
  get droppedOffline(): number {
    return this.#queue.dropped;
  }

  /**
   * Connects, and emits `connect`. Messages that come before a listener that is
   * added right after this has resolved are kept for it.
   *
   * With the option `reconnect` an attempt that fails is followed by others, until
   * there is a connection, or the limits of that option are reached; and a
   * connection that is lost later is followed by others, too.
   *
   * @param url Where to: `ws:`, `wss:`, `http:` or `https:`; or a function that is
   * asked for it at each attempt.
   * @param options When to give up.
   * @returns A promise that resolves when the connection is open.
   * @throws {ConnectError} (rejects) If the connection cannot be had; its
   * `cause` is what the runtime told, which may be nothing, or what a function has
   * thrown that was asked for the URL, the subprotocols or the headers.
   * @throws {DOMException} (rejects) With the name `SyntaxError` if the URL or a
   * subprotocol is none, or with the reason of the signal.
   * @throws {TypeError} (rejects) If there are headers, and the runtime sends none.
   * @throws {Error} (rejects) If there is a connection already, or on its way.
   * Nobody has to await it once a `reconnecting` was told: then `giveup` tells what
   * comes of it, and it is no unhandled rejection.
   *
   * @example
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket();
   * const signal = AbortSignal.timeout(5_000);
   * await client.connect("ws://localhost:3000", { signal });
   * ```
   *
   * @example A client that stays connected, with a fresh token at each attempt
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket({ reconnect: true });
   * client.on("reconnecting", (attempt, delay) => console.log(attempt, delay));
   * await client.connect(async () => {
   *   const token = await (await fetch("/token")).text();
   *   return `wss://example.com/live?token=${token}`;
   * });
   * ```
   */
  connect(
    url: ValueOrFunction<string | URL>,
    options: ConnectOptions = {},
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    try {
      assertConnectOptions(options);
      const attempts = this.#startConnecting(url, options.signal);
      this.#reconnector.run(attempts).then(
        resolve,
        (error) => {
          // It is known already: by `giveup`, or as the program itself has closed it.
          if (attempts.notifyOnFail || attempts.isCancelled) {
            ignoreRejection(promise);
          }
          reject(error);
        },
      );
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /** Begins the way to a connection. */
  #startConnecting(
    url: ValueOrFunction<string | URL>,
    signal: AbortSignal | undefined,
  ): ConnectAttempts {
    this.#deferredEvents.flush();
    const { attempts } = this.#reconnector;
    if (attempts || this.#connection) {
      const target = displayUrl(this.#connection?.url ?? this.#connector.url);
      const state = attempts ? "on its way" : "connected";
      throw new Error(
        `Cannot connect to ${
          displayUrl(url)
        } as this client is ${state} to ${target}: close it first`,
      );
    }
    signal?.throwIfAborted();
    this.#connector.url = url;
    return this.#reconnector.start(signal);
  }

  /**
   * Sends to the server. While the client is connecting, or on its way back, the
   * message waits for the connection, in order; no more than `maxBufferedAmount`
   * waits. What `connect` listeners send before they await something goes out before
   * that, and by that connection only, so that they can introduce the client.
   *
   * @param data What to send.
   * @param options What to do if it does not fit. Where the client may come back, or
   * has no connection yet, a message sent with `terminate` that does not fit is
   * dropped itself.
   * @returns A promise as of {@linkcode Connection.send}. With `reconnect` it resolves
   * when the message has been handed to a live connection and less than
   * `highWaterMark` waits there, or that connection has ended meanwhile: so the
   * message may not have arrived, and is not sent twice. It rejects only if the
   * message has not been sent and will not be (one of a `connect` listener's also if
   * the connection ends before less than that waits): with a `ConnectionEndedError`
   * if there is no connection and none on its way, or when the client is closed or
   * gives up; with a `MessageDroppedError` as `overflow` says. If nobody awaits it,
   * that is no unhandled rejection.
   * @throws {TypeError} If JSON cannot hold the data.
   * @throws {RangeError} If `overflow` is no policy.
   *
   * @example
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket({ reconnect: true });
   * client.on("connect", (connection) => connection.send({ hello: "ada" }));
   * client.connect("ws://localhost:3000");
   * await client.send("waits for the connection, and comes after the hello");
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = encodeWith(data, this.#options.codec);
    const connection = this.#connection;
    // What introduces the client to a connection is meant for that one.
    const isTransferable = this.#reconnector.isEnabled && !this.#isOpening;
    const sent = connection &&
      internals.send(connection, frame, options, isTransferable);
    if (sent) return sent;
    if (!this.#reconnector.attempts) {
      if (!connection) {
        return ignoreRejection(
          Promise.reject(this.#notConnectedError("await connect() first")),
        );
      }
      // It is about to end. What comes next is not known yet, or nothing will.
      if (!this.#reconnector.isEnabled || this.#isClosing) {
        return connection.send(data);
      }
    }
    assertOverflow(options);
    const { entry, isQueued } = this.#queue.add(frame, options, true, 0);
    if (!isQueued) this.#queue.drop(entry);
    return entry.promise;
  }

  /**
   * Asks the server, as {@linkcode Connection.request} does. While the client is
   * connecting, or on its way back, the request waits for the connection. A connection
   * that is lost takes its requests with it: nobody knows whether they have been
   * handled, so they reject, and are not asked again.
   *
   * @param data What to ask.
   * @param options How long to wait, for a connection and for the answer.
   * @returns A promise of the answer, as of {@linkcode Connection.request}.
   * @throws {TypeError} If JSON cannot hold the data.
   *
   * @example
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket<{ reply: number }>();
   * await client.connect("ws://localhost:3000");
   * const sum = await client.request({ type: "sum", numbers: [1, 2, 3] });
   * console.log(sum.toFixed(2));
   * ```
   */
  request(
    data: Outgoing<Types>,
    options?: RequestOptions,
  ): Promise<Reply<Types>>;
  /**
   * Asks the server, as above, and checks its answer.
   *
   * @param data What to ask.
   * @param options How long to wait, and what checks the answer.
   * @returns A promise of what the schema makes of the answer.
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
    if (this.#connection && (this.#isOpening || !this.#reconnector.attempts)) {
      return this.#connection.request(data, options);
    }
    encodeWith(data, this.#options.codec); // what cannot be sent is told at once
    return ignoreRejection(this.#requestWhenConnected(data, options));
  }

  /** Asks as soon as there is a connection. */
  async #requestWhenConnected(
    data: Outgoing<Types>,
    options: RequestOptions & { schema?: StandardSchema },
  ): Promise<unknown> {
    if (!this.#reconnector.attempts) {
      throw this.#notConnectedError("await connect() first");
    }
    const { timeout = REQUEST_TIMEOUT_MS, signal } = options;
    assertSize("timeout", timeout);
    const start = performance.now();
    const [connection]: ClientEvents<Types>["connect"]["args"] = await emitters
      .waitFor(this, "connect", {
        ...signal && { signal },
        ...timeout < Infinity && { timeout },
      });
    const left = Math.max(0, timeout - (performance.now() - start));
    return await connection.request(data, { ...options, timeout: left });
  }

  /**
   * Closes the connection, as {@linkcode Connection.close} does. While the client
   * is connecting, or on its way back, it gives up. What still waits for a connection
   * is rejected; what a connection has taken still goes out.
   *
   * @param code The close code: 1000, or 3000 to 4999.
   * @param reason A reason for a human reader, of at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended; at once if
   * there is none.
   * @throws {RangeError} If the code may not be sent, or the reason is too long.
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    assertCloseFrame(code, reason, "client");
    this.#stopConnecting();
    return this.#connection?.close(code, reason) ?? RESOLVED;
  }

  /**
   * Ends the connection now, as {@linkcode Connection.terminate} does; else it is
   * like {@linkcode ClientSocket.close}.
   */
  terminate(): void {
    this.#stopConnecting();
    this.#connection?.terminate();
  }

  /** The same as {@linkcode ClientSocket.close} without arguments. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #emit<Type extends keyof ClientEvents<Types> & string>(
    type: Type,
    Event: new (
      type: Type,
      ...args: ClientEvents<Types>[Type]["args"]
    ) => ClientEvents<Types>[Type]["event"],
    args: ClientEvents<Types>[Type]["args"],
    pending?: Promise<unknown>[],
  ): void {
    emitters.emit(this, type, Event, args, pending);
  }

  /** Reports an error as an `error` event. */
  #reportError(error: unknown, from: string): void {
    this.#options.instrumentation?.listenerFailed(error, from);
    if (emitters.isHeard(this, "error")) {
      this.#emit("error", FailureEvent, [error, from, this.#connection]);
    } else this.#errorLog.write(`Unhandled error in "${from}":`, error);
  }

  /** The program wants no connection any more, nor what is on its way to one. */
  #stopConnecting(): void {
    this.#isClosing = true;
    const reason = "the client was closed";
    const { attempts } = this.#reconnector;
    if (!attempts) return this.#rejectQueued(reason);
    attempts.isCancelled = true;
    this.#reconnector.giveUp(attempts, this.#connector.createError(reason));
  }

  /** Attempts to connect have failed for good. */
  #gaveUp(attempts: ConnectAttempts, error: unknown): void {
    const reason = error instanceof Error
      ? error
      : this.#connector.createError("given up", error);
    this.#rejectQueued(reason.message);
    const emit = () => {
      if (attempts.notifyOnFail) this.#emit("giveup", GiveUpEvent, [error]);
    };
    this.#deferredEvents.defer(emit, emitters.takeWaiting(this, () => reason));
  }

  /** Rejects what waits for a connection. */
  #rejectQueued(reason: string): void {
    for (const entry of this.#queue.takeAll()) {
      entry.reject(this.#notConnectedError(reason));
    }
  }

  #notConnectedError(reason: string): ConnectionEndedError {
    return new ConnectionEndedError(
      `Cannot send without a connection: ${reason}`,
      this.#disconnection,
    );
  }

  /** What one connection tells this client. */
  #createOwner(
    attempts: ConnectAttempts,
    result: AttemptResult,
  ): ConnectionOwner<Types> {
    let own: Connection<Types> | undefined;
    return {
      rooms: undefined,
      beforeClose: () => {
        // It may be an attempt that is given up, or a connection of long ago.
        if (own && own === this.#connection) this.#isClosing = true;
        return "local";
      },
      isHosted: () => false,
      hasListener: (type) =>
        emitters.isHeard(this, type) ||
        (type === "message" && emitters.hasTyped(this)),
      isMessageHeard: (message) => isMessageHeard(this, message),
      opened: (connection, flush) => {
        result.opened();
        this.#reconnector.finish(attempts);
        this.#connection = own = connection;
        this.#flush = flush;
        this.#isClosing = false;
        this.#openedAt = performance.now();
        const pending: Promise<unknown>[] = [];
        const { path } = connection;
        this.#isOpening = true;
        this.#emit("connect", ConnectEvent, [connection, path], pending);
        this.#isOpening = false;
        this.#sendQueued(connection);
        result.resolve();
        return pending;
      },
      received: (message, pending) => emitMessage(this, message, pending),
      findHandler: (request) =>
        endpoints.handlerOf<Types, ClientEvents<Types>>(this, request),
      drained: () => this.#emit("drain", DrainEvent, []),
      recovered: (recovered) =>
        this.#emit("recovery", RecoveryEvent, [recovered]),
      superseded: (options) => this.#queue.dropSuperseded(options),
      unsent: (entries) => {
        const later = this.#queue.takeAll();
        for (const entry of [...entries, ...later]) this.#enqueue(entry);
      },
      ended: (connection, end) => this.#ended(connection, end),
      endDeferred: () => {},
      refused: ({ url }, cause) =>
        result.reject(this.#connector.createRefusal(url, cause)),
      failed: (error, from) => this.#reportError(error, from),
    };
  }

  /** Hands what has waited to a connection. */
  #sendQueued(connection: Connection<Types>): void {
    const queued = this.#queue.takeAll();
    for (const entry of queued) {
      if (!internals.adopt(connection, entry)) this.#enqueue(entry);
    }
  }

  #enqueue(entry: QueuedMessage): void {
    if (!this.#queue.enqueue(entry, 0)) this.#queue.drop(entry);
  }

  #ended(connection: Connection<Types>, end: ConnectionEnd): void {
    const disconnection = {
      ...end,
      wasClean: end.type === "close",
      time: new Date(),
      retryAfter: parseRetryAfter(end.reason),
    };
    this.#connection = undefined;
    this.#flush = undefined;
    this.#disconnection = disconnection;
    this.#deferredEvents.run(() => this.#emitEnd(connection, disconnection));
  }

  /** Tells an end, and goes the way back if the program wants to. */
  #emitEnd(connection: Connection<Types>, end: Disconnection): void {
    const { type, code, reason, cause } = end;
    const emit = () => {
      this.#emit(type, EndEvent, [code, reason, cause]);
      this.#emit("end", EndedEvent, [endDetails(end)]);
    };
    const uptime = performance.now() - this.#openedAt;
    const attempts = this.#isClosing
      ? undefined
      : this.#reconnector.prepare(end, uptime);
    if (attempts) {
      emit();
      // The connection itself has not told its end yet.
      queueMicrotask(() => {
        if (this.#reconnector.attempts === attempts) {
          ignoreRejection(this.#reconnector.run(attempts, end));
        }
      });
      return;
    }
    // The program has closed the client just now, and connects it anew.
    if (this.#reconnector.attempts) return emit();
    const description = `${type} with code ${code} and reason "${
      printable(reason)
    }"`;
    const to = displayUrl(connection.url);
    this.#rejectQueued(`the connection to ${to} has ended: ${description}`);
    emitters.stopWaiting(
      this,
      () =>
        new ConnectionEndedError(
          `Cannot wait any longer for an event as the connection to ${to} has ended: ${description}`,
          end,
        ),
      false,
      emit,
    );
  }
}
