/**
 * The options of authentication, origins and connection limits.
 *
 * @module
 */

import type { RequestInfo } from "../runtime/deno_server.ts";
import type { CloseRefusal } from "./close_refusal.ts";
import type { AllowList, PathPattern } from "./allow_list.ts";

/** Information about a request, the second argument of `authorize`. */
export interface AuthorizeInfo extends Pick<RequestInfo, "remoteAddr"> {
  /**
   * The address of the client: the value of `client.remoteAddress` after the upgrade.
   */
  readonly remoteAddress: string;
  /** The path of the URL, without the query. */
  readonly path: string;
  /**
   * Headers to add to the response of the upgrade (101), such as `Set-Cookie`. Headers
   * that belong to the handshake cannot be set: `Connection`, `Upgrade`,
   * `Content-Length`, `Transfer-Encoding` and those that begin with `Sec-WebSocket-`.
   * They have no effect if the request is refused.
   */
  readonly responseHeaders: Headers;
}

/**
 * Options of authentication, origins and connection limits.
 *
 * @typeParam Context The type that `authorize` returns.
 */
export interface AdmissionOptions<Context = unknown> {
  /**
   * The origins of the pages that may connect, such as `https://example.com`. Pages of
   * other origins are refused with 403. Browsers always send the `Origin` header, and
   * pages cannot change it. A request without the header is not refused, as most programs
   * other than browsers send none, and could send any.
   *
   * By default all origins may connect, but a page of another site is refused if its
   * request carries `Cookie` or `Authorization`: a browser adds them to the requests of
   * every page, so any site could act as the user (cross-site WebSocket hijacking). Two
   * origins are of the same site if {@linkcode sameOrigin} returns `true`, or if both are
   * on this machine, as in `http://localhost:5173` and `ws://127.0.0.1:3000`. `() => true`
   * allows all.
   */
  readonly origins?: AllowList;
  /**
   * The paths of the WebSocket endpoints, without the query; requests for others are
   * refused with 404. All paths by default. Paths are compared as `new URL()` writes
   * them, so that `/café` and `/caf%C3%A9` are the same. A path with variable parts is a
   * `URLPattern`, as in `new URLPattern({ pathname: "/chat/:room" })`, or a `RegExp`.
   */
  readonly paths?: AllowList | readonly (string | RegExp | PathPattern)[];
  /**
   * The subprotocols that the server supports. The server selects the first one of the
   * client's list that it supports. A client that requests only others is admitted
   * without a subprotocol; a browser then fails the connection.
   *
   * @default {[]}
   */
  readonly protocols?: readonly string[];
  /**
   * Decides whether a request is admitted, after all other checks, by what it returns:
   *
   * - A truthy value, other than those below, admits, and becomes `client.context`.
   * - A falsy value, an `Error` or a function, such as a check that was not called,
   *   refuses with 403.
   * - A `Response`, returned or thrown, refuses and is sent to the client.
   * - A {@linkcode CloseRefusal} refuses so that a browser can read why.
   * - If it throws or rejects with anything else, the response is 500.
   *
   * Errors are emitted as an `error` event and never sent to the client.
   *
   * @param request The upgrade request.
   * @param info The address, the path, and the headers of the response.
   * @returns The context of the client; or a `Response` or a `CloseRefusal` to refuse.
   *
   * @example Renew a session
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * new ServerSocket<{ context: { user: string } }>({
   *   authorize({ headers }, { responseHeaders }) {
   *     if (headers.get("cookie") !== "session=ada") {
   *       return new Response("Log in first", { status: 401 });
   *     }
   *     responseHeaders.append("set-cookie", "session=ada; Max-Age=3600; HttpOnly");
   *     return { user: "ada" };
   *   },
   * });
   * ```
   */
  readonly authorize?: (
    request: Request,
    info: AuthorizeInfo,
  ) =>
    | Context
    | Response
    | CloseRefusal
    | Promise<Context | Response | CloseRefusal>;
  /**
   * Returns the time at which a context expires: in milliseconds since the Unix epoch, or
   * as a `Date`; undefined for never. At that time the server closes the connection with
   * 4401 ({@linkcode CloseCode.Expired}), unless {@linkcode Connection.renew} has replaced
   * the context by one that expires later. A client whose context has expired already is
   * refused with the same code.
   *
   * It is called with what `authorize` returned, and with each new context. The time is
   * that of the wall clock: if the clock is set, or the machine was asleep, a connection
   * may be closed up to a minute late, but never early.
   *
   * @param context The context.
   * @returns The time.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * interface Claims {
   *   sub: string;
   *   exp: number; // of a JWT, in seconds
   * }
   * const verify = (_token: string): Claims => ({ sub: "ada", exp: 2e9 });
   *
   * const server = new ServerSocket<{ context: Claims }>({
   *   authorize: ({ headers }) => verify(headers.get("authorization") ?? ""),
   *   expiresAt: ({ exp }) => exp * 1_000,
   * });
   * server.handle("renew", ({ author, content }) => {
   *   author.renew(verify(content));
   *   return { until: author.context.exp };
   * });
   * ```
   */
  readonly expiresAt?: (context: Context) => number | Date | undefined;
  /**
   * How long `authorize` may take, in milliseconds. After that the request is refused
   * with 504.
   *
   * @default {10_000}
   */
  readonly authorizeTimeout?: number;
  /**
   * The maximum number of connections, including requests that `authorize` has not yet
   * decided on. Further requests get 503 with `Retry-After`.
   *
   * @default {Infinity}
   */
  readonly maxConnections?: number;
  /**
   * The maximum number of connections from one address. For IPv6, all addresses of a
   * /64 network count as one, because a subscriber has at least such a network. Further
   * requests get 429 with `Retry-After`. All clients whose address is unknown share one
   * limit.
   *
   * @default {Infinity}
   */
  readonly maxConnectionsPerAddress?: number;
  /**
   * The names of request headers that stay in `client.headers` for the life of the
   * connection. Other headers are available in `authorize`, and until the `connect`
   * listeners have returned and their promises have settled. Values of more than 4,096
   * characters are not kept.
   *
   * @default {[]}
   */
  readonly keepHeaders?: readonly string[];
  /**
   * The number of trusted reverse proxies in front of the server, each of which appends
   * the address of its client to `X-Forwarded-For`. The entry at this position, counted
   * from the end, is the address of the client. With 0 the header is ignored, because any
   * client could forge it.
   *
   * @default {0}
   */
  readonly trustProxy?: number;
}
