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

import {
  Connection,
  type Hub,
  type Outgoing,
  type SocketMessage,
  type SocketTypes,
} from "./core/connection.ts";
import { Emitter } from "./core/emitter.ts";
import {
  type FlowLimits,
  flowLimits,
  type FlowOptions,
  type SendOptions,
} from "./core/flow.ts";
import { readRetryAfter } from "./core/retry_after.ts";
import { clientSide } from "./core/socket.ts";
import {
  type ClientEvents,
  ConnectEvent,
  DrainEvent,
  EndEvent,
  FailureEvent,
  ReceivedEvent,
} from "./core/events.ts";
import {
  assertSize,
  type Cause,
  ConnectError,
  ConnectionEndedError,
  type End,
  quiet,
} from "./core/errors.ts";

export * from "./core/public.ts";
export { ConnectError } from "./core/errors.ts";
export type { ClientEvents } from "./core/events.ts";

/** Options of {@linkcode ClientSocket}. */
export interface ClientOptions extends FlowOptions {
  /**
   * The subprotocols that the client asks for, the dearest first.
   *
   * @default {[]}
   */
  readonly protocols?: readonly string[];
  /**
   * How long the server has to answer a closing handshake, in milliseconds. If it
   * does not, the connection is given up, which is a `disconnect`.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
}

/** Options of {@linkcode ClientSocket.connect}. */
export interface ConnectOptions {
  /**
   * Gives up connecting when it is aborted. No runtime does so by itself:
   * `AbortSignal.timeout(5_000)` sets a limit. It does not end a connection that
   * is open.
   */
  readonly signal?: AbortSignal;
}

/** How the last connection of a {@linkcode ClientSocket} ended. */
export interface Disconnection extends End {
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

/**
 * A client. It holds one live {@linkcode Connection} at a time.
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
  extends Emitter<ClientEvents<Connection<Types>, SocketMessage<Types>>>
  implements AsyncDisposable {
  readonly #protocols: readonly string[];
  readonly #closeTimeout: number;
  readonly #flow: FlowLimits;
  #connecting: Connection<Types> | undefined;
  #connection: Connection<Types> | undefined;
  #disconnection: Disconnection | undefined;
  /** Hands out what came before there was a listener. */
  #flush: (() => void) | undefined;

  /**
   * Creates a client. It does not connect yet.
   *
   * @param options What to do unlike the defaults.
   * @throws {RangeError} If a number among the options is negative or none.
   */
  constructor(options: ClientOptions = {}) {
    super();
    const { protocols = [], closeTimeout = 10_000 } = options;
    assertSize("closeTimeout", closeTimeout);
    this.#flow = flowLimits(options, 0);
    this.#protocols = protocols;
    this.#closeTimeout = closeTimeout;
    this.#addOverrides();
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
   * Connects, and emits `connect`. Messages that come before a listener that is
   * added right after this has resolved are kept for it.
   *
   * @param url Where to: `ws:`, `wss:`, `http:` or `https:`.
   * @param options When to give up.
   * @returns A promise that resolves when the connection is open.
   * @throws {ConnectError} (rejects) If the connection cannot be had; its
   * `cause` is what the runtime told, which may be nothing.
   * @throws {DOMException} (rejects) With the name `SyntaxError` if the URL or a
   * subprotocol is none, or with the reason of the signal.
   * @throws {Error} (rejects) If there is a connection already.
   *
   * @example
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket();
   * const signal = AbortSignal.timeout(5_000);
   * await client.connect("ws://localhost:3000", { signal });
   * ```
   */
  async connect(
    url: string | URL,
    options: ConnectOptions = {},
  ): Promise<void> {
    const { signal } = options;
    const current = this.#connection ?? this.#connecting;
    if (current) {
      throw new Error(
        `Cannot connect to ${url} as this client is connected to ${current.url}: close it first`,
      );
    }
    signal?.throwIfAborted();
    const socket = new WebSocket(url, [...this.#protocols]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const settled = () => signal?.removeEventListener("abort", abort);
    const { host, port, protocol, pathname } = new URL(socket.url);
    const abort = () => {
      reject(signal?.reason);
      connection.terminate();
    };
    const connection = new Connection<Types>({
      socket,
      side: clientSide,
      url: socket.url,
      path: pathname,
      headers: new Headers(),
      remoteAddress: port ? host : `${host}:${protocol === "wss:" ? 443 : 80}`,
      closeTimeout: this.#closeTimeout,
      flow: this.#flow,
    }, this.#makeHub(settled, resolve, reject));
    this.#connecting = connection;
    signal?.addEventListener("abort", abort);
    await promise;
  }

  /**
   * Sends to the server, as {@linkcode Connection.send} does.
   *
   * @param data What to send.
   * @param options What to do if the server does not keep up.
   * @returns As {@linkcode Connection.send}; it also rejects with a
   * `ConnectionEndedError` if there is no connection.
   * @throws {TypeError} If JSON cannot hold the data.
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (this.#connection) return this.#connection.send(data, options);
    return quiet(Promise.reject(
      new ConnectionEndedError(
        "Cannot send without a connection: await connect() first",
        this.#disconnection,
      ),
    ));
  }

  /**
   * Closes the connection, as {@linkcode Connection.close} does. While the client
   * is still connecting, it gives up, and `connect` rejects.
   *
   * @param code The close code: 1000, or 3000 to 4999.
   * @param reason A reason for a human reader, of at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended; at once if
   * there is none.
   * @throws {RangeError} If the code may not be sent, or the reason is too long.
   */
  close(code?: number, reason?: string): Promise<void> {
    const current = this.#connection ?? this.#connecting;
    return current ? current.close(code, reason) : Promise.resolve();
  }

  /** Ends the connection now, as {@linkcode Connection.terminate} does. */
  terminate(): void {
    (this.#connection ?? this.#connecting)?.terminate();
  }

  /** The same as {@linkcode ClientSocket.close} without arguments. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * To be overridden: the connection is open.
   *
   * @param connection The connection.
   * @param path The path that was asked for.
   */
  protected onConnect?(connection: Connection<Types>, path: string): unknown;

  /**
   * To be overridden: a message has come.
   *
   * @param message The message.
   */
  protected onMessage?(message: SocketMessage<Types>): unknown;

  /**
   * To be overridden: the connection was closed.
   *
   * @param code The close code.
   * @param reason The reason.
   * @param cause What brought the end about.
   */
  protected onClose?(code: number, reason: string, cause: Cause): unknown;

  /**
   * To be overridden: the connection was lost.
   *
   * @param code The close code, usually 1006.
   * @param reason The reason, usually empty.
   * @param cause What brought the end about.
   */
  protected onDisconnect?(
    code: number,
    reason: string,
    cause: Cause,
  ): unknown;

  /** Turns what a listener threw into an `error` event. */
  protected override onListenerError(error: unknown, from: string): void {
    if (this.isHeard("error")) {
      this.emit("error", FailureEvent, [error, from, this.#connection]);
    } else console.error(`Unhandled error in "${from}":`, error);
  }

  /** Hands messages that came early to their first listener. */
  protected override onListenerAdded(type: string): void {
    if (type === "message") this.#flush?.();
  }

  #addOverrides(): void {
    if (this.onConnect) {
      this.on("connect", (...args) => this.onConnect?.(...args));
    }
    if (this.onMessage) {
      this.on("message", (message) => this.onMessage?.(message));
    }
    if (this.onClose) this.on("close", (...args) => this.onClose?.(...args));
    if (this.onDisconnect) {
      this.on("disconnect", (...args) => this.onDisconnect?.(...args));
    }
  }

  /** What one connection tells this client. */
  #makeHub(
    settled: () => void,
    resolve: () => void,
    reject: (error: unknown) => void,
  ): Hub<Types> {
    return {
      isEarly: false,
      cause: () => "local",
      isHosted: () => false,
      isHeard: (type) => this.isHeard(type),
      opened: (connection, flush) => {
        settled();
        this.#connecting = undefined;
        this.#connection = connection;
        this.#flush = flush;
        const pending: Promise<unknown>[] = [];
        const { path } = connection;
        this.emit("connect", ConnectEvent, [connection, path], pending);
        resolve();
        return pending;
      },
      received: (message) => this.emit("message", ReceivedEvent, [message]),
      drained: () => this.emit("drain", DrainEvent, []),
      ended: (connection, end) => {
        const { type, code, reason, cause } = end;
        const wasClean = type === "close";
        this.#connection = undefined;
        this.#flush = undefined;
        this.#disconnection = {
          ...end,
          wasClean,
          time: new Date(),
          retryAfter: readRetryAfter(reason),
        };
        this.stopWaiting(
          () =>
            new ConnectionEndedError(
              `Cannot wait any longer for an event as the connection to ${connection.url} has ended: ${type} with code ${code} and reason "${reason}"`,
              end,
            ),
          false,
          () => this.emit(type, EndEvent, [code, reason, cause]),
        );
      },
      lingers: () => {},
      refused: ({ url }, cause) => {
        settled();
        this.#connecting = undefined;
        const error = new ConnectError(
          `Cannot connect to ${url}${
            cause instanceof Error ? `: ${cause.message}` : ""
          }`,
          url,
          cause === undefined ? {} : { cause },
        );
        reject(error);
        this.stopWaiting(() => error, false);
      },
      failed: (error, from) => this.onListenerError(error, from),
    };
  }
}
