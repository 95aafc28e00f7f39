/**
 * The client without the parts that only some programs need: `client.ts` adds all of
 * them, and `lean.ts` none.
 *
 * @module
 */

import { assembleClient, BaseClient } from "./base_client.ts";
import {
  assertConnectOptions,
  type ClientOptions,
  resolveClientOptions,
  type ResolvedClientOptions,
} from "./client_options.ts";
import type { ClientParts } from "./client_parts.ts";
import { Connector } from "./connector.ts";
import { type Connection, coreOf } from "../connection/connection.ts";
import { register } from "../events/instrumentation.ts";
import { retryFeature } from "../retries/retry_feature.ts";
import { SendQueue } from "../sending/send_queue.ts";
import { encodeWith } from "../values/codec.ts";
import type { CheckedTypes, SocketTypes } from "../values/types.ts";

export type { WebSocketClass, WebSocketOptions } from "../runtime/websocket.ts";
export type { BackoffOptions } from "../reconnect/retry_delay.ts";
export {
  type Disconnection,
  isTransient,
  type ReconnectOptions,
} from "../reconnect/reconnect_options.ts";
export type {
  ClientOptions,
  ConnectOptions,
  ValueOrFunction,
} from "./client_options.ts";
export type { BaseClient } from "./base_client.ts";
export type { ClientConnection } from "./client_parts.ts";
export type { ClientEvents } from "./client_events.ts";
export {
  ConnectError,
  type ConnectErrorDetails,
  type ConnectErrorKind,
} from "../events/errors.ts";
export {
  type ClientState,
  GiveUpEvent,
  type GiveUpReason,
  ReconnectingEvent,
  RecoveryEvent,
  StateEvent,
} from "../events/event_types.ts";

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
export class ClientSocket<Types extends CheckedTypes<Types> = SocketTypes>
  extends BaseClient<Types, Connection<Types>> {
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
    const resolved = resolveClientOptions(options);
    assembleClient(this, clientParts(resolved));
    register(this, resolved.connection);
  }
}

/** Assembles a client. */
function clientParts<Types extends SocketTypes>(
  resolved: ResolvedClientOptions<Types>,
): ClientParts<Types, Connection<Types>> {
  const { connection: options, reconnect, connectTimeout, signal } = resolved;
  const queue = new SendQueue(options.writerLimits);
  return {
    connector: new Connector(resolved),
    queue,
    reconnect,
    connectTimeout,
    signal,
    instrumented: options,
    createRetries: () => retryFeature.require('the option "retry"')(options),
    assertConnectOptions,
    encode: (data) => encodeWith(data, options.codec),
    send: (connection, frame, sendOptions, isTransferable) =>
      coreOf(connection).send(frame, sendOptions, isTransferable),
    adopt: (connection, entries) => {
      const core = coreOf(connection);
      queue.putBack(entries.filter((entry) => !core.adopt(entry)));
    },
    probe: (connection, timeout) => coreOf(connection).closing.probe(timeout),
    iteratorOverflowed: (connection) => coreOf(connection).iteratorOverflowed(),
  };
}
