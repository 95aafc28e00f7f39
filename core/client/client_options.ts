/**
 * The options of a client.
 *
 * @module
 */

import type { WebSocketOptions } from "../runtime/websocket.ts";
import { argumentHints } from "./client_arguments.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";
import {
  type ConnectionOptions,
  contractSide,
  MESSAGE_OPTIONS,
  type MessageOptions,
  resolveOptions,
} from "../connection/connection_options.ts";
import {
  type ReconnectOptions,
  type ResolvedReconnectOptions,
  resolveReconnectOptions,
} from "../reconnect/reconnect_options.ts";
import type { ContractSide } from "../values/contract_types.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * A value, or a function that returns it. The function is called for each handshake, so
 * that a token in the value is fresh.
 *
 * @typeParam T The type of the value.
 */
export type ValueOrFunction<T> = T | (() => T | PromiseLike<T>);

/**
 * Options of {@linkcode ClientSocket}.
 *
 * @typeParam Types The types of the client.
 */
export interface ClientOptions<Types extends SocketTypes = SocketTypes>
  extends MessageOptions<Types> {
  /**
   * The schemas of all data that both sides may send; see `contract` of
   * `@ws/events/contract`. It types the client and validates the messages and requests of
   * the server, and its replies, as the option `schema` does.
   */
  readonly contract?: { readonly client: ContractSide<Types> };
  /**
   * A subprotocol to offer, or several in order of preference. The client also offers
   * `events.v1`, alone and combined with each of them, unless the option `plain` is set
   * or the client has found that the server rejects such a handshake.
   *
   * @default {[]}
   */
  readonly protocols?: ValueOrFunction<string | readonly string[]>;
  /**
   * Whether `connect` rejects if the server does not support `events.v1`. By default,
   * the client connects to any WebSocket server and uses what it supports. The option
   * `plain` disables `events.v1` altogether.
   *
   * @default {false}
   */
  readonly requireEvents?: boolean;
  /**
   * The headers of the request; none by default. Supported by Deno, Node and Bun. In
   * browsers, `connect` rejects with a `TypeError`.
   */
  readonly headers?: ValueOrFunction<
    NonNullable<ConstructorParameters<typeof Headers>[0]>
  >;
  /**
   * Options of the runtime's `WebSocket`, for certificates of your own, a client
   * certificate, or a proxy; or another class to use. `connect` rejects with a `TypeError`
   * if the runtime or the class does not support one.
   *
   * @default {{}}
   */
  readonly webSocket?: WebSocketOptions;
  /**
   * How long an attempt to connect may take, in milliseconds, including the functions
   * that return the URL, the subprotocols and the headers. No runtime has such a limit.
   * `Infinity` disables it.
   *
   * @default {10_000}
   */
  readonly connectTimeout?: number;
  /**
   * How long the server may be silent, in milliseconds. After that, the connection is
   * considered lost: a `disconnect` with the cause `timeout`, at most a quarter of that
   * time later. 0 disables it.
   *
   * A server that supports `events.v1` gets a ping after half of the time, and one more
   * second for each 16 KiB sent before the ping and not yet confirmed. The duration of a
   * message that is being received does not count.
   *
   * With any other server, only messages count, as no runtime reports pings. Use the
   * option only if the server sends something at least twice in that time, and no message
   * takes longer to receive.
   *
   * If the option is set, a connection whose server sends but does not read is also
   * considered lost, with the cause `backpressure`: after one and a half times that time,
   * and one second for each 16 KiB in flight.
   *
   * @default {30_000} if the server supports `events.v1`, else 0
   */
  readonly idleTimeout?: number;
  /**
   * The maximum size of a received message in bytes. A larger one is not delivered: the
   * connection is closed with 4009, as no client may send 1009, and the cause `limit`. The
   * runtime has already received it: no `WebSocket` has such a limit, except in packages
   * such as `ws` (see {@linkcode ClientOptions.webSocket}).
   *
   * @default {Infinity}
   */
  readonly maxPayload?: number;
  /**
   * How long the server may take to complete the closing handshake, in milliseconds.
   * After that, the connection is dropped, which is a `disconnect`.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
  /**
   * Whether and how the client reconnects after the connection is lost or an attempt
   * fails.
   *
   * @default {false}
   */
  readonly reconnect?: boolean | ReconnectOptions;
  /**
   * Ends the client for good when it is aborted: the connection is closed with 1000, and
   * attempts to connect stop. After that, `connect` rejects with the reason of the signal.
   * None of this causes an unhandled rejection.
   */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode ClientSocket.connect}. */
export interface ConnectOptions {
  /**
   * Stops connecting when it is aborted. It does not end an open connection, and does
   * not affect reconnecting.
   */
  readonly signal?: AbortSignal;
}

/** The options of a client, with all defaults. */
export interface ResolvedClientOptions<Types extends SocketTypes> {
  readonly protocols: ValueOrFunction<string | readonly string[]>;
  readonly headers: ClientOptions["headers"] | undefined;
  readonly webSocket: WebSocketOptions;
  readonly requireEvents: boolean;
  readonly connectTimeout: number;
  readonly reconnect: ResolvedReconnectOptions | undefined;
  readonly signal: AbortSignal | undefined;
  /** The options of its connections. */
  readonly connection: ConnectionOptions<Types>;
}

/** The default of `idleTimeout` for servers that can be pinged. */
const DEFAULT_IDLE_TIMEOUT_MS = 30_000;

/**
 * Checks the options, and fills in the defaults.
 *
 * @throws {TypeError} If an option has the wrong type, or does not exist.
 * @throws {RangeError} If an option is out of range.
 */
export function resolveClientOptions<Types extends SocketTypes>(
  options: ClientOptions<Types>,
): ResolvedClientOptions<Types> {
  assertType("options", options, "object", "pass the URL to connect()");
  const misplaced = argumentHints.code?.misplaced(
    "ClientSocket",
    options,
    [],
  );
  if (misplaced) throw misplaced;
  assertKnown("ClientSocket", options, CLIENT_OPTIONS);
  const {
    protocols = [],
    headers,
    webSocket = {},
    requireEvents = false,
    connectTimeout = 10_000,
    idleTimeout,
    closeTimeout = 10_000,
    maxPayload = Infinity,
    reconnect = false,
  } = options;
  assertType("webSocket", webSocket, "object");
  assertKnown("webSocket", webSocket, WEB_SOCKET_OPTIONS);
  assertSize("connectTimeout", connectTimeout);
  if (connectTimeout === 0) {
    throw new RangeError(
      'Cannot use "connectTimeout" of 0 as no attempt could succeed: use Infinity to disable it',
    );
  }
  assertSize("idleTimeout", idleTimeout ?? 0);
  assertSize("closeTimeout", closeTimeout);
  assertSize("maxPayload", maxPayload);
  if (requireEvents && options.plain) {
    throw new TypeError(
      'Cannot use "requireEvents" together with "plain", which does without events.v1: leave one of them out',
    );
  }
  const idleMs = idleTimeout === Infinity ? 0 : idleTimeout;
  return {
    protocols,
    headers,
    webSocket,
    requireEvents,
    connectTimeout,
    connection: resolveOptions(options, idleMs ?? 0, {
      closeTimeout,
      maxPayload,
      idleTimeout: (canPing) =>
        idleMs ?? (canPing ? DEFAULT_IDLE_TIMEOUT_MS : 0),
    }, contractSide(options, options.contract, options.contract?.client)),
    reconnect: resolveReconnectOptions(reconnect),
    signal: options.signal,
  };
}

/**
 * Checks the options of `connect`.
 *
 * @throws {TypeError} If an option has the wrong type, or does not exist.
 */
export function assertConnectOptions(options: ConnectOptions): void {
  assertType("options", options, "object");
  const misplaced = argumentHints.code?.misplaced(
    "connect()",
    options,
    CLIENT_OPTIONS.filter((one) => !CONNECT_OPTIONS.includes(one)),
  );
  if (misplaced) throw misplaced;
  assertKnown("connect()", options, CONNECT_OPTIONS);
}

const WEB_SOCKET_OPTIONS = optionNames<WebSocketOptions>({
  WebSocket: true,
  client: true,
  tls: true,
  dispatcher: true,
});

const CLIENT_OPTIONS = [
  ...optionNames<Omit<ClientOptions, keyof MessageOptions>>({
    protocols: true,
    headers: true,
    webSocket: true,
    requireEvents: true,
    connectTimeout: true,
    idleTimeout: true,
    closeTimeout: true,
    maxPayload: true,
    reconnect: true,
    signal: true,
    contract: true,
  }),
  ...MESSAGE_OPTIONS,
];

const CONNECT_OPTIONS = optionNames<ConnectOptions>({ signal: true });
