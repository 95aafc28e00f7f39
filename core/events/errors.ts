/**
 * Close codes, the description of an end, error classes, and checks of options.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";
import { printable } from "../util/printable.ts";

/**
 * Why a connection ended:
 *
 * - `peer`: the peer closed it.
 * - `local`: this side closed or terminated it.
 * - `timeout`: the peer was silent for too long.
 * - `backpressure`: the peer read more slowly than this side sent.
 * - `limit`: the peer exceeded a limit.
 * - `protocol`: the peer violated the WebSocket protocol.
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
   * `close` if the closing handshake was completed, with any code; `disconnect` if the
   * connection was lost.
   */
  readonly type: "close" | "disconnect";
  /** The close code; 1006 for a lost connection (RFC 6455, section 7.1.5). */
  readonly code: number;
  /** The close reason; an empty string if there was none. */
  readonly reason: string;
  /** Why the connection ended. */
  readonly cause: Cause;
}

/**
 * The close codes of RFC 6455 (section 7.4.1) and the IANA registry that this library
 * sends or reports. Codes 3000 to 3999 are for registered libraries and frameworks,
 * 4000 to 4999 for applications.
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
  /** 1001: the server shuts down, or the user leaves the page. */
  GoingAway: 1001,
  /** 1002: the peer violated the protocol. */
  ProtocolError: 1002,
  /** 1003: the receiver does not accept this type of data. */
  UnsupportedData: 1003,
  /** 1005: the peer closed without a code. Reported, never sent. */
  NoStatus: 1005,
  /** 1006: the connection was lost without a closing handshake. Reported, never sent. */
  Abnormal: 1006,
  /** 1007: the data is inconsistent with its type, such as invalid UTF-8 in text. */
  InvalidPayload: 1007,
  /** 1008: the message violates a policy of the receiver. */
  PolicyViolation: 1008,
  /** 1009: the message is too big. */
  TooBig: 1009,
  /** 1011: the server encountered an unexpected condition. */
  InternalError: 1011,
  /** 1012: the server restarts; clients may reconnect. */
  ServiceRestart: 1012,
  /** 1013: the server is overloaded; clients may try again later. */
  TryAgainLater: 1013,
  /** 1014: a gateway got an invalid response from its upstream. Reported, never sent. */
  BadGateway: 1014,
  /** 4401: the authorization of the client has expired. */
  Expired: 4401,
} as const;

/** The maximum length of a close reason in bytes of UTF-8 (RFC 6455, section 5.5). */
const MAX_REASON_BYTES = 123;

const reasonEncoder = new TextEncoder();

/**
 * Checks a close code and reason. A client may send only 1000 and 3000 to 4999 (WHATWG
 * WebSockets, `close()`).
 *
 * @throws {TypeError} If the code is not a number, or the reason is not a string.
 * @throws {RangeError} If this side may not send the code, or the reason is longer than
 * 123 bytes.
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
  assertType("code", code, "number", "the reason is the second argument");
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

/** A result of `typeof` that can be required. */
type TypeName = "function" | "number" | "object" | "string";

/**
 * Checks the type of a value at run time.
 *
 * @param type The required result of `typeof`; `null` is not an object here.
 * @param hint What to do instead, if it is not obvious.
 * @throws {TypeError} If the type differs.
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
 * Checks the type of an option as {@linkcode assertType} does, unless it is undefined.
 *
 * @throws {TypeError} If the type differs.
 */
export function assertOption(
  name: string,
  value: unknown,
  type: TypeName,
  hint?: string,
): void {
  if (value !== undefined) assertType(name, value, type, hint);
}

/** Returns the names of all options. The compiler reports a name that is missing. */
export function optionNames<Options>(
  names: Readonly<Record<keyof Options, true>>,
): readonly string[] {
  return Object.keys(names);
}

/** The end of an error for an unknown name: the nearest name, or all of them. */
export type Suggestion = (
  what: "events" | "options",
  name: string,
  names: Iterable<string>,
) => string;

/** See {@linkcode Suggestion}. Without the code, errors end without it. */
export const suggestionFeature: Feature<Suggestion> = new Feature("hints");

/** Returns the end of an error for an unknown name. */
export const suggest: Suggestion = (...args) =>
  suggestionFeature.code?.(...args) ?? "";

/**
 * Checks the names of options at run time.
 *
 * @throws {TypeError} If there is an unknown option.
 */
export function assertKnown(
  owner: string,
  options: object,
  names: readonly string[],
): void {
  for (const name in options) {
    if (names.includes(name)) continue;
    throw new TypeError(
      `Cannot use "${
        printable(name)
      }" as an option of ${owner} as there is no such option${
        suggest("options", name, names)
      }`,
    );
  }
}

/**
 * Checks an option that is a number of 0 or more, or of another minimum.
 *
 * @throws {TypeError} If it is not a number.
 * @throws {RangeError} If it is less or `NaN`.
 */
export function assertSize(name: string, value: number, min = 0): void {
  assertType(name, value, "number");
  if (!(value >= min)) {
    throw new RangeError(
      `Cannot use "${name}" unless it is ${min} or more: current value is ${value}`,
    );
  }
}

/**
 * Checks an option that is one of several strings.
 *
 * @throws {RangeError} If it is none of them.
 */
export function assertOneOf(
  name: string,
  value: string,
  allowed: readonly string[],
): void {
  if (allowed.includes(value)) return;
  throw new RangeError(
    `Cannot use "${name}" unless it is one of ${
      allowed.join(", ")
    }: current value is ${value}`,
  );
}

function isSendableCode(code: number, side: "server" | "client"): boolean {
  if (!Number.isInteger(code)) return false;
  if (code === 1000 || (code >= 3000 && code <= 4999)) return true;
  return side === "server" &&
    ((code >= 1001 && code <= 1003) || (code >= 1007 && code <= 1013));
}

/**
 * An error for an operation that failed because the connection is closing or has ended: a
 * late `send`, or a request or another promise that was still pending.
 *
 * @example Distinguish a late send from other errors
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
  /** The name of the error: `ConnectionEndedError`. */
  override readonly name = "ConnectionEndedError";
  /** How the connection ended; undefined while it is still closing. */
  readonly end: ConnectionEnd | undefined;

  /**
   * Creates the error.
   *
   * @param message The error message.
   * @param end How the connection ended; undefined while it is still closing.
   */
  constructor(message: string, end?: ConnectionEnd) {
    super(message);
    this.end = end;
  }
}

/**
 * An error for a message that was dropped, or whose replacement was dropped, under its
 * `overflow` policy, because the peer receives messages more slowly than they are sent. It
 * will not be sent.
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
  /** The name of the error: `MessageDroppedError`. */
  override readonly name = "MessageDroppedError";
}

/**
 * The kind of failure that prevented a client from connecting:
 *
 * - `refused`: the server refused the connection, with an HTTP status, or with a close
 *   code and a reason; or the policy of the page forbids it.
 * - `unreachable`: there is no such host, nothing listens there, or the connection was
 *   lost before the server answered.
 * - `timeout`: there was no response in time.
 * - `tls`: the TLS handshake failed, for example because of the certificate.
 * - `protocol`: the response was not a valid opening handshake (RFC 6455, section 4.2.2),
 *   or both ends have no subprotocol or codec in common.
 */
export type ConnectErrorKind =
  | "refused"
  | "unreachable"
  | "timeout"
  | "tls"
  | "protocol";

/** The details of a failure to connect. */
export interface ConnectErrorDetails extends ErrorOptions {
  /** The kind of failure; undefined if it is unknown. */
  readonly kind?: ConnectErrorKind | undefined;
  /** The HTTP status of the refusal; undefined if there was none, or it is unknown. */
  readonly status?: number | undefined;
  /** The close code of a server that accepted the connection only to refuse it. */
  readonly code?: number | undefined;
  /** The reason that came with the close code. */
  readonly reason?: string | undefined;
}

/**
 * An error for a connection that could not be established. The `cause` is the error of the
 * runtime, if any.
 *
 * Deno, Node (from 22.3) and Bun reveal the HTTP status and the kind of failure. Browsers
 * reveal neither (WHATWG WebSockets, "fail the WebSocket connection"): there only a
 * server that accepts the connection to close it can say why.
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
 *   if (error.status === 401 || error.code === 4401) console.log("log in first");
 *   else console.log(`${error.url} cannot be reached`, error.kind);
 * }
 * ```
 */
export class ConnectError extends Error {
  /** The name of the error: `ConnectError`. */
  override readonly name = "ConnectError";
  /** The URL, without user name, password, query and fragment. */
  readonly url: string;
  /**
   * The kind of failure; undefined if the runtime does not say, or if the client itself
   * gave up.
   */
  readonly kind: ConnectErrorKind | undefined;
  /** The HTTP status of the refusal; undefined if there was none, or it is unknown. */
  readonly status: number | undefined;
  /**
   * The close code of a server that accepted the connection only to refuse it; undefined
   * if there was none.
   */
  readonly code: number | undefined;
  /** The reason that came with the close code; an empty string if there was none. */
  readonly reason: string;

  /**
   * Creates the error.
   *
   * @param message The error message.
   * @param url The URL, without credentials and query.
   * @param details The details of the failure.
   */
  constructor(
    message: string,
    url: string,
    details: ConnectErrorDetails = {},
  ) {
    super(message, "cause" in details ? { cause: details.cause } : {});
    this.url = url;
    this.kind = details.kind;
    this.status = details.status;
    this.code = details.code;
    this.reason = details.reason ?? "";
  }
}

/**
 * A request failed. A handler that throws a `RequestError` sends its message and code to
 * the peer. Any other error of a handler stays on this side, and the peer gets the code
 * `internal`.
 *
 * This library uses these codes:
 *
 * - `internal`: the handler failed.
 * - `unhandled`: there is neither a handler for the request nor a `message` listener.
 * - `invalid`: the request does not match the schema of the receiver.
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
  /** The name of the error: `RequestError`. */
  override readonly name = "RequestError";
  /** The machine-readable code; undefined if there is none. */
  readonly code: string | undefined;

  /**
   * Creates the error.
   *
   * @param message The human-readable reason.
   * @param code The machine-readable code.
   */
  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/**
 * A resolved promise, shared so that it costs nothing. A listener that returns it need
 * not be awaited.
 */
export const RESOLVED: Promise<void> = Promise.resolve();

/**
 * Prevents an unhandled rejection if nobody awaits the promise, and returns the same
 * promise. A peer decides when a connection ends, and must not thereby end the process.
 */
export function ignoreRejection<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Returns a promise that rejects, and whose rejection is never unhandled. */
export function rejected(reason: unknown): Promise<never> {
  return ignoreRejection(Promise.reject(reason));
}

/** Whether a value has a method `then`. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value &&
    typeof value.then === "function";
}
