/**
 * The inside of a client: its connection, the attempts to get one, and the messages that
 * wait for it. The public methods are in `client.ts`.
 *
 * @module
 */

import { assertTarget } from "./client_arguments.ts";
import { withResolvers } from "../util/deferred.ts";
import { printable } from "../util/printable.ts";
import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import type { Owner } from "../connection/owner.ts";
import type { CheckedRequestOptions } from "../connection/connection.ts";
import { createErrorOutput } from "../events/error_output.ts";
import { emitEnd } from "../events/emit_end.ts";
import { emitError } from "../events/emit_error.ts";
import { emitters } from "../events/emitter.ts";
import { type Endpoint, endpoints } from "../connection/endpoint.ts";
import { emitMessage, isMessageHeard } from "../connection/typed_messages.ts";
import { REQUEST_TIMEOUT_MS } from "../requests/session.ts";
import type {
  ClientRequestOptions,
  ClientRetries,
} from "../retries/retry_feature.ts";
import { assertOverflow } from "../sending/backpressure_queue.ts";
import type { ConnectAttempts } from "../reconnect/connect_attempts.ts";
import { Reconnector } from "../reconnect/reconnector.ts";
import type { Disconnection } from "../reconnect/reconnect_options.ts";
import type { ClientConnection, ClientParts } from "./client_parts.ts";
import type { ConnectOptions, ValueOrFunction } from "./client_options.ts";
import type { ClientEvents } from "./client_events.ts";
import type { AttemptResult } from "./attempt_result.ts";
import { displayUrl } from "./connect_target.ts";
import { DeferredEvents } from "./deferred_events.ts";
import { PageChecks } from "./page_checks.ts";
import { parseRetryAfter } from "../protocol/retry_after.ts";
import type {
  Outgoing,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";
import {
  type ClientState,
  ConnectEvent,
  DrainEvent,
  GiveUpEvent,
  type GiveUpReason,
  ReconnectingEvent,
  RecoveryEvent,
  StateEvent,
} from "../events/event_types.ts";
import {
  assertCloseFrame,
  assertSize,
  CloseCode,
  ConnectError,
  type ConnectionEnd,
  ConnectionEndedError,
  ignoreRejection,
  rejected,
  RESOLVED,
} from "../events/errors.ts";

/** The inside of one client. */
export class ClientCore<
  Types extends SocketTypes,
  C extends ClientConnection<Types>,
> {
  readonly #client: Endpoint<Types, ClientEvents<Types, C>, C>;
  readonly #parts: ClientParts<Types, C>;
  readonly #errorLog = createErrorOutput();
  readonly #reconnector: Reconnector;
  readonly #deferredEvents = new DeferredEvents();
  readonly #pageChecks = new PageChecks();
  /** The state that the last `state` event told. */
  #toldState: ClientState = "idle";
  #connection: C | undefined;
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
  /** The requests that are sent again, once there was one. */
  #retries: ClientRetries<Types, C> | undefined;

  constructor(
    client: Endpoint<Types, ClientEvents<Types, C>, C>,
    parts: ClientParts<Types, C>,
  ) {
    this.#client = client;
    this.#parts = parts;
    this.#reconnector = new Reconnector(
      parts.reconnect,
      parts.connectTimeout,
      {
        connectOnce: (attempts) =>
          this.#parts.connector.connect(
            attempts.signal,
            (result) => this.#createOwner(attempts, result),
          ),
        createError: (reason, details) =>
          this.#parts.connector.createError(reason, details),
        waiting: (...args) =>
          this.#deferredEvents.run(() => {
            this.#emit("reconnecting", ReconnectingEvent, args);
            this.#updateState();
          }),
        gaveUp: (...args) => this.#gaveUp(...args),
        changed: () => this.#updateState(),
        failed: (error, failure) =>
          this.reportError(
            error,
            failure instanceof ConnectError ? "reconnecting" : failure.type,
          ),
      },
    );
    const { signal } = parts;
    if (signal?.aborted) this.#abort(signal.reason);
    signal?.addEventListener("abort", () => this.#abort(signal.reason));
  }

  /** See `ClientSocket.state`. */
  get state(): ClientState {
    if (this.#reconnector.attempts) {
      return this.#reconnector.isWaiting ? "waiting" : "connecting";
    }
    if (this.#connection) return this.#isClosing ? "closing" : "open";
    return this.#hasTarget || this.#isClosing ? "closed" : "idle";
  }

  /** See `ClientSocket.connection`. */
  get connection(): C | undefined {
    return this.#connection;
  }

  /** See `ClientSocket.disconnection`. */
  get disconnection(): Disconnection | undefined {
    return this.#disconnection;
  }

  /** See `ClientSocket.bufferedAmount`. */
  get bufferedAmount(): number {
    return this.#parts.queue.size + (this.#connection?.bufferedAmount ?? 0);
  }

  /** See `ClientSocket.droppedOffline`. */
  get droppedOffline(): number {
    return this.#parts.queue.dropped;
  }

  /** Delivers messages that came before the first listener. */
  deliverEarly(): void {
    this.#flush?.();
  }

  /** The messages of the connection come faster than an iterator reads them. */
  iteratorOverflowed(): void {
    if (this.#connection) this.#parts.iteratorOverflowed?.(this.#connection);
  }

  /** See `ClientSocket.connect`. */
  connect(
    url: ValueOrFunction<string | URL>,
    options: ConnectOptions = {},
  ): Promise<void> {
    const { promise, resolve, reject } = withResolvers<void>();
    try {
      assertTarget(url, options);
      this.#parts.assertConnectOptions(options);
      if (this.#parts.signal?.aborted) {
        return rejected(this.#parts.signal.reason);
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
      const target = displayUrl(
        this.#connection?.url ?? this.#parts.connector.url,
      );
      const state = attempts ? "connecting" : "connected";
      throw new Error(
        `Cannot connect to ${
          displayUrl(url)
        } as this client is ${state} to ${target}: close it first`,
      );
    }
    signal?.throwIfAborted();
    this.#parts.connector.url = url;
    this.#hasTarget = true;
    const started = this.#reconnector.start(signal);
    this.#updateState();
    return started;
  }

  /** See `ClientSocket.reconnect`. */
  reconnect(): Promise<void> {
    const { attempts } = this.#reconnector;
    if (attempts) {
      this.#reconnector.skipDelay();
      return attempts.outcome;
    }
    if (!this.#hasTarget) {
      return rejected(
        new Error(
          "Cannot reconnect a client that has not connected yet: call connect() with a URL",
        ),
      );
    }
    if (!this.#isClosing) this.#connection?.close();
    return ignoreRejection(this.connect(this.#parts.connector.url));
  }

  /** See `ClientSocket.send`. */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = this.#parts.encode(data);
    const connection = this.#connection;
    // Messages of `connect` listeners belong to their connection.
    const isTransferable = this.#reconnector.isEnabled && !this.#isOpening &&
      !options?.volatile;
    const sent = connection &&
      this.#parts.send(connection, frame, options, isTransferable);
    if (sent) return sent;
    if (!this.#reconnector.attempts && !this.#mayWait) {
      if (!connection) {
        return rejected(this.#notConnectedError("await connect() first"));
      }
      // The connection is closing. Whether another one follows is not known yet, or none
      // will.
      if (!this.#reconnector.isEnabled || this.#isClosing) {
        return connection.send(data, options);
      }
    }
    assertOverflow(options);
    if (options?.volatile) return this.#parts.queue.dropVolatile();
    return this.#parts.queue.addTransferable(frame, options);
  }

  /** See `ClientSocket.request`. */
  request<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options: CheckedRequestOptions & ClientRequestOptions = {},
  ): Promise<unknown> {
    if (options.retry) return this.#requestWithRetry(data, options);
    if (this.#connection && (this.#isOpening || !this.#reconnector.attempts)) {
      return this.#connection.request(data, options);
    }
    this.#parts.encode(data); // throws at once for invalid data
    return ignoreRejection(this.#requestWhenConnected(data, options));
  }

  /** Sends a request until it is settled, on this connection and those after it. */
  #requestWithRetry<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options: CheckedRequestOptions & ClientRequestOptions,
  ): Promise<unknown> {
    const hasConnection = this.#connection && !this.#isClosing;
    if (!hasConnection && !this.#reconnector.attempts && !this.#mayWait) {
      return ignoreRejection(
        Promise.reject(this.#notConnectedError("await connect() first")),
      );
    }
    if (!this.#retries) {
      this.#retries = this.#parts.createRetries();
      if (this.#connection && !this.#isOpening) {
        this.#retries.connected(this.#connection);
      }
    }
    return this.#retries.request(data, options);
  }

  /** Sends a request when the client is connected. */
  async #requestWhenConnected<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options: CheckedRequestOptions,
  ): Promise<unknown> {
    if (!this.#reconnector.attempts && !this.#mayWait) {
      throw this.#notConnectedError("await connect() first");
    }
    const { timeout = REQUEST_TIMEOUT_MS, signal } = options;
    assertSize("timeout", timeout);
    const start = performance.now();
    const [connection]: ClientEvents<Types, C>["connect"]["args"] =
      await emitters
        .waitFor(this.#client, "connect", {
          ...signal && { signal },
          ...timeout < Infinity && { timeout },
        });
    const left = Math.max(0, timeout - (performance.now() - start));
    return await connection.request(data, { ...options, timeout: left });
  }

  /** See `ClientSocket.close`. */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    assertCloseFrame(code, reason, "client");
    this.#stopConnecting();
    return this.#connection?.close(code, reason) ?? RESOLVED;
  }

  /** See `ClientSocket.terminate`. */
  terminate(): void {
    this.#stopConnecting();
    this.#connection?.terminate();
  }

  #emit<Type extends keyof ClientEvents<Types, C> & string>(
    type: Type,
    Event: new (
      type: Type,
      ...args: ClientEvents<Types, C>[Type]["args"]
    ) => ClientEvents<Types, C>[Type]["event"],
    args: ClientEvents<Types, C>[Type]["args"],
    pending?: Promise<unknown>[],
  ): void {
    emitters.emit(this.#client, type, Event, args, pending);
  }

  /** Reports an error as an `error` event. */
  reportError(error: unknown, from: string): void {
    emitError(
      this.#client,
      this.#parts.instrumented,
      this.#errorLog,
      error,
      from,
      this.#connection,
    );
  }

  /** Whether messages wait though `connect` has not been called. */
  get #mayWait(): boolean {
    return this.state === "idle" && this.#reconnector.isEnabled;
  }

  /** Stops connecting, as the application has closed the client. */
  #stopConnecting(): void {
    const isIdle = this.state === "idle";
    this.#isClosing = true;
    const reason = "the client was closed";
    const { attempts } = this.#reconnector;
    if (attempts) {
      attempts.isCancelled = true;
      const error = this.#parts.connector.createError(reason);
      this.#reconnector.giveUp(attempts, error, "closed");
    } else this.#rejectQueued(reason);
    if (isIdle) {
      emitters.takeWaiting(
        this.#client,
        () => this.#parts.connector.createError(reason),
      )();
    }
    if (!attempts) this.#updateState();
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

  /** Emits `state` if it has changed: after the event that says why. */
  #updateState(): void {
    const previous = this.#toldState;
    const { state } = this;
    if (state === previous) return;
    this.#toldState = state;
    if (state === "open") this.#pageChecks.start(this.#probe);
    else this.#pageChecks.stop();
    this.#emit("state", StateEvent, [state, previous]);
  }

  readonly #probe = (timeout: number): void => {
    if (this.#connection) this.#parts.probe(this.#connection, timeout);
  };

  /** Handles the final failure of attempts to connect. */
  #gaveUp(
    attempts: ConnectAttempts,
    error: unknown,
    cause: GiveUpReason,
  ): void {
    const reason = error instanceof Error
      ? error
      : this.#parts.connector.createError("given up", { cause: error });
    this.#rejectQueued(reason.message);
    const emit = () => {
      if (attempts.notifyOnFail) {
        this.#emit("giveup", GiveUpEvent, [error, cause]);
      }
      this.#updateState();
    };
    // Whatever waits for the end of a connection that is closing gets it.
    const cleanup = this.#connection
      ? () => {}
      : emitters.takeWaiting(this.#client, () => reason);
    this.#deferredEvents.defer(emit, cleanup);
  }

  /** Rejects messages that wait for a connection. */
  #rejectQueued(reason: string): void {
    for (const entry of this.#parts.queue.takeAll()) {
      entry.reject(this.#notConnectedError(reason));
    }
    this.#retries?.stop(() =>
      new ConnectionEndedError(
        `Cannot wait any longer for a reply: ${reason}`,
        this.#disconnection,
      )
    );
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
  ): Owner<Types, C> {
    let own: C | undefined;
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
        emitters.isHeard(this.#client, type) ||
        (type === "message" && emitters.hasTyped(this.#client)),
      isMessageHeard: (message) => isMessageHeard(this.#client, message),
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

        const pending: Promise<unknown>[] = [];
        const { path } = connection;
        this.#isOpening = true;
        this.#emit("connect", ConnectEvent, [connection, path], pending);
        this.#isOpening = false;
        this.#parts.adopt(connection, this.#parts.queue.takeAll());
        this.#retries?.connected(connection);
        this.#updateState();
        result.resolve();
        return pending;
      },
      received: (message, pending) =>
        emitMessage(this.#client, message, pending),
      findHandler: (request) =>
        endpoints.handlerOf<Types, ClientEvents<Types, C>, C>(
          this.#client,
          request,
        ),
      drained: () => this.#emit("drain", DrainEvent, []),
      recovered: (recovered) =>
        this.#emit("recovery", RecoveryEvent, [recovered]),
      superseded: (options) => this.#parts.queue.dropSuperseded(options),
      unsent: (entries) => this.#parts.queue.putBack(entries),
      ended: (connection, end) => {
        if (!isDiscarded) this.#ended(connection, end);
      },
      endDeferred: () => {},
      refused: ({ url }, cause, end) => result.refused(url, cause, end),
      failed: (error, from) => this.reportError(error, from),
    };
  }

  #ended(connection: C, end: ConnectionEnd): void {
    const disconnection = {
      ...end,
      wasClean: end.type === "close",
      time: new Date(),
      retryAfter: parseRetryAfter(end.reason),
    };
    this.#connection = undefined;
    this.#retries?.disconnected();
    this.#flush = undefined;
    this.#disconnection = disconnection;
    this.#deferredEvents.run(() => this.#emitEnd(connection, disconnection));
  }

  /** Emits the events of an end, and reconnects if enabled. */
  #emitEnd(connection: C, end: Disconnection): void {
    const { type, code, reason } = end;
    const emit = () => {
      emitEnd(this.#client, connection, end);
      this.#updateState();
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
      this.#client,
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
