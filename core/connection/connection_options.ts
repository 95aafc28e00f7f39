/**
 * Options that all connections of a socket share.
 *
 * @module
 */

import { type Codec, codecFeature } from "../values/codec.ts";
import { assertOneOf, assertSize, optionNames } from "../events/errors.ts";
import {
  type FlowOptions,
  resolveWriterLimits,
  type WriterLimits,
} from "../sending/flow_options.ts";
import type { BudgetAccount } from "../sending/buffer_budget.ts";
import {
  type Instrumentation,
  type Instrumented,
  slotOf,
} from "../events/instrumentation.ts";
import type { Closing } from "./closing.ts";
import type { InboundGuard } from "./inbound_guard.ts";
import type { FrameReceiver } from "./sliced_receiver.ts";
import type { StandardSchema } from "../values/schema.ts";
import { schemaFeature } from "./invalid_messages.ts";
import type { ContractSide } from "../values/contract_types.ts";
import { concurrencyFeature } from "./concurrency_feature.ts";
import type { SubprotocolSupport } from "../protocol/subprotocol.ts";
import type { Incoming, SocketTypes } from "../values/types.ts";

/**
 * Options of servers and clients: schema, codec, concurrency and flow control.
 *
 * @typeParam Types The types of the socket.
 */
export interface MessageOptions<Types extends SocketTypes = SocketTypes>
  extends FlowOptions {
  /**
   * Validates incoming messages and requests; `message.data` is the output of the schema
   * and has its type. Without a schema, data is not validated. Invalid data emits an
   * `error` event with a {@linkcode SchemaError} and the connection instead of `message`;
   * the sender of an invalid request also gets an error reply. Replies are validated by
   * the schema that is passed to `request`. Any library that implements Standard Schema
   * works; the schema must be synchronous.
   */
  readonly schema?: Types | StandardSchema<Incoming<Types>>;
  /**
   * The policy for a peer that sends invalid data: `report` only emits the `error` event;
   * `close` also closes the connection with 1008. Data is invalid if it does not match the
   * schema, or if the codec cannot decode it for the schema or for the handler of a
   * request. Without a schema, a message is only decoded by the listener that reads it,
   * and an error of the codec is an error of that listener.
   *
   * @default {"report"}
   */
  readonly onInvalid?: "report" | "close";
  /**
   * The maximum number of messages of one connection that are handled at the same time.
   * With 1, each message waits until all listeners of the previous one have returned and
   * their promises have settled. The queue is bounded: a peer that uses `events.v1` is
   * slowed down, so that its `await send()` waits for the listeners here; any other peer
   * is closed with 1008 if more than 1,024 messages or 16 MiB wait. When the connection
   * ends, queued messages are still handled, for up to `closeTimeout`, before the end is
   * emitted.
   *
   * @default {Infinity}
   */
  readonly concurrency?: number;
  /**
   * The serialization format, JSON by default. Both ends must use the same codec: a
   * server of this library refuses clients without it, and a client of this library uses
   * it with any server that does not support `events.v1`.
   */
  readonly codec?: Codec;
  /**
   * For development and tests: whether to check all that is sent for values that JSON would
   * change without an error, also nested ones, such as a `Map`, a `Date` or `NaN`. `send`,
   * `request` and the reply of a handler then throw a `TypeError` with the path to the
   * value. The check visits every property, and each message takes the slower path of a
   * codec. Has no effect with `codec`.
   *
   * @default {false}
   */
  readonly strictJson?: boolean;
  /**
   * Disables the `events.v1` subprotocol. Only plain messages are sent, and requests are
   * unavailable. A server or client with a codec then uses it without any negotiation:
   * the peer must use the same codec.
   *
   * @default {false}
   */
  readonly plain?: boolean;
}

/** The names of {@linkcode MessageOptions}. */
export const MESSAGE_OPTIONS: readonly string[] = optionNames<MessageOptions>({
  schema: true,
  onInvalid: true,
  concurrency: true,
  codec: true,
  strictJson: true,
  plain: true,
  highWaterMark: true,
  maxBufferedAmount: true,
  overflow: true,
});

/** Options that servers and clients resolve differently. */
export interface SideOptions {
  /** The timeout of the closing handshake, in milliseconds. */
  readonly closeTimeout: number;
  /** The maximum size of a received message in bytes. */
  readonly maxPayload: number;
  /** Creates the guard of a connection whose peer is not trusted. */
  readonly guard?: (closing: Closing, receiver: FrameReceiver) => InboundGuard;
  /** The shared memory budget of the send queues. */
  readonly budget?: BudgetAccount;
  /**
   * After how many milliseconds of silence a peer is considered lost; 0 for never.
   *
   * @param canPing Whether the peer can be sent a ping.
   */
  idleTimeout(canPing: boolean): number;
}

/**
 * The resolved options that all connections of one socket share.
 *
 * @typeParam Types The types of the socket.
 */
export interface ConnectionOptions<Types extends SocketTypes>
  extends SideOptions, Instrumented {
  /** The instrumentation, if any is attached. */
  instrumentation: Instrumentation | undefined;
  /** Observes the frames of a new connection, if somebody debugs the socket. */
  frameLog: Instrumented["frameLog"];
  /** The subprotocol features that the socket supports. */
  readonly support: SubprotocolSupport;
  /** The resolved flow-control limits. */
  readonly writerLimits: WriterLimits;
  /** The maximum number of messages of one peer that are handled at the same time. */
  readonly concurrency: number;
  /** The codec; JSON if undefined. */
  readonly codec: Codec | undefined;
  /** The schema of incoming messages, if any. */
  readonly schema: StandardSchema<Incoming<Types>> | undefined;
  /** The schema of requests, if any: that of messages, unless there is a contract. */
  readonly requestSchema: StandardSchema<Incoming<Types>> | undefined;
  /** The schemas of replies by the `type` of the request, if there is a contract. */
  readonly replySchemas: ContractSide<Types>["replies"] | undefined;
  /** Whether invalid data closes the connection. */
  readonly isStrict: boolean;
}

/**
 * Fills in the defaults of a socket's options.
 *
 * @param stallTimeout After how many milliseconds a peer that reads nothing is terminated.
 * @param contract What the contract requires of this side, if there is one.
 * @throws {RangeError} If an option is out of range.
 * @throws {TypeError} If the schema or the codec is invalid.
 */
export function resolveOptions<Types extends SocketTypes>(
  options: MessageOptions<Types>,
  stallTimeout: number,
  side: SideOptions,
  contract?: ContractSide<Types>,
): ConnectionOptions<Types> {
  const {
    schema,
    onInvalid = "report",
    concurrency = Infinity,
    strictJson = false,
    plain: isPlain = false,
  } = options;
  const toSchema = (
    one: typeof schema | StandardSchema,
  ): StandardSchema<Incoming<Types>> | undefined =>
    one === undefined ? undefined : schemaFeature.require('the option "schema"')
      .toSchema<unknown, Incoming<Types>>(one);
  assertSize("concurrency", concurrency, 1);
  assertOneOf("onInvalid", onInvalid, ["report", "close"]);
  if (concurrency !== Infinity) {
    concurrencyFeature.require('the option "concurrency"');
  }
  if (options.codec !== undefined) {
    codecFeature.require('the option "codec"').assert(options.codec);
  }
  const codec = options.codec ??
    (strictJson
      ? codecFeature.require('the option "strictJson"').strictJson
      : undefined);
  return {
    ...side,
    support: { isPlain, codecName: options.codec?.name ?? "" },
    writerLimits: resolveWriterLimits(options, stallTimeout),
    concurrency,
    codec,
    schema: toSchema(contract?.messages ?? schema),
    requestSchema: toSchema(contract?.requests ?? schema),
    replySchemas: contract?.replies,
    isStrict: onInvalid === "close",
    instrumentation: undefined,
    frameLog: undefined,
  };
}

/**
 * Checks the option `contract`, and returns what it requires of one side.
 *
 * @throws {TypeError} If it is not a contract, or does not agree with the other options.
 */
export function contractSide<Types extends SocketTypes>(
  options: MessageOptions<Types>,
  contract: object | undefined,
  side: ContractSide<Types> | undefined,
): ContractSide<Types> | undefined {
  if (contract === undefined) return undefined;
  schemaFeature.require('the option "contract"').assertContract(side, options);
  return side;
}

/** Returns the options of a server or client; undefined for any other object. */
export function optionsOf(
  socket: object,
): ConnectionOptions<SocketTypes> | undefined {
  const slot = slotOf(socket);
  return slot && isConnectionOptions(slot) ? slot : undefined;
}

function isConnectionOptions(
  slot: Instrumented,
): slot is ConnectionOptions<SocketTypes> {
  return "writerLimits" in slot;
}
