/**
 * The options of a server.
 *
 * @module
 */

import type { AdmissionOptions } from "../admission/admission_options.ts";
import type { Adapter } from "../cluster/adapter.ts";
import {
  MESSAGE_OPTIONS,
  type MessageOptions,
} from "../connection/connection_options.ts";
import {
  type MessageRate,
  resolveMessageRate,
} from "../connection/rate_limiter.ts";
import {
  assertKnown,
  assertOption,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";
import {
  type HistoryOptions,
  resolveHistoryOptions,
} from "../history/history_options.ts";
import {
  resolveRetryOptions,
  type RetryOptions,
} from "../retries/retry_options.ts";
import type { PresenceOptions } from "../rooms/presence_options.ts";
import type { RequestInfo } from "../runtime/deno_server.ts";
import { MIN_PEER_BYTES_PER_SECOND } from "../runtime/idle_decision.ts";
import type { ContractSide } from "../values/contract_types.ts";
import type { Context, SocketTypes } from "../values/types.ts";

/**
 * Options of {@linkcode ServerSocket}.
 *
 * @typeParam Types The types of incoming and outgoing messages, and of `client.context`,
 * which `authorize` returns.
 */
export interface ServerOptions<Types extends SocketTypes = SocketTypes>
  extends AdmissionOptions<Context<Types>>, MessageOptions<Types> {
  /**
   * The schemas of all data that both sides may send; see `contract` of
   * `@ws/events/contract`. It types the server and validates the messages and requests of
   * clients, and their replies, as the option `schema` does.
   */
  readonly contract?: { readonly server: ContractSide<Types> };
  /**
   * Handles requests that do not ask for a WebSocket, so that pages and sockets share a
   * port. By default their response is 426.
   */
  readonly fallback?: (
    request: Request,
    info: RequestInfo,
  ) => Response | Promise<Response>;
  /**
   * The timeout of the closing handshake, in milliseconds. After it the socket is
   * destroyed, and `disconnect` is emitted.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
  /**
   * How long a peer may be silent, in milliseconds, before the connection ends as a
   * `disconnect` with the cause `timeout`. The peer is pinged after half of that time.
   * 0 disables both.
   *
   * - If data is queued for the peer when it is pinged, the timeout is one second
   *   longer for each 16 KiB of it, because the pong has to wait for it.
   * - A peer that does not read is considered lost as well, up to half of the timeout
   *   later, plus one second for each 16 KiB that are queued for it.
   * - A peer cannot answer a ping in the middle of a message that it sends, and the
   *   runtime does not show a message before it is complete. So by default, the timeout
   *   of a peer that does not use this library is one second longer for each 16 KiB of
   *   `maxPayload`: 94 seconds in all with the defaults. If you set `idleTimeout`,
   *   nothing is added: choose more than twice the time that the largest message takes
   *   on the slowest connection.
   *
   * @default {30_000}
   */
  readonly idleTimeout?: number;
  /**
   * The maximum size of a message, in bytes. A larger one closes the connection with
   * 1009 and is not emitted. The runtime buffers the whole message before that. It
   * refuses a frame of 64 MiB or more itself, but not a message of many frames.
   *
   * @default {1_048_576}
   */
  readonly maxPayload?: number;
  /**
   * The maximum memory of all queues of the server, in bytes: messages that wait to be
   * sent, and received ones that wait to be handled or for a listener. Each counts with
   * its size and up to 1,024 bytes. Above it, the connections with the largest queues are
   * cut, regardless of their `overflow` policy, until 1/16 is free. They end as a
   * `disconnect` with the cause `backpressure`, or `limit` if most of their queue came
   * from the client.
   *
   * @default {536_870_912}
   */
  readonly maxBufferedTotal?: number;
  /**
   * The maximum rate of messages from one client; `false` for no limit. The default is
   * far above what honest clients send. It only prevents a flood from using all CPU time.
   * Use a lower limit that fits your clients, above all if each message is broadcast.
   *
   * @default {{ perSecond: 50_000, burst: 2_000, policy: "close" }}
   */
  readonly messageRate?: MessageRate | false;
  /**
   * The maximum number of lost connections in {@linkcode ServerSocket.disconnectedClients}.
   *
   * @default {100}
   */
  readonly maxDisconnectedClients?: number;
  /**
   * Connects this server to others: broadcasts and messages to rooms reach the clients of
   * all of them. A server with an adapter must be closed, because the adapter has
   * connections of its own. None by default.
   */
  readonly adapter?: Adapter;
  /**
   * The maximum number of messages to queue for the other servers while the adapter cannot
   * reach them; also limited to 64 MiB. If there are more, the other servers miss the
   * oldest. Clients of this server receive all messages.
   *
   * @default {0}
   */
  readonly adapterQueue?: number;
  /**
   * Whether to store the last messages of each room and the last broadcasts, so that
   * clients of this library that were disconnected can receive the messages that they have
   * missed. A client that reconnects in time is sent the missed messages of the rooms that
   * it was in, as soon as it joins them again. Its event `recovery` reports whether
   * nothing is missing. Messages are stored in memory, so that a client has to reconnect
   * to the same server. With an adapter whose broker stores messages, such as those for
   * Redis and NATS, it can reconnect to any server.
   *
   * @default {false}
   */
  readonly history?: boolean | HistoryOptions;
  /**
   * How the server remembers requests that clients send with the option `retry`, so that
   * it handles each of them once and answers a repetition. `false` refuses such requests.
   * Other requests are not remembered.
   *
   * @default {true}
   */
  readonly retries?: boolean | RetryOptions;
  /**
   * The public data of a client for the other members of its rooms: a function that
   * returns it, such as the name of the user, or {@linkcode PresenceOptions} with a key
   * that groups the connections of one user. Setting this option enables the events
   * `join`, `update` and `leave`, for the members on all servers. Not set by default.
   */
  readonly presence?:
    | PresenceOptions<Types>
    | PresenceOptions<Types>["data"];
}

/** Options with their defaults. */
export interface ResolvedServerOptions {
  readonly closeTimeout: number;
  readonly idleTimeout: number;
  /** How much longer than `idleTimeout` a peer may take to answer, in milliseconds. */
  readonly pongGrace: number;
  readonly maxPayload: number;
  readonly messageRate: Required<MessageRate> | undefined;
  readonly maxBufferedTotal: number;
  readonly maxDisconnectedClients: number;
  readonly adapter: Adapter | undefined;
  readonly adapterQueue: number;
  readonly history: Required<HistoryOptions> | undefined;
  readonly retries: Required<RetryOptions> | undefined;
}

/** The runtime refuses a frame of this size or more. */
const MAX_RUNTIME_FRAME_BYTES = 64 * 1024 * 1024;

/**
 * Validates the options that belong to the server itself, and fills in the defaults.
 *
 * @throws {TypeError} If an option is unknown or has the wrong type.
 * @throws {RangeError} If a number is negative or `NaN`.
 */
export function resolveServerOptions<Types extends SocketTypes>(
  options: ServerOptions<Types>,
): ResolvedServerOptions {
  assertType("options", options, "object", "a port goes to listen()");
  assertKnown("ServerSocket", options, SERVER_OPTIONS);
  const {
    closeTimeout = 10_000,
    idleTimeout = 30_000,
    maxDisconnectedClients = 100,
    maxPayload = 1024 * 1024,
    maxBufferedTotal = 512 * 1024 * 1024,
    adapter,
    adapterQueue = 0,
  } = options;
  const numbers = {
    adapterQueue,
    closeTimeout,
    idleTimeout,
    maxBufferedTotal,
    maxDisconnectedClients,
    maxPayload,
  };
  for (const [name, value] of Object.entries(numbers)) {
    assertSize(name, value);
  }
  assertOption("adapter", adapter, "object", "call it, as in redis()");
  if (adapter) assertType("adapter.open", adapter.open, "function");
  assertOption("fallback", options.fallback, "function");
  return {
    closeTimeout,
    idleTimeout,
    pongGrace: options.idleTimeout === undefined
      ? Math.min(maxPayload, MAX_RUNTIME_FRAME_BYTES) /
        MIN_PEER_BYTES_PER_SECOND * 1000
      : 0,
    maxPayload,
    messageRate: resolveMessageRate(options.messageRate),
    maxBufferedTotal,
    maxDisconnectedClients,
    adapter,
    adapterQueue,
    history: resolveHistoryOptions(options.history ?? false),
    retries: resolveRetryOptions(options.retries ?? true),
  };
}

const SERVER_OPTIONS = [
  ...optionNames<Omit<ServerOptions, keyof MessageOptions>>({
    origins: true,
    paths: true,
    protocols: true,
    authorize: true,
    authorizeTimeout: true,
    expiresAt: true,
    maxConnections: true,
    maxConnectionsPerAddress: true,
    keepHeaders: true,
    trustProxy: true,
    fallback: true,
    closeTimeout: true,
    idleTimeout: true,
    maxPayload: true,
    maxBufferedTotal: true,
    messageRate: true,
    maxDisconnectedClients: true,
    adapter: true,
    adapterQueue: true,
    history: true,
    retries: true,
    presence: true,
    contract: true,
  }),
  ...MESSAGE_OPTIONS,
];
