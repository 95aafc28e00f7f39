/**
 * How a socket's connections speak: what is common to all of them.
 *
 * @module
 */

import { assertCodec, type Codec } from "../values/codec.ts";
import { assertType } from "../events/errors.ts";
import {
  type FlowOptions,
  resolveWriterLimits,
  type WriterLimits,
} from "../sending/socket_writer.ts";
import type { Spender } from "../sending/buffer_budget.ts";
import type {
  Instrumentation,
  Instrumented,
} from "../events/instrumentation.ts";
import type { MessageRate } from "./rate_limiter.ts";
import { type StandardSchema, toSchema } from "../values/schema.ts";
import type { SubprotocolSupport } from "../protocol/subprotocol.ts";
import type { Incoming, SocketTypes } from "../values/types.ts";

/**
 * Options of both sockets that say how they speak.
 *
 * @typeParam Types The types of the socket.
 */
export interface SpeechOptions<Types extends SocketTypes = SocketTypes>
  extends FlowOptions {
  /**
   * Checks what comes in, when it comes: `message.data` is what the schema makes of
   * it, and has its type. What does not fit is no `message`, but an `error` event with
   * a {@linkcode SchemaError} and the connection; a request is answered with that, too.
   * Answers to requests are checked by the schema that `request` is given. Any library
   * will do that follows Standard Schema; the schema has to be synchronous.
   */
  readonly schema?: Types | StandardSchema<Incoming<Types>>;
  /**
   * What becomes of a peer whose message does not fit the schema: `report` leaves it
   * at the `error` event, `close` also closes the connection, with 1008.
   *
   * @default {"report"}
   */
  readonly onInvalid?: "report" | "close";
  /**
   * How many messages of one connection are handled at a time: with 1 each waits
   * until all listeners of the one before are done, and their promises settled. What
   * waits is bounded: a peer that speaks `events.v1` is made to wait before it sends
   * more, so that `await send()` there follows the listeners here; any other is closed
   * with 1008 if more than 1,024 messages wait, or 16 MiB. At the end of the connection
   * what waits is still handled, for up to `closeTimeout`, before the end is told.
   *
   * @default {Infinity}
   */
  readonly concurrency?: number;
  /**
   * Turns values into what is sent, and back, instead of JSON. Both ends need the
   * same: if they cannot agree, they do not connect.
   */
  readonly codec?: Codec;
  /**
   * Whether to do without `events.v1`: then there are no requests, and nothing but
   * plain messages is sent. A client in a browser needs this for a server that picks
   * no subprotocol, as browsers refuse such an answer.
   *
   * @default {false}
   */
  readonly plain?: boolean;
}

/** What a peer may send. */
export interface InboundLimits {
  /** How many bytes a message may have. */
  readonly maxPayload: number;
  /** How many messages may come. */
  readonly messageRate: Required<MessageRate> | undefined;
}

/** What only one side says. */
export interface SideOptions {
  /** How long a peer has to answer a closing handshake, in milliseconds. */
  readonly closeTimeout: number;
  /** What a peer may send; all by default. */
  readonly limits?: InboundLimits;
  /** Bounds what waits for all peers. */
  readonly budget?: Spender;
  /** The headers of the request that are kept as long as the connection. */
  readonly keepHeaders?: readonly string[];
  /**
   * After how many milliseconds of silence a peer counts as lost; 0 for never.
   *
   * @param canPing Whether it can be asked for a sign of life.
   */
  idleTimeout(canPing: boolean): number;
}

/**
 * What is common to all connections of one socket.
 *
 * @typeParam Types The types of the socket.
 */
export interface ConnectionOptions<Types extends SocketTypes>
  extends SideOptions, Instrumented {
  /** Looks into the connections, if somebody does. */
  instrumentation: Instrumentation | undefined;
  /** What the socket speaks. */
  readonly support: SubprotocolSupport;
  /** How messages go out. */
  readonly writerLimits: WriterLimits;
  /** How many messages of one peer are handled at a time. */
  readonly concurrency: number;
  /** What turns values into what is sent, and back; JSON if there is none. */
  readonly codec: Codec | undefined;
  /** Checks what comes in, if it is to be checked. */
  readonly schema: StandardSchema<Incoming<Types>> | undefined;
  /** Whether data that does not fit the schema ends the connection. */
  readonly isStrict: boolean;
}

/**
 * Fills in the defaults of a socket's options.
 *
 * @param options What the program says.
 * @param stallTimeout When to give a peer up that takes nothing.
 * @param side What the socket says itself.
 * @returns What its connections go by.
 * @throws {RangeError} If a number or a word among the options is none.
 * @throws {TypeError} If the schema or the codec is none, or could not be used.
 */
export function resolveOptions<Types extends SocketTypes>(
  options: SpeechOptions<Types>,
  stallTimeout: number,
  side: SideOptions,
): ConnectionOptions<Types> {
  const {
    schema,
    onInvalid = "report",
    concurrency = Infinity,
    codec,
    plain: isPlain = false,
  } = options;
  assertType("concurrency", concurrency, "number");
  if (!(concurrency >= 1)) {
    throw new RangeError(
      `Cannot use "concurrency" unless it is 1 or more: current value is ${concurrency}`,
    );
  }
  if (onInvalid !== "report" && onInvalid !== "close") {
    throw new RangeError(
      `Cannot use "onInvalid" unless it is report or close: current value is ${onInvalid}`,
    );
  }
  assertCodec(codec);
  if (codec && isPlain) {
    throw new TypeError(
      `Cannot use the codec "${codec.name}" together with "plain", as both ends agree on it by events.v1`,
    );
  }
  return {
    ...side,
    support: { isPlain, codecName: codec?.name ?? "" },
    writerLimits: resolveWriterLimits(options, stallTimeout),
    concurrency,
    codec,
    schema: schema === undefined
      ? undefined
      : toSchema<Types, Incoming<Types>>(schema),
    isStrict: onInvalid === "close",
    instrumentation: undefined,
  };
}
