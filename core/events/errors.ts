/**
 * What an end is, the close codes, and the few errors that callers catch.
 *
 * @module
 */

import { nearest } from "../util/nearest.ts";
import { printable } from "../util/printable.ts";

/**
 * What brought a connection to its end:
 *
 * - `peer`: the other side closed it.
 * - `local`: this side closed or terminated it.
 * - `timeout`: the other side was silent for too long.
 * - `backpressure`: the other side read more slowly than it was written to.
 * - `limit`: the other side went over a limit.
 * - `protocol`: the other side broke the WebSocket protocol.
 * - `shutdown`: the server shut down.
 * - `network`: the connection was lost.
 */
export type Cause =
  | "peer"
  | "local"
  | "timeout"
  | "backpressure"
  | "limit"
  | "protocol"
  | "shutdown"
  | "network";

/** How a connection ended. */
export interface ConnectionEnd {
  /**
   * `close` where the closing handshake was finished, whatever its code;
   * `disconnect` where the connection was lost.
   */
  readonly type: "close" | "disconnect";
  /** The close code; 1006 for a lost connection (RFC 6455, 7.1.5). */
  readonly code: number;
  /** The reason that came with the code; empty if there was none. */
  readonly reason: string;
  /** What brought the end about. */
  readonly cause: Cause;
}

/**
 * The close codes of RFC 6455 (section 7.4.1) and of the IANA registry that
 * this library itself sends or reports. Codes from 3000 to 3999 are for
 * registered libraries, 4000 to 4999 for applications.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 | RFC 6455, 7.4.1}
 *
 * @example
 * ```ts
 * import { CloseCode } from "jsr:@ws/events";
 *
 * console.log(CloseCode.GoingAway); // 1001
 * ```
 */
export const CloseCode = {
  /** 1000: the purpose of the connection is fulfilled. */
  Normal: 1000,
  /** 1001: a server that shuts down, or a page that is left. */
  GoingAway: 1001,
  /** 1002: a peer broke the protocol. */
  ProtocolError: 1002,
  /** 1003: a kind of data that cannot be accepted. */
  UnsupportedData: 1003,
  /** 1005: the peer closed without a code. Reported, never sent. */
  NoStatus: 1005,
  /** 1006: lost without a closing handshake. Reported, never sent. */
  Abnormal: 1006,
  /** 1007: data that does not fit its type, such as invalid UTF-8. */
  InvalidPayload: 1007,
  /** 1008: a message that breaks a policy of the receiver. */
  PolicyViolation: 1008,
  /** 1009: a message that is too big. */
  TooBig: 1009,
  /** 1011: the server met a condition that it did not expect. */
  InternalError: 1011,
  /** 1012: the server restarts; come back. */
  ServiceRestart: 1012,
  /** 1013: the server is overloaded; come back later. */
  TryAgainLater: 1013,
  /** 1014: a gateway has lost the server behind it. Reported, never sent. */
  BadGateway: 1014,
} as const;

/** The most bytes of UTF-8 that a close reason may take (RFC 6455, 5.5). */
const MAX_REASON_BYTES = 123;

const reasonEncoder = new TextEncoder();

/**
 * Checks what a closing handshake may carry.
 *
 * @param code The close code.
 * @param reason The reason for a human reader.
 * @param side Which side closes. A client may send 1000 and 3000 to 4999 only
 * (WHATWG WebSockets, `close()`).
 * @throws {TypeError} If the code is not a number, or the reason not a string.
 * @throws {RangeError} If the code may not be sent by that side, or the reason
 * takes more than 123 bytes.
 */
export function assertCloseFrame(
  code: number,
  reason: string,
  side: "server" | "client",
): void {
  if (typeof reason !== "string") {
    throw new TypeError(
      `Cannot close with a reason that is not a string: current value is of type ${typeof reason}`,
    );
  }
  assertType("code", code, "number", "a reason comes second");
  if (!isSendableCode(code, side)) {
    const allowed = side === "server"
      ? "1000 to 1003, 1007 to 1013, or 3000 to 4999"
      : "1000, or 3000 to 4999";
    throw new RangeError(
      `Cannot close with code ${code}: a ${side} may send ${allowed}`,
    );
  }
  // A UTF-16 code unit takes at most three bytes: short reasons need no encoding.
  if (reason.length * 3 > MAX_REASON_BYTES) {
    const { length } = reasonEncoder.encode(reason);
    if (length > MAX_REASON_BYTES) {
      throw new RangeError(
        `Cannot close with a reason of ${length} bytes: shorten it to at most ${MAX_REASON_BYTES} bytes of UTF-8`,
      );
    }
  }
}

/** What `typeof` may be asked to say of an option. */
type TypeName = "function" | "number" | "object" | "string";

/**
 * Checks of what kind a value is, for those who have no compiler to do so.
 *
 * @param name What it is called.
 * @param value The value.
 * @param type What `typeof` is to say of it; `null` is no object here.
 * @param hint What to do instead, if that is not plain.
 * @throws {TypeError} If it says otherwise.
 */
export function assertType(
  name: string,
  value: unknown,
  type: TypeName,
  hint = "",
): void {
  const actual = value === null ? "null" : typeof value;
  if (actual === type) return;
  const article = type === "object" ? "an" : "a";
  throw new TypeError(
    `Cannot use "${name}" unless it is ${article} ${type}: current value is of type ${actual}${
      hint && `: ${hint}`
    }`,
  );
}

/**
 * Checks of what kind an option is, if it is not left out.
 *
 * @param name The option's name.
 * @param value Its value.
 * @param type What `typeof` is to say of it.
 * @param hint What to do instead, if that is not plain.
 * @throws {TypeError} If it says otherwise.
 */
export function assertOption(
  name: string,
  value: unknown,
  type: TypeName,
  hint?: string,
): void {
  if (value !== undefined) assertType(name, value, type, hint);
}

/**
 * Lists the names of options; the compiler sees to it that none is missing.
 *
 * @typeParam Options The options.
 * @param names Each of the names.
 * @returns The names.
 */
export function optionNames<Options>(
  names: Readonly<Record<keyof Options, true>>,
): readonly string[] {
  return Object.keys(names);
}

/**
 * Checks the names of options, for programs that no compiler checks.
 *
 * @param owner Whose options they are.
 * @param options The options.
 * @param names The names that they may have.
 * @throws {TypeError} If one has another name.
 */
export function assertKnown(
  owner: string,
  options: object,
  names: readonly string[],
): void {
  for (const name in options) {
    if (names.includes(name)) continue;
    const closest = nearest(name, names);
    throw new TypeError(
      `Cannot use "${
        printable(name)
      }" as an option of ${owner} as there is no such option: ${
        closest === undefined
          ? `the options are ${names.map((one) => `"${one}"`).join(", ")}`
          : `did you mean "${closest}"?`
      }`,
    );
  }
}

/**
 * Checks a number among options.
 *
 * @param name The option's name.
 * @param value Its value.
 * @throws {TypeError} If it is missing, or something other than a number.
 * @throws {RangeError} If it is negative or `NaN`.
 */
export function assertSize(name: string, value: number): void {
  assertType(name, value, "number");
  if (!(value >= 0)) {
    throw new RangeError(
      `Cannot use "${name}" unless it is 0 or more: current value is ${value}`,
    );
  }
}

function isSendableCode(code: number, side: "server" | "client"): boolean {
  if (!Number.isInteger(code)) return false;
  if (code === 1000 || (code >= 3000 && code <= 4999)) return true;
  return side === "server" &&
    ((code >= 1001 && code <= 1003) || (code >= 1007 && code <= 1013));
}

/**
 * What was asked of a connection cannot be had any more, as the connection has
 * ended or is about to: a `send` that came too late, or something that was
 * being waited for.
 *
 * @example Telling a late send from other errors
 * ```ts
 * import { type Connection, ConnectionEndedError } from "jsr:@ws/events";
 *
 * async function notify(client: Connection): Promise<void> {
 *   try {
 *     await client.send("news");
 *   } catch (error) {
 *     if (!(error instanceof ConnectionEndedError)) throw error;
 *     console.log("gone already", error.end?.code);
 *   }
 * }
 * ```
 */
export class ConnectionEndedError extends Error {
  /** The name of this class. */
  override readonly name = "ConnectionEndedError";
  /** How the connection ended; undefined while it is still closing. */
  readonly end: ConnectionEnd | undefined;

  /**
   * Creates the error.
   *
   * @param message What was attempted and why it cannot be done.
   * @param end How the connection ended, if it has.
   */
  constructor(message: string, end?: ConnectionEnd) {
    super(message);
    this.end = end;
  }
}

/**
 * A message that was not sent, and will not be, as its peer takes messages more
 * slowly than they are sent: it, or the one that took its place, was dropped as
 * its `overflow` says.
 *
 * @example
 * ```ts
 * import { type Connection, MessageDroppedError } from "jsr:@ws/events";
 *
 * async function offer(client: Connection, news: string): Promise<boolean> {
 *   try {
 *     await client.send(news, { overflow: "drop-newest" });
 *     return true;
 *   } catch (error) {
 *     if (error instanceof MessageDroppedError) return false;
 *     throw error;
 *   }
 * }
 * ```
 */
export class MessageDroppedError extends Error {
  /** The name of this class. */
  override readonly name = "MessageDroppedError";
}

/**
 * A connection that could not be had: refused, answered with something other
 * than an upgrade, or given up before it was open. The runtime does not tell
 * which (browsers hide it on purpose); what it did tell is the `cause`.
 *
 * @example
 * ```ts ignore
 * import { ClientSocket, ConnectError } from "jsr:@ws/events";
 *
 * const client = new ClientSocket();
 * try {
 *   await client.connect("ws://localhost:3000");
 * } catch (error) {
 *   if (!(error instanceof ConnectError)) throw error;
 *   console.log(`${error.url} cannot be reached`, error.cause);
 * }
 * ```
 */
export class ConnectError extends Error {
  /** The name of this class. */
  override readonly name = "ConnectError";
  /** Where the connection was to go; without user name, password, query and fragment. */
  readonly url: string;

  /**
   * Creates the error.
   *
   * @param message What was attempted and what came of it.
   * @param url Where the connection was to go.
   * @param options The `cause`, if the runtime told one.
   */
  constructor(message: string, url: string, options?: ErrorOptions) {
    super(message, options);
    this.url = url;
  }
}

/**
 * Why a request has no answer. Thrown by a handler, it tells its peer so: all else
 * that a handler throws stays where it is, and the peer is told `internal`.
 *
 * The codes of this library itself are:
 *
 * - `internal`: the handler has failed.
 * - `unhandled`: nobody handles such requests, nor listens to messages.
 * - `invalid`: the request does not fit the peer's schema.
 *
 * @example
 * ```ts
 * import { RequestError, ServerSocket } from "jsr:@ws/events";
 *
 * const stock = new Map([["apple", 3]]);
 * const server = new ServerSocket();
 * server.handle(({ content }) => {
 *   const count = stock.get(content);
 *   if (count === undefined) {
 *     throw new RequestError(`There are no ${content}s`, "unknown-fruit");
 *   }
 *   return count;
 * });
 * ```
 */
export class RequestError extends Error {
  /** The name of this class. */
  override readonly name = "RequestError";
  /** Why, for a program; undefined if the peer did not say. */
  readonly code: string | undefined;

  /**
   * Creates the error.
   *
   * @param message Why, for a human reader.
   * @param code Why, for a program.
   */
  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The promise of what is done already. There is one of it, so that it costs
 * nothing, and so that a listener that returns it need not be watched.
 */
export const RESOLVED: Promise<void> = Promise.resolve();

/**
 * Marks a promise as one that need not be awaited: its rejection reaches those
 * who await it, and is no unhandled rejection if nobody does. A peer decides
 * when a connection ends, and must not thereby end the process.
 *
 * @typeParam T What the promise resolves with.
 * @param promise The promise.
 * @returns The same promise.
 */
export function ignoreRejection<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/**
 * Whether something can be awaited.
 *
 * @param value Anything.
 * @returns True if it has a method `then`.
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value &&
    typeof value.then === "function";
}
