/**
 * Decides which requests are upgraded to a WebSocket: handshake, path, origin, connection
 * limits and `authorize`. It handles requests and responses, not sockets.
 *
 * @module
 */

import { isGone, type RequestInfo } from "../runtime/deno_server.ts";
import { networkOf, remoteAddressOf } from "./remote_address.ts";
import {
  checkHandshake,
  listElements,
  type Refusal,
  TOKEN_PATTERN,
} from "./handshake.ts";
import { printable } from "../util/printable.ts";
import { assertOption, assertSize, isThenable } from "../events/errors.ts";
import {
  negotiate,
  type SelectedSubprotocol,
  type SubprotocolSupport,
} from "../protocol/subprotocol.ts";
import { startTimer } from "../util/timer.ts";

/** The second argument of `authorize`: more about the request. */
export interface AuthorizeInfo extends Pick<RequestInfo, "remoteAddr"> {
  /** The address of the client, as later in `client.remoteAddress`. */
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
 * The allowed origins or paths: a list, or a function that returns `true` for an allowed
 * value. In a list, a string must be equal to the value, and a pattern must match all of it
 * (`/https:\\/\\/.*\\.example\\.com/` does not match `https://a.example.com.evil.net`).
 */
export type AllowList =
  | readonly (string | RegExp)[]
  | ((value: string, request: Request) => boolean);

/**
 * Options of authentication, origins and connection limits.
 *
 * @typeParam Context The type that `authorize` returns.
 */
export interface AdmissionOptions<Context = unknown> {
  /**
   * The origins of the pages that may connect, such as `https://example.com`. Pages of
   * other origins are refused with 403. Browsers always send the `Origin` header, and
   * pages cannot change it; most other programs send none, and are not refused for that:
   * they could send any.
   *
   * By default all origins may connect, but a page of another site is refused if its
   * request carries `Cookie` or `Authorization`: a browser adds those to the requests of
   * all pages, so that any site could act as the user (cross-site WebSocket hijacking).
   * Same site means {@linkcode sameOrigin}, or that both are on this machine, as in
   * `http://localhost:5173` and `ws://127.0.0.1:3000`. `() => true` allows all.
   */
  readonly origins?: AllowList;
  /**
   * The paths of the WebSocket endpoints, without the query; requests for others are
   * refused with 404. All paths by default. Paths are compared as `new URL()` writes
   * them, so that `/café` and `/caf%C3%A9` are the same.
   */
  readonly paths?: AllowList;
  /**
   * The subprotocols that the server supports. The server selects the first one of the
   * client's list that it supports. A client that requests only others is admitted
   * without a subprotocol; a browser then fails the connection.
   *
   * @default {[]}
   */
  readonly protocols?: readonly string[];
  /**
   * Decides whether a request is admitted, after all other checks. Only a truthy value
   * admits; it becomes `client.context`. A falsy value refuses with 403. A `Response`
   * that is returned or thrown refuses, and is sent to the client. An `Error` that is
   * returned refuses with 403. If it throws or rejects with anything else, the response is
   * 500. Errors are emitted as an `error` event and never sent to the client.
   *
   * @param request The upgrade request.
   * @param info The address, the path, and the headers of the response.
   * @returns The context of the client, or a `Response` to refuse.
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
  ) => Context | Response | Promise<Context | Response>;
  /**
   * The timeout of `authorize`, in milliseconds. The response is then 504.
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
   * The maximum number of connections from one address; for IPv6, from one /64 network,
   * which is what one subscriber has. Further requests get 429 with `Retry-After`. All
   * clients whose address is unknown share one limit.
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

/** A request that was admitted. It counts as a connection until it is released. */
export interface AdmittedRequest {
  /** The URL of the request, with an HTTP scheme. */
  readonly url: string;
  /** Its path, without the query. */
  readonly path: string;
  /** The address of the client. */
  readonly remoteAddress: string;
  /** The selected subprotocol. */
  readonly selected: SelectedSubprotocol;
  /** The value that `authorize` returned. */
  readonly context: unknown;
  /** Headers that `authorize` adds to the response, if any. */
  readonly responseHeaders?: Headers | undefined;
}

/** The decision on a request. */
export type AdmissionResult =
  | { readonly refusal: Refusal; readonly remoteAddress: string }
  | { readonly admitted: AdmittedRequest };

/**
 * Whether a page has the same host and port as the WebSocket endpoint; for use as
 * {@linkcode AdmissionOptions.origins}. A page that was loaded over `http:` does not have
 * the same origin as a `wss:` endpoint. Behind a proxy that terminates TLS, the scheme is
 * unknown, and only hosts are compared. The proxy must forward the `Host` header unchanged.
 *
 * @param origin The origin of the page.
 * @param request The upgrade request.
 * @returns Whether the origins are the same.
 *
 * @example
 * ```ts
 * import { sameOrigin, ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket({ origins: sameOrigin });
 * ```
 */
export function sameOrigin(origin: string, request: Request): boolean {
  const page = URL.parse(origin);
  const host = request.headers.get("host");
  // An attacker on the network may have modified an unencrypted page.
  const isDowngrade = page?.protocol === "http:" &&
    request.url.startsWith("https:");
  // Only one of them may include the default port.
  return page !== null && host !== null && !isDowngrade &&
    page.host === URL.parse(`${page.protocol}//${host}`)?.host;
}

/**
 * The maximum length of a URL, in characters. It is kept for the life of the connection.
 * Most proxies have a similar limit.
 */
const MAX_URL_LENGTH = 8192;

/**
 * The default of `origins`: refuses a page of another site if its request carries
 * credentials, which browsers add by themselves.
 */
function sameSiteIfCredentials(origin: string, request: Request): boolean {
  const { headers } = request;
  const hasCredentials = headers.has("cookie") || headers.has("authorization");
  return !hasCredentials || sameOrigin(origin, request) ||
    isLoopback(URL.parse(origin)?.hostname) &&
      isLoopback(URL.parse(`http://${headers.get("host")}`)?.hostname);
}

function isLoopback(hostname: string | undefined): boolean {
  return hostname !== undefined &&
    /^(?:(?:.+\.)?localhost\.?|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}

/** The `Retry-After` of a request that exceeds a limit, in seconds. */
const RETRY_AFTER_SECONDS = 5;

/**
 * Decides which requests may become a WebSocket.
 *
 * @typeParam Context The type that `authorize` returns.
 */
export class Admission<Context> {
  readonly #isOrigin: Matcher;
  /** Whether the option `origins` is set. */
  readonly #hasOrigins: boolean;
  readonly #isPath: Matcher | undefined;
  readonly #protocols: readonly string[];
  readonly #support: SubprotocolSupport;
  readonly #authorize: AdmissionOptions<Context>["authorize"];
  readonly #authorizeTimeout: number;
  readonly #trustProxy: number;
  readonly #limits: ConnectionLimits;
  readonly #onError: (error: unknown) => void;
  /** The response to all requests after `close`. */
  #closed: Refusal | undefined;

  /**
   * Validates the options.
   *
   * @param onError Called with the errors of `authorize`.
   * @throws {RangeError} If a number is negative or `NaN`.
   * @throws {TypeError} If an origin or a path could never match.
   */
  constructor(
    options: AdmissionOptions<Context>,
    support: SubprotocolSupport,
    onError: (error: unknown) => void,
  ) {
    const {
      protocols = [],
      authorizeTimeout = 10_000,
      maxConnections = Infinity,
      maxConnectionsPerAddress = Infinity,
      trustProxy = 0,
    } = options;
    const numbers = {
      authorizeTimeout,
      maxConnections,
      maxConnectionsPerAddress,
      trustProxy,
    };
    for (const [name, value] of Object.entries(numbers)) {
      assertSize(name, value);
    }
    assertOption("authorize", options.authorize, "function");
    assertSubprotocols("protocols", protocols, "chat");
    assertSubprotocols("keepHeaders", options.keepHeaders ?? [], "user-agent");
    this.#isOrigin = compileMatcher("origins", options.origins, assertOrigin) ??
      sameSiteIfCredentials;
    this.#hasOrigins = options.origins !== undefined;
    this.#isPath = compileMatcher("paths", options.paths, assertPath);
    this.#protocols = protocols;
    this.#support = support;
    this.#authorize = options.authorize;
    this.#authorizeTimeout = authorizeTimeout;
    this.#trustProxy = trustProxy;
    this.#limits = new ConnectionLimits(
      maxConnections,
      maxConnectionsPerAddress,
    );
    this.#onError = onError;
  }

  /** The response to all requests after `close`. */
  get closed(): Refusal | undefined {
    return this.#closed;
  }

  /**
   * Refuses all requests from now on, including those that `authorize` is deciding on.
   *
   * @param retryAfter The `Retry-After` of the responses, in seconds.
   */
  close(retryAfter: number = RETRY_AFTER_SECONDS): void {
    const headers = { "retry-after": `${retryAfter}` };
    this.#closed = {
      status: 503,
      reason: "The server is shutting down",
      headers,
    };
  }

  /**
   * Decides on a request. The caller must {@linkcode Admission.release} an admitted
   * request in the end.
   *
   * @returns The decision; a promise only if `authorize` returns one. It never rejects.
   */
  admit(
    request: Request,
    info: RequestInfo = {},
  ): AdmissionResult | Promise<AdmissionResult> {
    const { headers } = request;
    const remoteAddress = remoteAddressOf(headers, info, this.#trustProxy);
    const url = urlOf(request);
    if (url === undefined) return { refusal: INVALID_URL, remoteAddress };
    const path = url.pathname;
    const requested = listElements(headers.get("sec-websocket-protocol"));
    const selected = negotiate(requested, this.#protocols, this.#support);
    const refusal = this.#closed ?? checkHandshake(request) ??
      this.#checkRequest(request, path);
    if (refusal !== undefined) return { refusal, remoteAddress };
    if (typeof selected === "string") {
      return { refusal: { status: 400, reason: selected }, remoteAddress };
    }
    const full = this.#limits.acquire(remoteAddress);
    if (full !== undefined) return { refusal: full, remoteAddress };
    const admitted: AdmittedRequest = {
      url: url.href,
      path,
      remoteAddress,
      selected,
      context: undefined,
    };
    const authorize = this.#authorize;
    if (authorize === undefined) return { admitted };
    // Copied by name: Deno's own info has getters, which a spread leaves out.
    const { remoteAddr } = info;
    let responseHeaders: Headers | undefined;
    const about: AuthorizeInfo = {
      ...remoteAddr !== undefined && { remoteAddr },
      remoteAddress,
      path,
      get responseHeaders() {
        return responseHeaders ??= new Headers();
      },
    };
    const decide = (result: unknown) =>
      this.#decide({ ...admitted, responseHeaders }, result);
    try {
      const result = authorize(request, about);
      return isThenable(result)
        ? this.#awaitDecision(
          request,
          admitted,
          Promise.resolve(result),
          decide,
        )
        : decide(result);
    } catch (error) {
      return this.#rejectOnThrown(admitted, error);
    }
  }

  /**
   * Waits a moment, then checks that the client is still there. If not, the request is
   * refused and released.
   *
   * @param verdict The decision of {@linkcode Admission.admit}.
   */
  async confirm(
    request: Request,
    verdict: AdmissionResult,
  ): Promise<AdmissionResult> {
    if ("refusal" in verdict) return verdict;
    const isLeft = await isGone(request, 5 + 20 * Math.random());
    return isLeft ? this.#reject(verdict.admitted, CLIENT_GONE) : verdict;
  }

  /** Stops counting a connection from this address. */
  release(remoteAddress: string): void {
    this.#limits.release(remoteAddress);
  }

  /** Checks the path and the origin. */
  #checkRequest(request: Request, path: string): Refusal | undefined {
    if (request.url.length > MAX_URL_LENGTH) {
      const reason =
        `The URL of a WebSocket may have at most ${MAX_URL_LENGTH} characters`;
      return { status: 414, reason };
    }
    if (hasDotSegments(request.url)) return DOT_SEGMENTS;
    if (this.#isPath && this.#isPath(path, request) !== true) {
      return {
        status: 404,
        reason: `There is no WebSocket at ${printable(path)}`,
      };
    }
    const origin = request.headers.get("origin");
    if (origin === null || this.#isOrigin(origin, request) === true) {
      return undefined;
    }
    const page = printable(origin);
    const reason = `Pages from ${page} may not connect to this server`;
    if (this.#hasOrigins) return { status: 403, reason };
    const advice =
      `Refused a page from ${page}, as it is of another site and its request carries credentials: add its origin to the option "origins" if it may act as the user`;
    return { status: 403, reason, advice };
  }

  /** Waits for the promise of `authorize`. */
  async #awaitDecision(
    request: Request,
    admitted: AdmittedRequest,
    pending: Promise<unknown>,
    decide: (result: unknown) => AdmissionResult,
  ): Promise<AdmissionResult> {
    const expired = Promise.withResolvers<typeof TIMED_OUT>();
    const timer = startTimer(
      () => expired.resolve(TIMED_OUT),
      this.#authorizeTimeout,
    );
    try {
      const result = await Promise.race([pending, expired.promise]);
      if (result === TIMED_OUT) pending.catch(this.#onError);
      const isAdmitted = (this.#closed ?? refusalFor(result)) === undefined;
      if (isAdmitted && await isGone(request)) {
        return this.#reject(admitted, CLIENT_GONE);
      }
      return decide(result);
    } catch (error) {
      return this.#rejectOnThrown(admitted, error);
    } finally {
      clearTimeout(timer);
    }
  }

  #decide(admitted: AdmittedRequest, result: unknown): AdmissionResult {
    const refusal = this.#closed ?? refusalFor(result) ??
      refusalForHeaders(admitted.responseHeaders);
    if (!refusal) return { admitted: { ...admitted, context: result } };
    if (refusal.error !== undefined) this.#onError(refusal.error);
    return this.#reject(admitted, refusal);
  }

  #rejectOnThrown(admitted: AdmittedRequest, thrown: unknown): AdmissionResult {
    if (isResponseLike(thrown)) return this.#decide(admitted, thrown);
    this.#onError(thrown);
    return this.#reject(admitted, INTERNAL_ERROR);
  }

  #reject(
    { remoteAddress }: AdmittedRequest,
    refusal: Refusal,
  ): AdmissionResult {
    this.#limits.release(remoteAddress);
    return { refusal, remoteAddress };
  }
}

/** The refusal of a request with an invalid URL. */
export const INVALID_URL: Refusal = {
  status: 400,
  reason: "Cannot make sense of the URL, or of the Host header",
};

/** Returns the URL of a request, if valid. Deno throws if the `Host` header is not. */
export function urlOf(request: Request): URL | undefined {
  try {
    return new URL(request.url);
  } catch {
    return undefined;
  }
}

/** A dot segment (RFC 3986, section 3.3), which a URL parser resolves. */
const DOT_SEGMENT = /(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\?#]|$)/i;

const DOT_SEGMENTS: Refusal = {
  status: 400,
  reason:
    'Cannot answer for a path with the segments "." or "..": resolve them',
};

/**
 * Whether the path, as the client sent it, has dot segments. A proxy that restricts access
 * by path may not have resolved them.
 */
function hasDotSegments(url: string): boolean {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return false;
  const end = url.slice(start).search(/[?#]/);
  return DOT_SEGMENT.test(url.slice(start, end < 0 ? undefined : start + end));
}

/** Percent-encoding is case-insensitive (RFC 3986, section 6.2.2.1). */
function withUpperCaseHex(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (code) => code.toUpperCase());
}

/** Returns the refusal for a result of `authorize`, if it does not admit. */
function refusalFor(result: unknown): Refusal | undefined {
  if (result === TIMED_OUT) {
    return { status: 504, reason: "The authorization took too long" };
  }
  if (isResponseLike(result)) return refusalFromResponse(result);
  if (isErrorLike(result)) return { ...FORBIDDEN, error: result };
  return result ? undefined : FORBIDDEN;
}

const FORBIDDEN: Refusal = { status: 403, reason: "Not authorized" };

/** The properties of any `Response`, including those of other realms and of packages. */
interface ResponseLike {
  readonly status: number;
  readonly headers: object;
}

function isResponseLike(value: unknown): value is ResponseLike {
  return typeof value === "object" && value !== null &&
    (value instanceof Response ||
      "status" in value && typeof value.status === "number" &&
        "headers" in value && typeof value.headers === "object" &&
        value.headers !== null && "get" in value.headers &&
        typeof value.headers.get === "function");
}

function isErrorLike(value: unknown): boolean {
  return value instanceof Error ||
    /^\[object (?:Error|DOMException)\]$/.test(
      Object.prototype.toString.call(value),
    );
}

/** Refuses with the response of `authorize`. */
function refusalFromResponse(answer: ResponseLike): Refusal {
  const { status } = answer;
  const reason = `The authorization answered with ${status}`;
  if (!(status >= 200 && status <= 599)) { // such as that of `Response.error()`
    return {
      ...INTERNAL_ERROR,
      error: new TypeError(
        `Cannot answer a request with a Response of status ${status}: use one from 200 to 599`,
      ),
    };
  }
  if (!(answer instanceof Response)) return { status, reason };
  try {
    // A copy, as an application may return the same response each time.
    return { status, reason, response: answer.clone() };
  } catch (cause) { // its body was read
    const error = new TypeError(
      `Cannot answer a request with a Response whose body was read already: authorize has to make a new one for each request (its status was ${status})`,
      { cause },
    );
    return { status, reason, error };
  }
}

/** Returns the refusal for invalid response headers set by `authorize`, if any. */
function refusalForHeaders(headers: Headers | undefined): Refusal | undefined {
  for (const name of headers?.keys() ?? []) {
    if (!HANDSHAKE_HEADER.test(name)) continue;
    const error = new TypeError(
      `Cannot set the header "${name}" of the upgrade: it belongs to the handshake`,
    );
    return { ...INTERNAL_ERROR, error };
  }
  return undefined;
}

const HANDSHAKE_HEADER =
  /^(?:connection|upgrade|content-length|transfer-encoding|keep-alive|te|trailer|sec-websocket-.*)$/i;

/** The response to an error of the application, without details. */
export const INTERNAL_ERROR: Refusal = {
  status: 500,
  reason: "Internal server error",
};

const TIMED_OUT = Symbol("late");

const CLIENT_GONE: Refusal = {
  status: 499,
  reason: "The client went away before it was let in",
};

/** Counts connections, in total and per network. */
class ConnectionLimits {
  readonly #max: number;
  readonly #maxPerAddress: number;
  #count = 0;
  readonly #countByNetwork = new Map<string, number>();

  constructor(max: number, maxPerAddress: number) {
    this.#max = max;
    this.#maxPerAddress = maxPerAddress;
  }

  acquire(remoteAddress: string): Refusal | undefined {
    const headers = { "retry-after": `${RETRY_AFTER_SECONDS}` };
    if (this.#count >= this.#max) {
      return { status: 503, reason: "There are too many connections", headers };
    }
    if (this.#maxPerAddress < Infinity) {
      const network = networkOf(remoteAddress);
      const taken = this.#countByNetwork.get(network) ?? 0;
      if (taken >= this.#maxPerAddress) {
        const reason = `There are too many connections from ${network}`;
        return { status: 429, reason, headers };
      }
      this.#countByNetwork.set(network, taken + 1);
    }
    this.#count++;
    return undefined;
  }

  release(remoteAddress: string): void {
    this.#count--;
    if (this.#maxPerAddress === Infinity) return;
    const network = networkOf(remoteAddress);
    const taken = (this.#countByNetwork.get(network) ?? 0) - 1;
    if (taken > 0) this.#countByNetwork.set(network, taken);
    else this.#countByNetwork.delete(network);
  }
}

type Matcher = (value: string, request: Request) => boolean;

/** Checks a list of tokens, as subprotocols and header names must be. */
function assertSubprotocols(
  name: string,
  tokens: readonly string[],
  example: string,
): void {
  const all: readonly unknown[] = Array.isArray(tokens) ? tokens : [undefined];
  for (const one of all) {
    if (typeof one === "string" && TOKEN_PATTERN.test(one)) continue;
    throw new TypeError(
      `Cannot use "${name}" unless it is a list of tokens, as in ["${example}"]: current value is ${
        JSON.stringify(tokens)
      }`,
    );
  }
}

function compileMatcher(
  name: string,
  allowed: AllowList | undefined,
  assertEntry: (value: string) => string,
): Matcher | undefined {
  if (allowed === undefined || typeof allowed === "function") return allowed;
  const isList: boolean = Array.isArray(allowed);
  if (!isList) {
    throw new TypeError(
      `Cannot use "${name}" unless it is a list or a function: current value is of type ${typeof allowed}`,
    );
  }
  const strings = new Set<string>();
  const patterns: RegExp[] = [];
  for (const one of allowed) {
    if (typeof one === "string") {
      strings.add(assertEntry(one));
    } else if (!(one instanceof RegExp)) {
      throw new TypeError(
        `Cannot use what is neither a string nor a pattern among "${name}": current value is ${one}`,
      );
    } else {
      // Matches the whole value, without the flags that make a pattern stateful.
      const flags = one.flags.replace(/[gy]/g, "");
      patterns.push(new RegExp(`^(?:${one.source})$`, flags));
    }
  }
  return (value) =>
    strings.has(withUpperCaseHex(value)) ||
    patterns.some((pattern) => pattern.test(value));
}

function assertOrigin(origin: string): string {
  if (origin === "null") return origin; // what sandboxed pages and files send
  const url = URL.parse(origin);
  const isWeb = url?.protocol === "http:" || url?.protocol === "https:";
  const expected = isWeb
    ? url.origin
    : /^[a-z][a-z0-9+.-]*:\/\/[^/?#]+/.exec(origin)?.[0];
  if (expected !== origin) {
    throw new TypeError(
      `Cannot use "${origin}" among "origins" as no page has that origin: ${
        expected === undefined
          ? "write one as in https://example.com, or use () => true to allow all"
          : `write "${expected}"`
      }`,
    );
  }
  return origin;
}

/** Returns the path as requests have it. */
function assertPath(path: string): string {
  const url = URL.parse(path, "ws://localhost");
  const isPath = path.startsWith("/") && !path.startsWith("//") &&
    url !== null && url.search === "" && url.hash === "" &&
    !/[?#]/.test(path) && !hasDotSegments(url.protocol + "//h" + path);
  if (!isPath) {
    throw new TypeError(
      `Cannot use "${path}" among "paths" as no request has that path: write it as in /live, without a query`,
    );
  }
  return withUpperCaseHex(url.pathname);
}
