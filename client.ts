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
import { withoutSecrets } from "./core/util/safe_url.ts";
import {
  assertSendOptions,
  type QueuedMessage,
  type SendOptions,
  SendQueue,
} from "./core/sending/send_queue.ts";
import {
  backoff,
  type BackoffOptions,
  withRetryAfter,
} from "./core/reconnect/backoff.ts";
import { ResumePoint } from "./core/protocol/resume_point.ts";
import { encodeWith } from "./core/values/codec.ts";
import {
  type CheckedRequestOptions,
  Connection,
  type ConnectionEvents,
  type ConnectionOwner,
  internals,
} from "./core/connection/connection.ts";
import { ErrorLog } from "./core/events/error_log.ts";
import {
  type EmitterHooks,
  emitters,
  eventNames,
} from "./core/events/emitter.ts";
import { Endpoint, endpoints } from "./core/connection/endpoint.ts";
import {
  emitMessage,
  isMessageHeard,
} from "./core/connection/typed_messages.ts";
import {
  REQUEST_TIMEOUT_MS,
  type RequestOptions,
} from "./core/requests/session.ts";
import {
  type ConnectionOptions,
  resolveOptions,
  type SpeechOptions,
} from "./core/connection/connection_options.ts";
import { assertOverflow } from "./core/sending/bounded_queue.ts";
import { waitForRetry } from "./core/reconnect/retry_delay.ts";
import { register } from "./core/events/instrumentation.ts";
import { parseRetryAfter } from "./core/protocol/retry_after.ts";
import type { StandardSchema } from "./core/values/schema.ts";
import { clientDriver, openSocket } from "./core/runtime/websocket.ts";
import { offerSubprotocols } from "./core/protocol/subprotocol.ts";
import { startTimer } from "./core/util/timer.ts";
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
  assertKnown,
  assertSize,
  assertType,
  CloseCode,
  ConnectError,
  type ConnectionEnd,
  ConnectionEndedError,
  ignoreRejection,
  optionNames,
  RESOLVED,
} from "./core/events/errors.ts";

export * from "./core/public.ts";
export type { BackoffOptions } from "./core/reconnect/backoff.ts";
export { ConnectError } from "./core/events/errors.ts";
export {
  GiveUpEvent,
  ReconnectingEvent,
  RecoveryEvent,
} from "./core/events/event_types.ts";

/**
 * A value, or a function that is asked for it at each attempt to connect, so that
 * a token in it is fresh.
 *
 * @typeParam T The type of the value.
 */
export type ValueOrFunction<T> = T | (() => T | PromiseLike<T>);

/**
 * Options of {@linkcode ClientSocket}.
 *
 * @typeParam Types The types of what comes in and goes out.
 */
export interface ClientOptions<Types extends SocketTypes = SocketTypes>
  extends SpeechOptions<Types> {
  /**
   * The subprotocols that the client asks for, the dearest first; or one of them.
   * Unless it is `plain`, it also asks for `events.v1`, with each of them and without.
   *
   * @default {[]}
   */
  readonly protocols?: ValueOrFunction<string | readonly string[]>;
  /**
   * Headers of the request. Deno, Node and Bun send them; no browser does: there
   * `connect` rejects with a `TypeError`.
   */
  readonly headers?: ValueOrFunction<HeadersInit>;
  /**
   * How long an attempt to connect may take, in milliseconds: until `url`,
   * `protocols` and `headers` are there, and the server has answered. No runtime
   * has such a limit; `Infinity` switches it off.
   *
   * @default {10_000}
   */
  readonly connectTimeout?: number;
  /**
   * How long the server may be silent, in milliseconds: then the connection counts
   * as lost, which is a `disconnect` with the cause `timeout`. It is noticed after a
   * quarter of that more, at the latest. A server that speaks `events.v1` is asked for
   * a sign of life after half of it, and has a second more for each 16 KiB that were sent
   * before the question and that it has not confirmed. Of any other only messages count,
   * as no runtime tells of a server's pings: there it is for servers that send something
   * at least twice in that time, and whose messages do not take longer to come in; from a
   * server of this library a message may take as long as it takes. If you set it, a connection by which the server talks, but
   * takes nothing of what it is sent, is lost, too, with the cause `backpressure`: after
   * half of that more, at the latest, and a second for each 16 KiB under way. 0
   * switches it off.
   *
   * @default {30_000} where the server speaks `events.v1`, else 0
   */
  readonly idleTimeout?: number;
  /**
   * How long the server has to answer a closing handshake, in milliseconds. If it
   * does not, the connection is given up, which is a `disconnect`.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
  /**
   * Whether the client comes back by itself when it has lost its connection, and
   * goes on trying when it cannot have one; and how.
   *
   * @default {false}
   */
  readonly reconnect?: boolean | ReconnectOptions;
}

/** How a {@linkcode ClientSocket} comes back. */
export interface ReconnectOptions extends BackoffOptions {
  /**
   * How long a connection must live, in milliseconds, for the next loss to be a new
   * one: with short delays again, and all attempts to be had.
   *
   * @default {5_000}
   */
  readonly minUptime?: number;
  /**
   * Decides whether to come back after an end. It is not asked when the program
   * itself has closed or terminated the connection: then the client stays away.
   *
   * @default {isTransient}
   */
  readonly shouldReconnect?: (end: Disconnection) => boolean;
  /**
   * Makes no further attempt once it is aborted. It does not end a connection that
   * is open.
   */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode ClientSocket.connect}. */
export interface ConnectOptions {
  /**
   * Gives up connecting when it is aborted. It does not end a connection that is
   * open, and has nothing to say when that is lost.
   */
  readonly signal?: AbortSignal;
}

/** How the last connection of a {@linkcode ClientSocket} ended. */
export interface Disconnection extends ConnectionEnd {
  /** Whether the closing handshake was finished, as in a `CloseEvent`. */
  readonly wasClean: boolean;
  /** When it ended. */
  readonly time: Date;
  /**
   * After how many milliseconds the server asks the client to come back; undefined
   * if it did not say.
   */
  readonly retryAfter: number | undefined;
}

/** The codes of ends after which a client may come back. */
const TRANSIENT_CODES: readonly number[] = [
  CloseCode.GoingAway,
  CloseCode.Abnormal,
  CloseCode.InternalError,
  CloseCode.ServiceRestart,
  CloseCode.TryAgainLater,
  CloseCode.BadGateway,
];

/**
 * Whether an end is one after which a client comes back by default: the connection
 * was lost (1006), or the server has closed it for a reason that will pass: it goes
 * away or restarts (1001, 1012), has failed (1011), is overloaded (1013), or is
 * behind a gateway that has lost it (1014). After any other code the server meant
 * it: 1000, 1008, 4001 and so on.
 *
 * @param end How a connection ended.
 * @returns Whether to come back.
 *
 * @example Codes of an application's own
 * ```ts
 * import { ClientSocket, isTransient } from "jsr:@ws/events";
 *
 * const client = new ClientSocket({
 *   reconnect: {
 *     shouldReconnect: (end) => end.code === 4100 || isTransient(end),
 *   },
 * });
 * ```
 */
export function isTransient(end: ConnectionEnd): boolean {
  return TRANSIENT_CODES.includes(end.code);
}

/**
 * After how many milliseconds of silence a server counts as lost that can be asked for
 * a sign of life, if the program does not say.
 */
const CLIENT_IDLE_TIMEOUT_MS = 30_000;

/** The way to a connection: one attempt, or one after the other. */
class ConnectAttempts {
  readonly #controller = new AbortController();
  /** Is aborted when it is given up, with the reason. */
  readonly signal: AbortSignal = this.#controller.signal;
  /** What ends it from outside. */
  readonly #signals = new Map<AbortSignal, () => void>();
  /** Whether it is to be told if it leads nowhere: others count on it. */
  notifyOnFail = false;
  /** Whether the program has closed the client on the way. */
  isCancelled = false;

  /** Calls back when a signal is aborted, as long as it is under way. */
  onSignal(signal: AbortSignal, action: (reason: unknown) => void): void {
    if (this.#signals.has(signal)) return;
    const onAbort = () => action(signal.reason);
    this.#signals.set(signal, onAbort);
    signal.addEventListener("abort", onAbort);
  }

  /** It is over, and has led to a connection. */
  finish(): void {
    for (const [signal, onAbort] of this.#signals) {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** It is over, and has led nowhere. */
  fail(reason: unknown): void {
    this.finish();
    this.#controller.abort(reason);
  }
}

/**
 * Whose turn it is to be heard of: that a way is given up while an event is being
 * told is told after that event.
 */
class DeferredEvents {
  #isHeld = false;
  #deferred: (() => void) | undefined;
  readonly #cleanups: (() => void)[] = [];

  /** Acts. What is given up meanwhile is told when that is over. */
  run(action: () => void): void {
    if (this.#isHeld) return action();
    this.#isHeld = true;
    try {
      action();
      while (this.#deferred) this.flush();
    } finally {
      this.#isHeld = false;
      for (const cleanup of this.#cleanups.splice(0)) cleanup();
    }
  }

  /** Tells that a way is given up, then stops what has waited, each in its turn. */
  defer(emit: () => void, cleanup: () => void): void {
    this.run(() => {
      this.#deferred = emit;
      this.#cleanups.push(cleanup);
    });
  }

  /** Tells at once what has been put off: something new begins. */
  flush(): void {
    const emit = this.#deferred;
    this.#deferred = undefined;
    emit?.();
  }
}

/** What has come of the attempts since there was a connection that lived. */
interface RetryState {
  count: number;
  /** How long they have taken, in milliseconds. */
  elapsedMs: number;
  readonly delays: Generator<number, void, void> | undefined;
}

/**
 * The events of a `ClientSocket`.
 *
 * @typeParam Types The types of what comes in and goes out.
 */
export interface ClientEvents<Types extends SocketTypes>
  extends ConnectionEvents<Types> {
  /** The connection is open. */
  connect: {
    args: [connection: Connection<Types>, path: string];
    event: ConnectEvent<Connection<Types>>;
  };
  /**
   * There is no connection, and after a delay another attempt will be made to get
   * one. It is followed by another one, by `connect`, or by `giveup`.
   */
  reconnecting: {
    args: [attempt: number, delay: number, error: unknown];
    event: ReconnectingEvent;
  };
  /**
   * The client is back at a server with the option `history`, or at one that should have
   * it. Either it has got all that it has missed, or it may have missed something:
   * then it has to load anew what it shows. It is told after `connect`, and after the
   * messages that were missed.
   */
  recovery: { args: [recovered: boolean]; event: RecoveryEvent };
  /**
   * No more attempts will be made: they have reached their limit, or the program
   * has closed the client. It is told once for each way that was to lead back from
   * an end, or of which a `reconnecting` was told, and that led nowhere.
   */
  giveup: { args: [error: unknown]; event: GiveUpEvent };
}

let hooks: EmitterHooks;

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
  readonly #protocols: ValueOrFunction<string | readonly string[]>;
  readonly #headers: ValueOrFunction<HeadersInit> | undefined;
  readonly #connectTimeout: number;
  readonly #reconnect: Required<Omit<ReconnectOptions, "signal">> | undefined;
  readonly #reconnectSignal: AbortSignal | undefined;
  readonly #options: ConnectionOptions<Types>;
  readonly #errorLog = new ErrorLog();
  /** What waits for a connection. */
  readonly #queue: SendQueue;
  readonly #resumePoint = new ResumePoint();
  #url: ValueOrFunction<string | URL> = "";
  /** The way to a connection, while there is none. */
  #attempts: ConnectAttempts | undefined;
  readonly #deferredEvents = new DeferredEvents();
  #retryState: RetryState = { count: 0, elapsedMs: 0, delays: undefined };
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
    hooks = {
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
    emitters.attach(this, hooks);
    assertType("options", options, "object", "a URL goes to connect()");
    assertKnown("ClientSocket", options, CLIENT_OPTIONS);
    const {
      protocols = [],
      headers,
      connectTimeout = 10_000,
      idleTimeout,
      closeTimeout = 10_000,
      reconnect = false,
    } = options;
    assertSize("connectTimeout", connectTimeout);
    if (connectTimeout === 0) {
      throw new RangeError(
        'Cannot use "connectTimeout" of 0, as no attempt could succeed: Infinity switches it off',
      );
    }
    assertSize("idleTimeout", idleTimeout ?? 0);
    assertSize("closeTimeout", closeTimeout);
    this.#protocols = protocols;
    this.#headers = headers;
    this.#connectTimeout = connectTimeout;
    const idleMs = idleTimeout === Infinity ? 0 : idleTimeout;
    this.#options = resolveOptions(options, idleMs ?? 0, {
      closeTimeout,
      idleTimeout: (canPing) =>
        idleMs ?? (canPing ? CLIENT_IDLE_TIMEOUT_MS : 0),
    });
    register(this, this.#options);
    this.#queue = new SendQueue(this.#options.writerLimits);
    if (reconnect !== false) {
      if (reconnect !== true) {
        assertType("reconnect", reconnect, "object");
        assertKnown("reconnect", reconnect, RECONNECT_OPTIONS);
      }
      const { signal, ...rest } = reconnect === true ? {} : reconnect;
      this.#reconnect = resolveReconnectOptions(rest);
      this.#reconnectSignal = signal;
    }
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
      assertType("options", options, "object", "subprotocols go to the client");
      assertKnown("connect()", options, CONNECT_OPTIONS);
      const attempts = this.#startConnecting(url, options.signal);
      this.#connectLoop(attempts, this.#connectOnce(attempts)).then(
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
    if (this.#attempts || this.#connection) {
      const target = displayUrl(this.#connection?.url ?? this.#url);
      const state = this.#attempts ? "on its way" : "connected";
      throw new Error(
        `Cannot connect to ${
          displayUrl(url)
        } as this client is ${state} to ${target}: close it first`,
      );
    }
    signal?.throwIfAborted();
    this.#url = url;
    this.#retryState = this.#freshRetryState();
    const attempts = this.#attempts = new ConnectAttempts();
    if (signal) {
      attempts.onSignal(signal, (reason) => this.#giveUp(attempts, reason));
    }
    return attempts;
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
    const isTransferable = this.#reconnect !== undefined && !this.#isOpening;
    const sent = connection &&
      internals.send(connection, frame, options, isTransferable);
    if (sent) return sent;
    if (!this.#attempts) {
      if (!connection) {
        return ignoreRejection(
          Promise.reject(this.#notConnectedError("await connect() first")),
        );
      }
      // It is about to end. What comes next is not known yet, or nothing will.
      if (!this.#reconnect || this.#isClosing) return connection.send(data);
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
    if (this.#connection && (this.#isOpening || !this.#attempts)) {
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
    if (!this.#attempts) throw this.#notConnectedError("await connect() first");
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
    if (this.#attempts) {
      this.#attempts.isCancelled = true;
      this.#giveUp(this.#attempts, this.#connectError(reason));
    } else this.#rejectQueued(reason);
  }

  /** Goes the way to a connection. The first attempt may be under way already. */
  async #connectLoop(
    attempts: ConnectAttempts,
    first?: Promise<void>,
  ): Promise<void> {
    try {
      let failure: unknown;
      for (let next = first;; next = this.#connectOnce(attempts)) {
        if (next) {
          try {
            return await next;
          } catch (error) {
            const isFinal = attempts.signal.aborted || !this.#reconnect ||
              !(error instanceof ConnectError);
            if (isFinal) throw error;
            failure = error;
          }
        }
        await this.#waitForRetry(attempts, failure);
      }
    } catch (error) {
      this.#giveUp(attempts, error);
      throw attempts.signal.reason;
    }
  }

  /** Waits until it is time for the next attempt. */
  async #waitForRetry(
    attempts: ConnectAttempts,
    failure: unknown,
  ): Promise<void> {
    const state = this.#retryState;
    const signal = this.#reconnectSignal;
    signal?.throwIfAborted();
    if (signal) {
      attempts.onSignal(signal, (reason) => this.#giveUp(attempts, reason));
    }
    const delayStep = state.delays?.next();
    if (!delayStep || delayStep.done) {
      throw this.#connectError(
        `given up after ${state.count} attempts to come back`,
        failure,
      );
    }
    const retryAfter = failure ? undefined : this.#disconnection?.retryAfter;
    const isFixed = retryAfter !== undefined;
    const delay = withRetryAfter(delayStep.value, retryAfter, Math.random);
    const { maxDuration = Infinity } = this.#reconnect ?? {};
    if (isFixed && delay > maxDuration - state.elapsedMs) {
      throw this.#connectError(
        `the server asks to come back after ${retryAfter} ms, which is more than "maxDuration" (${maxDuration}) leaves`,
      );
    }
    const count = ++state.count;
    attempts.notifyOnFail = true;
    this.#deferredEvents.run(() =>
      this.#emit("reconnecting", ReconnectingEvent, [count, delay, failure])
    );
    attempts.signal.throwIfAborted(); // a listener may have closed the client
    const start = performance.now();
    await waitForRetry(delay, { signal: attempts.signal, isFixed });
    state.elapsedMs += Math.min(performance.now() - start, delay);
  }

  /** Tries once. */
  async #connectOnce(attempts: ConnectAttempts): Promise<void> {
    const { signal } = attempts;
    signal.throwIfAborted();
    const state = this.#retryState;
    const start = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let connection: Connection<Types> | undefined;
    const fail = (error: unknown) => {
      reject(error);
      connection?.terminate();
    };
    const abort = () => fail(signal.reason);
    const timer = startTimer(() => {
      const reason = `no answer within ${this.#connectTimeout} ms`;
      fail(this.#connectError(reason));
    }, this.#connectTimeout);
    const settled = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort);
    try {
      const target = await Promise.race([this.#resolveTarget(), promise]);
      signal.throwIfAborted();
      if (!target) return;
      const { instrumentation } = this.#options;
      const open = () => openSocket(...target);
      const socket = instrumentation ? instrumentation.detach(open) : open();
      const { host, port, protocol, pathname } = new URL(socket.url);
      const owner = this.#createOwner(
        () => {
          settled();
          attempts.finish();
          this.#attempts = undefined;
        },
        resolve,
        reject,
      );
      connection = new Connection<Types>({
        socket,
        driver: clientDriver,
        url: socket.url,
        path: pathname,
        headers: new Headers(),
        remoteAddress: port
          ? host
          : `${host}:${protocol === "wss:" ? 443 : 80}`,
        options: this.#options,
        resumePoint: this.#resumePoint,
      }, owner);
      await promise;
    } finally {
      settled();
      const elapsed = performance.now() - start;
      state.elapsedMs += Math.min(elapsed, this.#connectTimeout);
    }
  }

  /** Asks the program for what an attempt needs. */
  async #resolveTarget(): Promise<Parameters<typeof openSocket>> {
    try {
      const [url, protocols, headers] = await Promise.all([
        resolveProvided(this.#url),
        resolveProvided(this.#protocols),
        resolveProvided(this.#headers),
      ]);
      const requested = typeof protocols === "string" ? [protocols] : protocols;
      const { support } = this.#options;
      const { subprotocol } = this.#resumePoint;
      return [url, offerSubprotocols(requested, support, subprotocol), headers];
    } catch (error) {
      const reason = "its URL, subprotocols or headers could not be had";
      throw this.#connectError(reason, error);
    }
  }

  /** The way to a connection has led nowhere. */
  #giveUp(attempts: ConnectAttempts, error: unknown): void {
    if (this.#attempts !== attempts) return;
    this.#attempts = undefined;
    attempts.fail(error);
    const reason = error instanceof Error
      ? error
      : this.#connectError("given up", error);
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

  #connectError(reason: string, cause?: unknown): ConnectError {
    return connectError(displayUrl(this.#url), cause, reason);
  }

  #notConnectedError(reason: string): ConnectionEndedError {
    return new ConnectionEndedError(
      `Cannot send without a connection: ${reason}`,
      this.#disconnection,
    );
  }

  /** The way back after an end, if the program wants one. */
  #startReconnecting(end: Disconnection): ConnectAttempts | undefined {
    const reconnect = this.#reconnect;
    if (!reconnect || this.#isClosing || this.#reconnectSignal?.aborted) {
      return undefined;
    }
    let decision: boolean | undefined;
    // It is on its way already, for what the program may do meanwhile.
    const attempts = this.#attempts = new ConnectAttempts();
    try {
      decision = reconnect.shouldReconnect(end);
    } catch (error) {
      this.#reportError(error, end.type);
    }
    if (this.#attempts !== attempts) return undefined;
    if (decision !== true) return this.#attempts = undefined;
    attempts.notifyOnFail = true;
    const uptime = performance.now() - this.#openedAt;
    if (uptime >= reconnect.minUptime) {
      this.#retryState = this.#freshRetryState();
    }
    return attempts;
  }

  /** What one connection tells this client. */
  #createOwner(
    settled: () => void,
    resolve: () => void,
    reject: (error: unknown) => void,
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
        settled();
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
        resolve();
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
      refused: ({ url }, cause) => {
        const { isPlain } = this.#options.support;
        reject(
          connectError(displayUrl(url), cause, isPlain ? "" : hintFor(cause)),
        );
      },
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
    const attempts = this.#startReconnecting(end);
    if (attempts) {
      emit();
      // The connection itself has not told its end yet.
      queueMicrotask(() => {
        if (this.#attempts === attempts) {
          ignoreRejection(this.#connectLoop(attempts));
        }
      });
      return;
    }
    // The program has closed the client just now, and connects it anew.
    if (this.#attempts) return emit();
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

  /** Counts attempts from the start. */
  #freshRetryState(): RetryState {
    const state: RetryState = {
      count: 0,
      elapsedMs: 0,
      delays: this.#reconnect && backoff(this.#reconnect, {
        random: Math.random,
        elapsed: () => state.elapsedMs,
      }),
    };
    return state;
  }
}

/**
 * What may help. Browsers, Node and Bun refuse a server that picks no subprotocol of
 * those that were asked for; browsers do not even say so.
 */
function hintFor(cause: unknown): string {
  const message = messageOf(cause);
  return message === "" || /protocol/i.test(message)
    ? 'if the server is there, and is none of this library, it may need the option "plain"'
    : "";
}

/** What a runtime has told of a failure. */
function messageOf(cause: unknown): string {
  if (cause instanceof Error) return cause.message;
  return typeof cause === "string" ? cause : "";
}

/** An attempt that failed: for a reason of this client's, if there is one. */
function connectError(url: string, cause: unknown, hint = ""): ConnectError {
  const reasons = [hint, messageOf(cause)];
  const parts = [`Cannot connect to ${url}`, ...reasons.filter(Boolean)];
  return new ConnectError(
    parts.join(": "),
    url,
    cause === undefined ? {} : { cause },
  );
}

/** Fills in the defaults of {@linkcode ReconnectOptions}. */
function resolveReconnectOptions(
  {
    initialDelay = 1_000,
    maxDelay = 30_000,
    maxAttempts = Infinity,
    maxDuration = Infinity,
    minUptime = 5_000,
    shouldReconnect = isTransient,
  }: ReconnectOptions,
): Required<Omit<ReconnectOptions, "signal">> {
  const numbers = {
    initialDelay,
    maxDelay,
    maxAttempts,
    maxDuration,
    minUptime,
  };
  for (const [name, value] of Object.entries(numbers)) assertSize(name, value);
  assertType("shouldReconnect", shouldReconnect, "function");
  return { ...numbers, shouldReconnect };
}

/** The value, or what the function gives; it rejects if the function throws. */
async function resolveProvided<T>(provided: ValueOrFunction<T>): Promise<T> {
  return await (isFunction(provided) ? provided() : provided);
}

function isFunction<T>(
  provided: ValueOrFunction<T>,
): provided is () => T | PromiseLike<T> {
  return typeof provided === "function";
}

/** A URL for an error; that of a function is not known before it is called. */
function displayUrl(url: ValueOrFunction<string | URL>): string {
  return isFunction(url) ? "the server" : withoutSecrets(url);
}

const CLIENT_OPTIONS = optionNames<ClientOptions>({
  protocols: true,
  headers: true,
  connectTimeout: true,
  idleTimeout: true,
  closeTimeout: true,
  reconnect: true,
  schema: true,
  onInvalid: true,
  concurrency: true,
  codec: true,
  plain: true,
  highWaterMark: true,
  maxBufferedAmount: true,
  overflow: true,
});

const RECONNECT_OPTIONS = optionNames<ReconnectOptions>({
  initialDelay: true,
  maxDelay: true,
  maxAttempts: true,
  maxDuration: true,
  minUptime: true,
  shouldReconnect: true,
  signal: true,
});

const CONNECT_OPTIONS = optionNames<ConnectOptions>({ signal: true });
