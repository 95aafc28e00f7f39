/**
 * The options of a client in a page.
 *
 * @module
 */

import type {
  ClientOptions,
  ConnectOptions,
} from "../client/client_options.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";
import {
  type ResolvedReconnectOptions,
  resolveReconnectOptions,
} from "../reconnect/reconnect_options.ts";
import {
  assertOverflow,
  type Overflow,
} from "../sending/backpressure_queue.ts";
import type { SubprotocolSupport } from "../protocol/subprotocol.ts";

/** The default of `idleTimeout` for servers that answer pings. */
export const IDLE_TIMEOUT_MS = 30_000;

/**
 * Options of {@linkcode ClientSocket} in a page. They are those of `@ws/events/client`,
 * except `headers`, `webSocket`, `schema`, `onInvalid`, `concurrency`, `codec`, `contract` and `strictJson`.
 */
export interface PageClientOptions extends
  Omit<
    ClientOptions,
    | "headers"
    | "webSocket"
    | "schema"
    | "onInvalid"
    | "concurrency"
    | "codec"
    | "contract"
    | "strictJson"
  > {}

/** The options of a client in a page, with all defaults. */
export interface ResolvedPageOptions {
  readonly protocols: NonNullable<ClientOptions["protocols"]>;
  readonly requireEvents: boolean;
  readonly connectTimeout: number;
  readonly closeTimeout: number;
  readonly idleTimeout: number | undefined;
  readonly maxPayload: number;
  readonly highWaterMark: number;
  readonly maxBufferedAmount: number;
  readonly overflow: Overflow;
  readonly reconnect: ResolvedReconnectOptions | undefined;
  readonly signal: AbortSignal | undefined;
  readonly support: SubprotocolSupport;
}

/**
 * Checks the options, and fills in the defaults.
 *
 * @throws {TypeError} If an option has the wrong type, or does not exist.
 * @throws {RangeError} If an option is out of range.
 */
export function resolvePageOptions(
  options: PageClientOptions,
): ResolvedPageOptions {
  assertType("options", options, "object", "pass the URL to connect()");
  for (const name of OTHER_OPTIONS) {
    if (name in options) {
      throw new TypeError(
        `Cannot use "${name}" as an option of ClientSocket in a page: import ClientSocket from "@ws/events/client"`,
      );
    }
  }
  assertKnown("ClientSocket", options, PAGE_OPTIONS);
  const {
    protocols = [],
    requireEvents = false,
    plain: isPlain = false,
    connectTimeout = 10_000,
    closeTimeout = 10_000,
    idleTimeout,
    maxPayload = Infinity,
    highWaterMark = 1024 * 1024,
    maxBufferedAmount = 16 * 1024 * 1024,
    overflow = "terminate",
    reconnect = false,
    signal,
  } = options;
  const sizes = {
    connectTimeout,
    closeTimeout,
    maxPayload,
    highWaterMark,
    maxBufferedAmount,
  };
  const all = Object.entries({ ...sizes, idleTimeout: idleTimeout ?? 0 });
  for (const [name, value] of all) assertSize(name, value);
  if (connectTimeout === 0) {
    throw new RangeError(
      'Cannot use "connectTimeout" of 0 as no attempt could succeed: use Infinity to disable it',
    );
  }
  assertOverflow(options);
  if (requireEvents && isPlain) {
    throw new TypeError(
      'Cannot use "requireEvents" together with "plain", which does without events.v1: leave one of them out',
    );
  }
  return {
    ...sizes,
    protocols,
    requireEvents,
    idleTimeout,
    overflow,
    reconnect: resolveReconnectOptions(reconnect),
    signal,
    support: { isPlain, codecName: "" },
  };
}

/**
 * Checks the options of `connect`.
 *
 * @throws {TypeError} If an option has the wrong type, or does not exist.
 */
export function assertPageConnectOptions(options: ConnectOptions): void {
  assertType("options", options, "object");
  assertKnown("connect()", options, ["signal"]);
}

const OTHER_OPTIONS: readonly (keyof ClientOptions)[] = [
  "headers",
  "webSocket",
  "schema",
  "onInvalid",
  "concurrency",
  "codec",
  "contract",
  "strictJson",
];

const PAGE_OPTIONS = optionNames<PageClientOptions>({
  protocols: true,
  requireEvents: true,
  plain: true,
  connectTimeout: true,
  closeTimeout: true,
  idleTimeout: true,
  maxPayload: true,
  highWaterMark: true,
  maxBufferedAmount: true,
  overflow: true,
  reconnect: true,
  signal: true,
});
