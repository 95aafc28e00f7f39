/**
 * Decides which requests are upgraded to a WebSocket: handshake, path, origin, connection
 * limits and `authorize`. It handles requests and responses, not sockets.
 *
 * @module
 */

import { isGone, type RequestInfo } from "../runtime/deno_server.ts";
import type { AdmissionOptions, AuthorizeInfo } from "./admission_options.ts";
import { compileMatcher, type Matcher } from "./allow_list.ts";
import {
  INTERNAL_ERROR,
  isResponseLike,
  refusalFor,
  refusalForHeaders,
  TIMED_OUT,
} from "./authorization.ts";
import { CloseRefusal, refusalSubprotocol } from "./close_refusal.ts";
import { ConnectionLimits, RETRY_AFTER_SECONDS } from "./connection_limits.ts";
import { EXPIRED_REASON, toDeadline } from "./expiry.ts";
import { assertOrigin, checkOrigin, sameSiteIfCredentials } from "./origins.ts";
import {
  assertPath,
  assertPathPattern,
  DOT_SEGMENTS,
  hasDotSegments,
  INVALID_URL,
  urlOf,
} from "./paths.ts";
import { remoteAddressOf } from "./remote_address.ts";
import {
  checkHandshake,
  listElements,
  type Refusal,
  TOKEN_PATTERN,
} from "./handshake.ts";
import { printable } from "../util/printable.ts";
import {
  assertOption,
  assertSize,
  CloseCode,
  isThenable,
} from "../events/errors.ts";
import {
  negotiate,
  type SelectedSubprotocol,
  type SubprotocolSupport,
} from "../protocol/subprotocol.ts";
import { startTimer } from "../util/timer.ts";

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
  /** When that expires, in milliseconds since the Unix epoch; `Infinity` for never. */
  readonly expiresAt: number;
  /** Closes the connection as soon as it is open, if `authorize` refused it so. */
  readonly closeRefusal?: CloseRefusal;
  /** Headers that `authorize` adds to the response, if any. */
  readonly responseHeaders?: Headers | undefined;
}

/** The decision on a request. */
export type AdmissionResult =
  | { readonly refusal: Refusal; readonly remoteAddress: string }
  | { readonly admitted: AdmittedRequest };

/**
 * The maximum length of a URL, in characters. It is kept for the life of the connection.
 * Most proxies have a similar limit.
 */
const MAX_URL_LENGTH = 8192;

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
  readonly #expiresAt: AdmissionOptions<Context>["expiresAt"];
  readonly #authorizeTimeout: number;
  readonly #trustProxy: number;
  readonly #limits: ConnectionLimits;
  readonly #onError: (error: unknown) => void;
  /** The response to all requests after `close`. */
  #closed: Refusal | undefined;

  /**
   * Validates the options.
   *
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
    assertOption("expiresAt", options.expiresAt, "function");
    if (options.expiresAt && !options.authorize) {
      throw new TypeError(
        'Cannot use "expiresAt" without "authorize", whose result it gets',
      );
    }
    assertSubprotocols("protocols", protocols, "chat");
    assertSubprotocols("keepHeaders", options.keepHeaders ?? [], "user-agent");
    this.#isOrigin = compileMatcher("origins", options.origins, assertOrigin) ??
      sameSiteIfCredentials;
    this.#hasOrigins = options.origins !== undefined;
    this.#isPath = compileMatcher(
      "paths",
      options.paths,
      assertPath,
      assertPathPattern,
    );
    this.#protocols = protocols;
    this.#support = support;
    this.#authorize = options.authorize;
    this.#expiresAt = options.expiresAt;
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
      expiresAt: Infinity,
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
      this.#decide({ ...admitted, responseHeaders }, result, requested);
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
      return this.#rejectOnThrown(admitted, error, decide);
    }
  }

  /**
   * Waits a moment, then checks that the client is still there. If not, the request is
   * refused and released.
   */
  async confirm(
    request: Request,
    verdict: AdmissionResult,
  ): Promise<AdmissionResult> {
    if ("refusal" in verdict) return verdict;
    const hasLeft = await isGone(request, 5 + 20 * Math.random());
    return hasLeft ? this.#reject(verdict.admitted, CLIENT_GONE) : verdict;
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
        reason: `There is no WebSocket endpoint at ${printable(path)}`,
      };
    }
    return checkOrigin(request, this.#isOrigin, this.#hasOrigins);
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
      return this.#rejectOnThrown(admitted, error, decide);
    } finally {
      clearTimeout(timer);
    }
  }

  #decide(
    admitted: AdmittedRequest,
    result: unknown,
    requested: readonly string[],
  ): AdmissionResult {
    const refusal = this.#closed ?? refusalFor(result) ??
      refusalForHeaders(admitted.responseHeaders);
    if (!refusal) {
      const isRefused = result instanceof CloseRefusal;
      const expiresAt = isRefused ? Infinity : this.#deadlineOf(result);
      const closeRefusal = isRefused
        ? result
        : expiresAt <= Date.now()
        ? new CloseRefusal(CloseCode.Expired, EXPIRED_REASON)
        : undefined;
      if (!closeRefusal) {
        return { admitted: { ...admitted, context: result, expiresAt } };
      }
      const selected = refusalSubprotocol(requested, admitted.selected);
      return { admitted: { ...admitted, selected, closeRefusal } };
    }
    if (refusal.error !== undefined) this.#onError(refusal.error);
    return this.#reject(admitted, refusal);
  }

  /** When a result of `authorize` expires; `Infinity` for never. */
  #deadlineOf(context: unknown): number {
    // The type of the context is the type of what `authorize` returns.
    return toDeadline(this.#expiresAt?.(context as Context));
  }

  #rejectOnThrown(
    admitted: AdmittedRequest,
    thrown: unknown,
    decide: (result: unknown) => AdmissionResult,
  ): AdmissionResult {
    if (isResponseLike(thrown) || thrown instanceof CloseRefusal) {
      return decide(thrown);
    }
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

const CLIENT_GONE: Refusal = {
  status: 499,
  reason: "The client has disconnected",
};

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
      `Cannot use "${name}" unless it is a list of tokens such as ["${example}"]: current value is ${
        JSON.stringify(tokens)
      }`,
    );
  }
}
