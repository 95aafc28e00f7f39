/**
 * The client: {@linkcode ClientSocket}. It needs only a global `WebSocket`, so it also
 * runs in browsers, Node and Bun.
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

import { assertTarget } from "./core/client/client_arguments.ts";
import { withResolvers } from "./core/util/deferred.ts";
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
  coreOf,
} from "./core/connection/connection.ts";
import { ErrorLog } from "./core/events/error_log.ts";
import { emitEnd } from "./core/events/emit_end.ts";
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
import type { AttemptResult } from "./core/client/attempt_result.ts";
import { Connector, displayUrl } from "./core/client/connector.ts";
import { DeferredEvents } from "./core/client/deferred_events.ts";
import { PageChecks } from "./core/client/page_checks.ts";
import { register } from "./core/events/instrumentation.ts";
import { parseRetryAfter } from "./core/protocol/retry_after.ts";
import type { StandardSchema } from "./core/values/schema.ts";
import type { Outgoing, Reply, SocketTypes } from "./core/values/types.ts";
import {
  type ClientState,
  ConnectEvent,
  DrainEvent,
  FailureEvent,
  GiveUpEvent,
  type GiveUpReason,
  ReconnectingEvent,
  RecoveryEvent,
  StateEvent,
} from "./core/events/event_types.ts";
import {
  assertCloseFrame,
  assertSize,
  CloseCode,
  ConnectError,
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
export {
  ConnectError,
  type ConnectErrorDetails,
  type ConnectErrorKind,
} from "./core/events/errors.ts";
export {
  type ClientState,
  GiveUpEvent,
  type GiveUpReason,
  ReconnectingEvent,
  RecoveryEvent,
  StateEvent,
} from "./core/events/event_types.ts";

let clientHooks: EmitterHooks;

/**
 * A WebSocket client. It has at most one {@linkcode Connection} at a time, and can
 * reconnect automatically.
 *
 * A subclass may override `onConnect`, `onMessage`, `onClose` and `onDisconnect`. They
 * are called before all listeners.
 *
 * @typeParam Types The types of the data that the client sends and receives.
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
  extends Endpoint<Types, ClientEvents<Types>> {
  readonly #options: ConnectionOptions<Types>;
  readonly #errorLog = new ErrorLog();
  /** Messages that wait for a connection. */
  readonly #queue: SendQueue;
  readonly #connector: Connector<Types>;
  readonly #reconnector: Reconnector;
  readonly #deferredEvents = new DeferredEvents();
  readonly #pageChecks = new PageChecks();
  readonly #signal: AbortSignal | undefined;
  #state: ClientState = "idle";
  #connection: Connection<Types> | undefined;
  /** Whether the application has closed the client. */
  #isClosing = false;
  /** Whether `connect` has been called. */
  #hasTarget = false;
  /** Whether `connect` listeners are being called. */
  #isOpening = false;
  #openedAt = 0;
  #disconnection: Disconnection | undefined;
  /** Delivers messages that came before the first listener. */
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
        state: true,
        error: true,
      }),
      failed: (client: ClientSocket, error, from) =>
        client.#reportError(error, from),
      // Early messages are delivered to the first listener.
      added: (client: ClientSocket, type) => {
        if (type.startsWith("message")) client.#flush?.();
      },
      override: (client: ClientSocket, type) =>
        endpoints.overrideOf(client, type),
      outrun: (client: ClientSocket) => {
        if (client.#connection) coreOf(client.#connection).outrun();
      },
    };
  }

  /**
   * Creates a client. It does not connect yet.
   *
   * @param options The options.
   * @throws {RangeError} If a number is negative or `NaN`, or `overflow` is not a valid
   * policy.
   * @throws {TypeError} If an option has the wrong type or does not exist, or the schema
   * or codec is invalid.
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
        createError: (reason, details) =>
          this.#connector.createError(reason, details),
        waiting: (...args) =>
          this.#deferredEvents.run(() => {
            this.#updateState();
            this.#emit("reconnecting", ReconnectingEvent, args);
          }),
        gaveUp: (...args) => this.#gaveUp(...args),
        changed: () => this.#updateState(),
        failed: (error, failure) =>
          this.#reportError(
            error,
            failure instanceof ConnectError ? "reconnecting" : failure.type,
          ),
      },
    );
    const { signal } = resolved;
    this.#signal = signal;
    if (signal?.aborted) this.#abort(signal.reason);
    signal?.addEventListener("abort", () => this.#abort(signal.reason));
  }

  /**
   * The state: `idle`, `connecting`, `open`, `waiting`, `closing` or `closed`. The event
   * `state` reports changes.
   *
   * @example A status light
   * ```ts
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket({ reconnect: true });
   * client.on("state", (state) => console.log(state === "open" ? "on" : "off"));
   * ```
   */
  get state(): ClientState {
    return this.#state;
  }

  /** The open connection, if there is one. */
  get connection(): Connection<Types> | undefined {
    return this.#connection;
  }

  /** How the last connection ended; undefined before the first end. */
  get disconnection(): Disconnection | undefined {
    return this.#disconnection;
  }

  /** The number of bytes that wait to be sent, with or without a connection. */
  get bufferedAmount(): number {
    return this.#queue.size + (this.#connection?.bufferedAmount ?? 0);
  }

  /**
   * The number of messages sent without a connection that were dropped under their
   * `overflow` policy. Messages that a connection drops are counted by the connection.
   */
  get droppedOffline(): number {
    return this.#queue.dropped;
  }

  /**
   * Connects to a server, and emits `connect`. Messages that arrive before a listener
   * that is added directly after `await connect()` are held for it.
   *
   * With the option `reconnect`, failed attempts are repeated until the client is
   * connected or a limit of that option is reached, and lost connections are
   * reestablished.
   *
   * After the first `reconnecting` event, the result is also reported by events, and an
   * unawaited rejection is not reported as unhandled.
   *
   * @param url The URL, with the scheme `ws:`, `wss:`, `http:` or `https:`; or a function
   * that returns it, called for each handshake.
   * @param options The options.
   * @returns A promise that resolves when the connection is open.
   * @throws {ConnectError} (rejects) If the connection cannot be established. Its `cause`
   * is the error of the runtime, if any, or of a function that returns the URL, the
   * subprotocols or the headers.
   * @throws {DOMException} (rejects) With the name `SyntaxError` if the URL or a
   * subprotocol is invalid, or with the reason of the signal.
   * @throws {TypeError} (rejects) If there are headers, and the runtime does not support
   * them.
   * @throws {Error} (rejects) If the client is already connected or connecting.
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
   * @example Reconnect with a fresh token for each attempt
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
    const { promise, resolve, reject } = withResolvers<void>();
    try {
      assertTarget(url, options);
      assertConnectOptions(options);
      if (this.#signal?.aborted) {
        return ignoreRejection(Promise.reject(this.#signal.reason));
      }
      const attempts = this.#startConnecting(url, options.signal);
      this.#reconnector.run(attempts).then(
        resolve,
        (error) => {
          // Already reported by `giveup`, or caused by closing the client.
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

  /** Starts to connect. */
  #startConnecting(
    url: ValueOrFunction<string | URL>,
    signal: AbortSignal | undefined,
  ): ConnectAttempts {
    this.#deferredEvents.flush();
    const { attempts } = this.#reconnector;
    if (attempts || (this.#connection && !this.#isClosing)) {
      const target = displayUrl(this.#connection?.url ?? this.#connector.url);
      const state = attempts ? "connecting" : "connected";
      throw new Error(
        `Cannot connect to ${
          displayUrl(url)
        } as this client is ${state} to ${target}: close it first`,
      );
    }
    signal?.throwIfAborted();
    this.#connector.url = url;
    this.#hasTarget = true;
    const started = this.#reconnector.start(signal);
    this.#updateState();
    return started;
  }

  /**
   * Connects now. A delay before the next attempt ends at once, and all attempts are left
   * again; a connection that is open is replaced by a new one; and a client that was
   * closed or gave up connects to the same URL again. Messages that wait for a connection
   * go on waiting.
   *
   * @returns A promise that resolves when there is a new connection. It rejects as that
   * of {@linkcode ClientSocket.connect}; an unawaited rejection is not reported as
   * unhandled.
   * @throws {Error} (rejects) If `connect` was never called.
   *
   * @example
   * ```ts
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket({ reconnect: true });
   * client.on("reconnecting", (_attempt, delay) => {
   *   if (confirm(`Offline for ${delay} ms. Try again now?`)) client.reconnect();
   * });
   * ```
   */
  reconnect(): Promise<void> {
    const { attempts } = this.#reconnector;
    if (attempts) {
      this.#reconnector.skipDelay();
      return attempts.outcome;
    }
    if (!this.#hasTarget) {
      return ignoreRejection(
        Promise.reject(
          new Error(
            "Cannot reconnect a client that has not connected yet: call connect() with a URL",
          ),
        ),
      );
    }
    if (!this.#isClosing) this.#connection?.close();
    return ignoreRejection(this.connect(this.#connector.url));
  }

  /**
   * Sends a message to the server. While the client connects or reconnects, messages wait
   * in order for the connection, up to `maxBufferedAmount`. Messages that `connect`
   * listeners send before their first `await` are sent before these, and only on that
   * connection, so that they can authenticate the client.
   *
   * With `reconnect`, a message is sent at most once: if the connection is lost, it may
   * or may not have arrived. An unawaited rejection is not reported as unhandled.
   *
   * @param data The data to send.
   * @param options The options. Without a connection, a message with the policy
   * `terminate` that does not fit is dropped.
   * @returns A promise that resolves as that of {@linkcode Connection.send}. With
   * `reconnect`, it resolves when the message was passed to an open connection with less
   * than `highWaterMark` bytes waiting, or when that connection has ended afterwards.
   * @throws {ConnectionEndedError} (rejects) If the message was not sent because there is
   * no connection and no attempt to connect, or because the client was closed or gave up.
   * @throws {MessageDroppedError} (rejects) If the message was dropped under its
   * `overflow` policy.
   * @throws {TypeError} If the data cannot be serialized.
   * @throws {RangeError} If `overflow` is not a valid policy.
   *
   * @example
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket({ reconnect: true });
   * client.on("connect", (connection) => connection.send({ token: "secret" }));
   * client.connect("ws://localhost:3000");
   * await client.send("sent when connected, after the token");
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = encodeWith(data, this.#options.codec);
    const connection = this.#connection;
    // Messages of `connect` listeners belong to their connection.
    const isTransferable = this.#reconnector.isEnabled && !this.#isOpening;
    const sent = connection &&
      coreOf(connection).send(frame, options, isTransferable);
    if (sent) return sent;
    if (!this.#reconnector.attempts && !this.#mayWait) {
      if (!connection) {
        return ignoreRejection(
          Promise.reject(this.#notConnectedError("await connect() first")),
        );
      }
      // The connection is closing. Whether another one follows is not known yet, or none
      // will.
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
   * Sends a request to the server, as {@linkcode Connection.request} does. While the
   * client connects or reconnects, the request waits for the connection. If the
   * connection is lost before the reply, the request rejects and is not repeated, as it
   * may have been handled.
   *
   * @param data The data of the request.
   * @param options The options. The timeout includes the time without a connection.
   * @returns A promise of the data of the reply, as that of {@linkcode
   * Connection.request}.
   * @throws {TypeError} If the data cannot be serialized.
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
   * Sends a request to the server, and validates the reply.
   *
   * @typeParam Output The output type of the schema.
   * @param data The data of the request.
   * @param options The options, with the schema of the reply.
   * @returns A promise of the output of the schema.
   * @throws {SchemaError} (rejects) If the reply does not match the schema.
   * @throws {TypeError} If the data cannot be serialized.
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
    encodeWith(data, this.#options.codec); // throws at once for invalid data
    return ignoreRejection(this.#requestWhenConnected(data, options));
  }

  /** Sends a request when the client is connected. */
  async #requestWhenConnected(
    data: Outgoing<Types>,
    options: RequestOptions & { schema?: StandardSchema },
  ): Promise<unknown> {
    if (!this.#reconnector.attempts && !this.#mayWait) {
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
   * Closes the connection, as {@linkcode Connection.close} does, and stops connecting or
   * reconnecting. Messages that wait for a connection are rejected. Messages that were
   * passed to the connection are still sent.
   *
   * @param code The close code: 1000, or 3000 to 4999.
   * @param reason The close reason, at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended; at once if there is
   * none.
   * @throws {RangeError} If the code is not allowed, or the reason is too long.
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    assertCloseFrame(code, reason, "client");
    this.#stopConnecting();
    return this.#connection?.close(code, reason) ?? RESOLVED;
  }

  /**
   * Drops the connection, as {@linkcode Connection.terminate} does, and stops connecting
   * or reconnecting.
   */
  terminate(): void {
    this.#stopConnecting();
    this.#connection?.terminate();
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

  /** Whether messages wait though `connect` has not been called. */
  get #mayWait(): boolean {
    return this.#state === "idle" && this.#reconnector.isEnabled;
  }

  /** Stops connecting, as the application has closed the client. */
  #stopConnecting(): void {
    this.#isClosing = true;
    const reason = "the client was closed";
    const { attempts } = this.#reconnector;
    if (attempts) {
      attempts.isCancelled = true;
      const error = this.#connector.createError(reason);
      this.#reconnector.giveUp(attempts, error, "closed");
    } else this.#rejectQueued(reason);
    if (this.#state === "idle") {
      emitters.takeWaiting(this, () => this.#connector.createError(reason))();
    }
    this.#updateState();
  }

  /** Ends the client, as its signal was aborted. */
  #abort(reason: unknown): void {
    const { attempts } = this.#reconnector;
    if (attempts) {
      attempts.isCancelled = true;
      this.#reconnector.giveUp(attempts, reason, "aborted");
    }
    this.close();
  }

  /** Emits `state` if it has changed. */
  #updateState(): void {
    const previous = this.#state;
    const state = this.#currentState();
    if (state === previous) return;
    this.#state = state;
    if (state === "open") this.#pageChecks.start(this.#probe);
    else this.#pageChecks.stop();
    this.#emit("state", StateEvent, [state, previous]);
  }

  readonly #probe = (timeout: number): void => {
    if (this.#connection) coreOf(this.#connection).closing.probe(timeout);
  };

  #currentState(): ClientState {
    if (this.#reconnector.attempts) {
      return this.#reconnector.isWaiting ? "waiting" : "connecting";
    }
    if (this.#connection) return this.#isClosing ? "closing" : "open";
    return this.#hasTarget || this.#isClosing ? "closed" : "idle";
  }

  /** Handles the final failure of attempts to connect. */
  #gaveUp(
    attempts: ConnectAttempts,
    error: unknown,
    cause: GiveUpReason,
  ): void {
    const reason = error instanceof Error
      ? error
      : this.#connector.createError("given up", { cause: error });
    this.#rejectQueued(reason.message);
    const emit = () => {
      this.#updateState();
      if (!attempts.notifyOnFail) return;
      this.#emit("giveup", GiveUpEvent, [error, cause]);
    };
    // Whatever waits for the end of a connection that is closing gets it.
    const cleanup = this.#connection
      ? () => {}
      : emitters.takeWaiting(this, () => reason);
    this.#deferredEvents.defer(emit, cleanup);
  }

  /** Rejects messages that wait for a connection. */
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

  /** Creates the callbacks of one connection. */
  #createOwner(
    attempts: ConnectAttempts,
    result: AttemptResult,
  ): ConnectionOwner<Types> {
    let own: Connection<Types> | undefined;
    /** Whether a listener has closed the client before the connection was in use. */
    let isDiscarded = false;
    return {
      rooms: undefined,
      beforeClose: () => {
        // It may be a cancelled attempt, or an earlier connection.
        if (own && own === this.#connection) {
          this.#isClosing = true;
          this.#updateState();
        }
        return "local";
      },
      isHosted: () => false,
      hasListener: (type) =>
        emitters.isHeard(this, type) ||
        (type === "message" && emitters.hasTyped(this)),
      isMessageHeard: (message) => isMessageHeard(this, message),
      opened: (connection, flush) => {
        // The one before may still be closing.
        this.#connection?.terminate();
        if (attempts.signal.aborted) {
          isDiscarded = true;
          connection.terminate();
          return [];
        }
        result.opened();
        this.#reconnector.finish(attempts);
        this.#connection = own = connection;
        this.#flush = flush;
        this.#isClosing = false;
        this.#openedAt = performance.now();
        this.#updateState();
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
      ended: (connection, end) => {
        if (!isDiscarded) this.#ended(connection, end);
      },
      endDeferred: () => {},
      refused: ({ url }, cause, end) => result.refused(url, cause, end),
      failed: (error, from) => this.#reportError(error, from),
    };
  }

  /** Passes messages that waited to a connection. */
  #sendQueued(connection: Connection<Types>): void {
    const queued = this.#queue.takeAll();
    for (const entry of queued) {
      if (!coreOf(connection).adopt(entry)) this.#enqueue(entry);
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

  /** Emits the events of an end, and reconnects if enabled. */
  #emitEnd(connection: Connection<Types>, end: Disconnection): void {
    const { type, code, reason } = end;
    const emit = () => {
      this.#updateState();
      emitEnd(this, connection, end);
    };
    // The application has closed the client, and is connecting it again.
    if (this.#reconnector.attempts) return emit();
    const uptime = performance.now() - this.#openedAt;
    const attempts = this.#isClosing
      ? undefined
      : this.#reconnector.prepare(end, uptime);
    if (attempts) {
      emit();
      // The connection has not emitted its own events yet.
      queueMicrotask(() => {
        if (this.#reconnector.attempts === attempts) {
          ignoreRejection(this.#reconnector.run(attempts, end));
        }
      });
      return;
    }
    // `shouldReconnect` has done so.
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
