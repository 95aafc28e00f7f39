/**
 * The options of a client.
 *
 * @module
 */

import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";
import {
  type ConnectionOptions,
  resolveOptions,
  type SpeechOptions,
} from "../connection/connection_options.ts";
import {
  type ReconnectOptions,
  type ResolvedReconnectOptions,
  resolveReconnectOptions,
} from "../reconnect/reconnect_options.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * A value, or a function that returns it. The function is called for each attempt to
 * connect, so that a token in the value is fresh.
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
   * The subprotocols to offer, in order of preference; or one of them. Unless the
   * client is `plain`, it also offers `events.v1`, with and without each of them.
   *
   * @default {[]}
   */
  readonly protocols?: ValueOrFunction<string | readonly string[]>;
  /**
   * The headers of the request. Deno, Node and Bun send them; no browser does: there
   * `connect` rejects with a `TypeError`.
   */
  readonly headers?: ValueOrFunction<HeadersInit>;
  /**
   * How long an attempt to connect may take, in milliseconds, including the functions
   * that return the URL, the subprotocols and the headers. No runtime has such a limit.
   * `Infinity` disables it.
   *
   * @default {10_000}
   */
  readonly connectTimeout?: number;
  /**
   * How long the server may be silent, in milliseconds. After that the connection is
   * considered lost, which is a `disconnect` with the cause `timeout`; it is detected at
   * most a quarter of that time later. A server that speaks `events.v1` is pinged after
   * half of the time, and has one more second for each 16 KiB that were sent before the
   * ping and are not confirmed. From any other server only messages count, as no runtime
   * reveals pings: use it only if the server sends something at least twice in that
   * time, and its messages do not take longer to arrive. A message from a server of this
   * library may take any time. If the option is set, a connection whose server sends but
   * does not read is lost, too, with the cause `backpressure`: after half of that time
   * more, and one second for each 16 KiB under way. 0 disables it.
   *
   * @default {30_000} where the server speaks `events.v1`, else 0
   */
  readonly idleTimeout?: number;
  /**
   * How long the server may take to answer a closing handshake, in milliseconds. After
   * that the connection is cut, which is a `disconnect`.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
  /**
   * Whether the client reconnects when the connection is lost, and keeps trying when
   * an attempt fails; and how.
   *
   * @default {false}
   */
  readonly reconnect?: boolean | ReconnectOptions;
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
  readonly headers: ValueOrFunction<HeadersInit> | undefined;
  readonly connectTimeout: number;
  readonly reconnect: ResolvedReconnectOptions | undefined;
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
  const idleMs = idleTimeout === Infinity ? 0 : idleTimeout;
  return {
    protocols,
    headers,
    connectTimeout,
    connection: resolveOptions(options, idleMs ?? 0, {
      closeTimeout,
      idleTimeout: (canPing) =>
        idleMs ?? (canPing ? DEFAULT_IDLE_TIMEOUT_MS : 0),
    }),
    reconnect: resolveReconnectOptions(reconnect),
  };
}

/**
 * Checks the options of `connect`.
 *
 * @throws {TypeError} If an option has the wrong type, or does not exist.
 */
export function assertConnectOptions(options: ConnectOptions): void {
  assertType("options", options, "object", "subprotocols go to the client");
  assertKnown("connect()", options, CONNECT_OPTIONS);
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

const CONNECT_OPTIONS = optionNames<ConnectOptions>({ signal: true });
