/**
 * The options of reconnecting, and after which ends a client reconnects by default.
 *
 * @module
 */

import {
  assertKnown,
  assertSize,
  assertType,
  CloseCode,
  ConnectError,
  type ConnectionEnd,
  optionNames,
} from "../events/errors.ts";
import type { BackoffOptions } from "./retry_delay.ts";

/** How a {@linkcode ClientSocket} reconnects. */
export interface ReconnectOptions extends BackoffOptions {
  /**
   * How long a connection must live, in milliseconds, to reset the backoff and the
   * count of attempts.
   *
   * @default {5_000}
   */
  readonly minUptime?: number;
  /**
   * Decides whether to reconnect: after the end of a connection, and after an attempt
   * that failed with a {@linkcode ConnectError}. It may return a promise; the client then
   * waits for it. It is not called if this side closed or terminated the connection: then
   * the client does not reconnect.
   *
   * @default {isTransient}
   */
  readonly shouldReconnect?: (
    failure: Disconnection | ConnectError,
  ) => boolean | PromiseLike<boolean>;
  /** Stops reconnecting when it is aborted. It does not end an open connection. */
  readonly signal?: AbortSignal;
}

/** The options of reconnecting, with all defaults. */
export type ResolvedReconnectOptions =
  & Required<Omit<ReconnectOptions, "signal">>
  & Pick<ReconnectOptions, "signal">;

/** How the last connection of a {@linkcode ClientSocket} ended. */
export interface Disconnection extends ConnectionEnd {
  /** Whether the closing handshake was completed, as in a `CloseEvent`. */
  readonly wasClean: boolean;
  /** The time at which the connection ended. */
  readonly time: Date;
  /**
   * How long the server asks the client to wait before it reconnects, in milliseconds;
   * undefined if the server did not say.
   */
  readonly retryAfter: number | undefined;
}

/** The close codes after which a client reconnects by default. */
const TRANSIENT_CODES: readonly number[] = [
  CloseCode.GoingAway,
  CloseCode.Abnormal,
  CloseCode.InternalError,
  CloseCode.ServiceRestart,
  CloseCode.TryAgainLater,
  CloseCode.BadGateway,
];

/** The HTTP statuses in the range of 4xx after which a client tries again by default. */
const TRANSIENT_STATUSES: readonly number[] = [408, 425, 429];

/**
 * Returns whether a client tries again by default:
 *
 * - After the end of a connection, if it was lost (1006), or the server closed it for a
 *   temporary reason: it goes away or restarts (1001, 1012), failed (1011), is overloaded
 *   (1013), or a gateway lost it (1014). Any other code is final: 1000, 1008, 4001 and so
 *   on.
 * - After a failed attempt, unless the server refused it for good: with a status of 4xx
 *   other than 408, 425 and 429, or with a close code that is final after a connection,
 *   too.
 *
 * @param failure How a connection ended, or why an attempt failed.
 * @returns Whether to try again.
 *
 * @example Codes of an application
 * ```ts
 * import { ClientSocket, isTransient } from "jsr:@ws/events";
 *
 * const client = new ClientSocket({
 *   reconnect: {
 *     shouldReconnect: (failure) => failure.code === 4100 || isTransient(failure),
 *   },
 * });
 * ```
 */
export function isTransient(failure: ConnectionEnd | ConnectError): boolean {
  const { code } = failure;
  if (code !== undefined) return TRANSIENT_CODES.includes(code);
  if (!(failure instanceof ConnectError)) return false;
  const { kind, status } = failure;
  if (status === undefined) return kind !== "refused";
  return status < 400 || status > 499 || TRANSIENT_STATUSES.includes(status);
}

/**
 * Fills in the defaults.
 *
 * @returns The options; undefined if the client does not reconnect.
 * @throws {TypeError} If an option has the wrong type, or does not exist.
 * @throws {RangeError} If a number is negative or `NaN`.
 */
export function resolveReconnectOptions(
  reconnect: boolean | ReconnectOptions,
): ResolvedReconnectOptions | undefined {
  if (reconnect === false) return undefined;
  if (reconnect !== true) {
    assertType("reconnect", reconnect, "object");
    assertKnown("reconnect", reconnect, RECONNECT_OPTIONS);
  }
  const {
    initialDelay = 1_000,
    maxDelay = 30_000,
    maxAttempts = Infinity,
    maxDuration = Infinity,
    minUptime = 5_000,
    shouldReconnect = isTransient,
    signal,
  }: ReconnectOptions = reconnect === true ? {} : reconnect;
  const numbers = {
    initialDelay,
    maxDelay,
    maxAttempts,
    maxDuration,
    minUptime,
  };
  for (const [name, value] of Object.entries(numbers)) assertSize(name, value);
  assertType("shouldReconnect", shouldReconnect, "function");
  return { ...numbers, shouldReconnect, ...signal && { signal } };
}

const RECONNECT_OPTIONS = optionNames<ReconnectOptions>({
  initialDelay: true,
  maxDelay: true,
  maxAttempts: true,
  maxDuration: true,
  minUptime: true,
  shouldReconnect: true,
  signal: true,
});
