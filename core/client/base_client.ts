/**
 * The public methods of a client, in pages and elsewhere.
 *
 * @module
 */

import { Endpoint, endpoints } from "../connection/endpoint.ts";
import { emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { CloseCode } from "../events/errors.ts";
import { eventNames } from "../events/event_names.ts";
import type { ClientState } from "../events/event_types.ts";
import type { Disconnection } from "../reconnect/reconnect_options.ts";
import type { ClientRequestOptions } from "../retries/retry_feature.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type {
  Outgoing,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";
import type { CheckedRequestOptions } from "../connection/connection.ts";
import { ClientCore } from "./client_core.ts";
import type { ClientEvents } from "./client_events.ts";
import type { ConnectOptions, ValueOrFunction } from "./client_options.ts";
import type { ClientConnection, ClientParts } from "./client_parts.ts";

/** Sets the parts of a client. Only the constructors of the classes of clients use it. */
export let assembleClient: <
  Types extends SocketTypes,
  C extends ClientConnection<Types>,
>(client: BaseClient<Types, C>, parts: ClientParts<Types, C>) => void;

let clientHooks: EmitterHooks;

/**
 * The base class of {@linkcode ClientSocket}, in pages and elsewhere.
 *
 * @typeParam Types The types of the data that the client sends and receives.
 * @typeParam C The type of its connections.
 */
export abstract class BaseClient<
  Types extends SocketTypes,
  C extends ClientConnection<Types>,
> extends Endpoint<Types, ClientEvents<Types, C>, C> {
  // `assembleClient` sets it, as the constructor of a subclass is public.
  #core!: ClientCore<Types, C>;

  static {
    assembleClient = (client, parts) => {
      emitters.attach(client, clientHooks);
      client.#core = new ClientCore(client, parts);
    };
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
      failed: (client: AnyClient, error, from) =>
        client.#core.reportError(error, from),
      // Early messages are delivered to the first listener.
      added: (client: AnyClient, type) => {
        if (type.startsWith("message")) client.#core.deliverEarly();
      },
      override: (client: AnyClient, type) => endpoints.overrideOf(client, type),
      iteratorOverflowed: (client: AnyClient) => {
        client.#core.iteratorOverflowed();
      },
    };
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
    return this.#core.state;
  }

  /**
   * The open connection, if there is one. If the application closes or terminates it, the
   * client does not reconnect: use {@linkcode ClientSocket.reconnect} to replace it.
   */
  get connection(): C | undefined {
    return this.#core.connection;
  }

  /** How the last connection ended; undefined before the first end. */
  get disconnection(): Disconnection | undefined {
    return this.#core.disconnection;
  }

  /** The number of bytes that wait to be sent, with or without a connection. */
  get bufferedAmount(): number {
    return this.#core.bufferedAmount;
  }

  /**
   * The number of messages sent without a connection that were dropped under their
   * `overflow` policy. Messages that a connection drops are counted by the connection.
   */
  get droppedOffline(): number {
    return this.#core.droppedOffline;
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
    return this.#core.connect(url, options);
  }

  /**
   * Connects now. If the client waits before its next attempt, the delay ends, and
   * attempts are counted from the start again. An open connection is replaced by a new
   * one. A client that was closed or gave up connects to the same URL again. Messages
   * that wait for a connection keep waiting.
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
    return this.#core.reconnect();
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
    return this.#core.send(data, options);
  }

  /**
   * Sends a request to the server, as {@linkcode Connection.request} does. While the
   * client connects or reconnects, the request waits for the connection. If the
   * connection is lost before the reply, the request rejects and is not repeated, as it
   * may have been handled. With the option `retry`, it is sent again on the next
   * connection, and the server handles it once.
   *
   * @param data The data of the request.
   * @param options The options. The timeout includes the time without a connection.
   * @returns A promise of the data of the reply, as that of {@linkcode
   * Connection.request}.
   * @throws {RequestError} (rejects) With the code `uncertain` if a request with `retry` may
   * have been handled and the server does not remember it.
   * @throws {MessageDroppedError} (rejects) If the requests with `retry` that have no answer
   * take more than `maxBufferedAmount` bytes.
   * @throws {TypeError} If the data cannot be serialized.
   *
   * @example A request that survives the loss of the connection
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket({ reconnect: true });
   * await client.connect("ws://localhost:3000");
   * await client.request({ type: "order", item: 7 }, { retry: true });
   * ```
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
  request<Type extends RequestType<Types>, Output = Reply<Types, Type>>(
    data: RequestData<Types, Type>,
    options?: CheckedRequestOptions<Output> & ClientRequestOptions,
  ): Promise<NoInfer<Output>>;
  request<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options: CheckedRequestOptions & ClientRequestOptions = {},
  ): Promise<unknown> {
    return this.#core.request(data, options);
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
   *
   * @example
   * ```ts
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket();
   * client.on("end", ({ code, reason }) => console.log(code, reason));
   * await client.close(4000, "Not needed any more");
   * console.log(client.state); // closed
   * ```
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    return this.#core.close(code, reason);
  }

  /**
   * Drops the connection, as {@linkcode Connection.terminate} does, and stops connecting
   * or reconnecting.
   *
   * @example
   * ```ts ignore
   * import { ClientSocket } from "jsr:@ws/events";
   *
   * const client = new ClientSocket();
   * globalThis.addEventListener("pagehide", () => client.terminate());
   * ```
   */
  terminate(): void {
    this.#core.terminate();
  }
}

type AnyClient = BaseClient<SocketTypes, ClientConnection<SocketTypes>>;
