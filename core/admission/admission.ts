/**
 * Which requests may become a WebSocket: what the handshake says, where it comes
 * from, how many there are already, and what the program says. It knows requests
 * and answers, but neither sockets nor servers.
 *
 * @module
 */

import type { RequestInfo } from "../runtime/deno_server.ts";
import { addressOf, networkOf } from "./remote_address.ts";
import { type Refusal, refuse, TOKEN, tokens } from "./handshake.ts";
import { assertOption, assertSize, isThenable } from "../events/errors.ts";
import { afterTurn } from "../runtime/websocket.ts";
import { type Choice, choose, type Dialect } from "../protocol/subprotocol.ts";
import { startTimer } from "../util/timer.ts";

/** Who asks to come in, as `authorize` is told. */
export interface AuthorizeInfo extends RequestInfo {
  /** The peer's address, which `client.remoteAddress` will be. */
  readonly remoteAddress: string;
  /** The path that is asked for. */
  readonly path: string;
}

/**
 * What may come in, of origins or of paths: a string is equal, a pattern matches
 * the whole (`/https:\\/\\/.*\\.example\\.com/` does not match
 * `https://a.example.com.evil.net`), a function says true.
 */
export type Allowed =
  | readonly (string | RegExp)[]
  | ((value: string, request: Request) => boolean);

/**
 * Options that say who may come in.
 *
 * @typeParam Context What `authorize` returns.
 */
export interface AdmissionOptions<Context = unknown> {
  /**
   * The origins of the pages that may connect, such as `https://example.com`;
   * {@linkcode sameOrigin} admits those that come from the same host as the
   * socket. Pages from elsewhere get 403. A browser always tells the origin, and
   * no page can change it; other programs mostly tell none, and are admitted
   * without: they could make one up. All origins by default, so a server that
   * goes by cookies, or that only its machine or network is to reach, needs this.
   */
  readonly origins?: Allowed;
  /** The paths that sockets are at, without the query; all others get 404. All by default. */
  readonly paths?: Allowed;
  /**
   * The subprotocols that the server speaks. The first that a client asks for
   * and that stands here is spoken: the client's order counts. One that asks for
   * others only is admitted without; a browser then ends the connection itself.
   *
   * @default {[]}
   */
  readonly protocols?: readonly string[];
  /**
   * Decides who may come in, after all other checks. What it returns is
   * `client.context`. A `Response` refuses, and is the answer; so do `false`,
   * `null` and `undefined`, with 403: who is let in is let in by a value. If it
   * throws or rejects, the answer is 500, and that is an `error` event.
   *
   * @param request The request.
   * @param info Who it is from.
   * @returns What to know of the client, or why not.
   */
  readonly authorize?: (
    request: Request,
    info: AuthorizeInfo,
  ) => Context | Response | Promise<Context | Response>;
  /**
   * How long `authorize` may take, in milliseconds. The answer then is 504.
   *
   * @default {10_000}
   */
  readonly authorizeTimeout?: number;
  /**
   * How many connections there may be, those included that `authorize` has not
   * decided about. The next gets 503, and `Retry-After`.
   *
   * @default {Infinity}
   */
  readonly maxConnections?: number;
  /**
   * How many connections there may be from one address; of IPv6 from one network
   * of 64 bits, which is what one subscriber has. The next gets 429, and
   * `Retry-After`. All whose address is not known count as one.
   *
   * @default {Infinity}
   */
  readonly maxConnectionsPerAddress?: number;
  /**
   * Names of request headers that stay in `client.headers` for the whole life of a
   * connection. The others are there in `authorize`, and until the `connect` listeners
   * are done and their promises have settled. A value of more than 4,096 characters is
   * not kept.
   *
   * @default {[]}
   */
  readonly keepHeaders?: readonly string[];
  /**
   * How many proxies stand in front, each of which adds the address that it sees
   * to `X-Forwarded-For`. So many entries from its end are trusted, and the last
   * of them is the client's address. With 0 the header is not looked at, as then
   * anybody could write it.
   *
   * @default {0}
   */
  readonly trustProxy?: number;
}

/** A request that may become a WebSocket. It has taken a place. */
export interface Admitted {
  /** The URL that was asked for, as one of HTTP. */
  readonly url: string;
  /** Its path, without the query. */
  readonly path: string;
  /** The peer's address. */
  readonly remoteAddress: string;
  /** The subprotocol to speak. */
  readonly choice: Choice;
  /** What `authorize` has returned. */
  readonly context: unknown;
}

/** What comes of a request. */
export type Verdict =
  | { readonly refusal: Refusal; readonly remoteAddress: string }
  | { readonly admitted: Admitted };

/**
 * Whether a page comes from the same host and port as the socket that it asks
 * for, for {@linkcode AdmissionOptions.origins}. A page that came in the clear may
 * not connect to a socket that does not; behind a proxy that does TLS nobody can
 * tell. Such a proxy has to pass the `Host` header on as it is.
 *
 * @param origin The origin of the page.
 * @param request The request.
 * @returns True if so.
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
  // Somebody else may have written a page that came in the clear.
  const isInClear = page?.protocol === "http:" &&
    request.url.startsWith("https:");
  // A default port may stand in one of them and not in the other.
  return page !== null && host !== null && !isInClear &&
    page.host === URL.parse(`${page.protocol}//${host}`)?.host;
}

/**
 * The longest URL of a WebSocket, in characters. It is kept as long as the connection.
 * Most proxies refuse longer ones, too.
 */
const MAX_URL_LENGTH = 8192;

/** When those who find no place may come again, in seconds. */
const RETRY_AFTER = 5;

/**
 * Decides which requests may become a WebSocket.
 *
 * @typeParam Context What `authorize` returns.
 */
export class Admission<Context> {
  readonly #isOrigin: Match | undefined;
  readonly #isPath: Match | undefined;
  readonly #protocols: readonly string[];
  readonly #dialect: Dialect;
  readonly #authorize: AdmissionOptions<Context>["authorize"];
  readonly #authorizeTimeout: number;
  readonly #trustProxy: number;
  readonly #places: Places;
  readonly #failed: (error: unknown) => void;
  /** The answer to all, once it is closed. */
  #closed: Refusal | undefined;

  /**
   * Creates a door that is open.
   *
   * @param options Who may come in.
   * @param dialect What the server speaks.
   * @param failed Hears of what `authorize` throws.
   * @throws {RangeError} If a number is negative or none.
   * @throws {TypeError} If an origin or a path could never match.
   */
  constructor(
    options: AdmissionOptions<Context>,
    dialect: Dialect,
    failed: (error: unknown) => void,
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
    assertTokens("protocols", protocols, "chat");
    assertTokens("keepHeaders", options.keepHeaders ?? [], "user-agent");
    this.#isOrigin = matcher("origins", options.origins, checkOrigin);
    this.#isPath = matcher("paths", options.paths, checkPath);
    this.#protocols = protocols;
    this.#dialect = dialect;
    this.#authorize = options.authorize;
    this.#authorizeTimeout = authorizeTimeout;
    this.#trustProxy = trustProxy;
    this.#places = new Places(maxConnections, maxConnectionsPerAddress);
    this.#failed = failed;
  }

  /** The answer to all, once it is closed. */
  get closed(): Refusal | undefined {
    return this.#closed;
  }

  /**
   * From now on nobody is admitted, not even who is being decided about.
   *
   * @param retryAfter When to come again, in seconds.
   */
  close(retryAfter: number = RETRY_AFTER): void {
    const headers = { "retry-after": `${retryAfter}` };
    this.#closed = { status: 503, why: "The server is shutting down", headers };
  }

  /**
   * Decides about a request. Whoever is admitted has to
   * {@linkcode Admission.leave} in the end.
   *
   * @param request The request.
   * @param info Who it is from.
   * @returns What comes of it; a promise only if `authorize` gives one. It never
   * rejects.
   */
  admit(
    request: Request,
    info: RequestInfo = {},
  ): Verdict | Promise<Verdict> {
    const { headers } = request;
    const remoteAddress = addressOf(headers, info, this.#trustProxy);
    const url = urlOf(request);
    if (url === undefined) return { refusal: NO_URL, remoteAddress };
    const path = url.pathname;
    const asked = tokens(headers.get("sec-websocket-protocol"));
    const choice = choose(asked, this.#protocols, this.#dialect);
    const refusal = this.#closed ?? refuse(request) ??
      this.#judge(request, path);
    if (refusal !== undefined) return { refusal, remoteAddress };
    if (typeof choice === "string") {
      return { refusal: { status: 400, why: choice }, remoteAddress };
    }
    const full = this.#places.take(remoteAddress);
    if (full !== undefined) return { refusal: full, remoteAddress };
    const admitted: Admitted = {
      url: url.href,
      path,
      remoteAddress,
      choice,
      context: undefined,
    };
    const authorize = this.#authorize;
    if (authorize === undefined) return { admitted };
    try {
      // One by one: Deno's own info has getters, which a spread leaves out.
      const { remoteAddr } = info;
      const from = remoteAddr === undefined ? {} : { remoteAddr };
      const said = authorize(request, { ...from, remoteAddress, path });
      return isThenable(said)
        ? this.#decideLater(request, admitted, Promise.resolve(said))
        : this.#decide(admitted, said);
    } catch (error) {
      return this.#decideFor(error, admitted);
    }
  }

  /**
   * Gives a place back.
   *
   * @param remoteAddress Whose.
   */
  leave(remoteAddress: string): void {
    this.#places.leave(remoteAddress);
  }

  /** What the request says of itself. */
  #judge(request: Request, path: string): Refusal | undefined {
    if (request.url.length > MAX_URL_LENGTH) {
      const why =
        `The URL of a WebSocket may have at most ${MAX_URL_LENGTH} characters`;
      return { status: 414, why };
    }
    if (this.#isPath && this.#isPath(path, request) !== true) {
      return { status: 404, why: `There is no WebSocket at ${path}` };
    }
    const origin = request.headers.get("origin");
    const isForeign = origin !== null && this.#isOrigin &&
      this.#isOrigin(origin, request) !== true;
    if (isForeign) {
      const why = `Pages from ${origin} may not connect to this server`;
      return { status: 403, why };
    }
    return undefined;
  }

  /** Waits for what the program says. */
  async #decideLater(
    request: Request,
    admitted: Admitted,
    saying: Promise<unknown>,
  ): Promise<Verdict> {
    const late = Promise.withResolvers<typeof LATE>();
    const timer = startTimer(() => late.resolve(LATE), this.#authorizeTimeout);
    try {
      const said = await Promise.race([saying, late.promise]);
      if (said === LATE) saying.catch(this.#failed);
      const isFavourable = (this.#closed ?? refuseFor(said)) === undefined;
      if (isFavourable && await isGone(request)) {
        return this.#turnAway(admitted, GONE);
      }
      return this.#decide(admitted, said);
    } catch (error) {
      return this.#decideFor(error, admitted);
    } finally {
      clearTimeout(timer);
    }
  }

  #decide(admitted: Admitted, said: unknown): Verdict {
    const refusal = this.#closed ?? refuseFor(said);
    if (refusal === FAILURE) {
      this.#failed(
        new TypeError(
          "Cannot answer a request with Response.error(): give it a Response that has a status",
        ),
      );
    }
    return refusal
      ? this.#turnAway(admitted, refusal)
      : { admitted: { ...admitted, context: said } };
  }

  #decideFor(error: unknown, admitted: Admitted): Verdict {
    this.#failed(error);
    return this.#turnAway(admitted, FAILURE);
  }

  #turnAway({ remoteAddress }: Admitted, refusal: Refusal): Verdict {
    this.#places.leave(remoteAddress);
    return { refusal, remoteAddress };
  }
}

/** What is told of a URL that is none. */
export const NO_URL: Refusal = {
  status: 400,
  why: "Cannot make sense of the URL, or of the Host header",
};

/**
 * The URL of a request. Deno throws where the `Host` header is none.
 *
 * @param request The request.
 * @returns The URL, if it has one.
 */
export function urlOf(request: Request): URL | undefined {
  try {
    return new URL(request.url);
  } catch {
    return undefined;
  }
}

/** Why what `authorize` has returned lets nobody in, if so. */
function refuseFor(context: unknown): Refusal | undefined {
  if (context === LATE) {
    const why = "It took too long to find out whether you may come in";
    return { status: 504, why };
  }
  if (context instanceof Response) {
    const { status } = context;
    if (status < 200) return FAILURE; // `Response.error()` is no answer
    const why = `The server's own check answered with ${status}`;
    return { status, why, response: context };
  }
  return context === undefined || context === null || context === false
    ? { status: 403, why: "You may not come in" }
    : undefined;
}

/** What is told of a failure that is none of the peer's business. */
export const FAILURE: Refusal = { status: 500, why: "Internal server error" };

const LATE = Symbol("late");

const GONE: Refusal = {
  status: 499,
  why: "The client went away before it was let in",
};

/**
 * Whether who asked has gone away meanwhile. To upgrade such a request would cost
 * Deno a file descriptor for good: it tells nobody, and never lets go. Deno is
 * asked as late as can be, and needs a turn of the event loop to answer.
 */
async function isGone({ signal }: Request): Promise<boolean> {
  await new Promise<void>((resolve) => afterTurn(resolve));
  return signal.aborted;
}

/** How many connections there are, in all and from where. */
class Places {
  readonly #max: number;
  readonly #maxPerAddress: number;
  #taken = 0;
  readonly #takenBy = new Map<string, number>();

  constructor(max: number, maxPerAddress: number) {
    this.#max = max;
    this.#maxPerAddress = maxPerAddress;
  }

  take(remoteAddress: string): Refusal | undefined {
    const headers = { "retry-after": `${RETRY_AFTER}` };
    if (this.#taken >= this.#max) {
      return { status: 503, why: "There are too many connections", headers };
    }
    if (this.#maxPerAddress < Infinity) {
      const network = networkOf(remoteAddress);
      const taken = this.#takenBy.get(network) ?? 0;
      if (taken >= this.#maxPerAddress) {
        const why = `There are too many connections from ${network}`;
        return { status: 429, why, headers };
      }
      this.#takenBy.set(network, taken + 1);
    }
    this.#taken++;
    return undefined;
  }

  leave(remoteAddress: string): void {
    this.#taken--;
    if (this.#maxPerAddress === Infinity) return;
    const network = networkOf(remoteAddress);
    const taken = (this.#takenBy.get(network) ?? 0) - 1;
    if (taken > 0) this.#takenBy.set(network, taken);
    else this.#takenBy.delete(network);
  }
}

type Match = (value: string, request: Request) => boolean;

/** Checks a list of tokens: nothing else can be a subprotocol or the name of a header. */
function assertTokens(
  name: string,
  tokens: readonly string[],
  example: string,
): void {
  const all: readonly unknown[] = Array.isArray(tokens) ? tokens : [undefined];
  for (const one of all) {
    if (typeof one === "string" && TOKEN.test(one)) continue;
    throw new TypeError(
      `Cannot use "${name}" unless it is a list of tokens, as in ["${example}"]: current value is ${
        JSON.stringify(tokens)
      }`,
    );
  }
}

function matcher(
  name: string,
  allowed: Allowed | undefined,
  check: (value: string) => void,
): Match | undefined {
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
      check(one);
      strings.add(one);
    } else if (!(one instanceof RegExp)) {
      throw new TypeError(
        `Cannot use what is neither a string nor a pattern among "${name}": current value is ${one}`,
      );
    } else {
      // Whole, and without the flags that make a pattern remember its last match.
      const flags = one.flags.replace(/[gy]/g, "");
      patterns.push(new RegExp(`^(?:${one.source})$`, flags));
    }
  }
  return (value) =>
    strings.has(value) || patterns.some((pattern) => pattern.test(value));
}

function checkOrigin(origin: string): void {
  if (origin === "null") return; // what sandboxed pages and files send
  const url = URL.parse(origin);
  const isWeb = url?.protocol === "http:" || url?.protocol === "https:";
  const wanted = isWeb
    ? url.origin
    : /^[a-z][a-z0-9+.-]*:\/\/[^/?#]+/.exec(origin)?.[0];
  if (wanted !== origin) {
    throw new TypeError(
      `Cannot use "${origin}" among "origins" as no page has that origin: ${
        wanted === undefined
          ? "write one as in https://example.com, or leave the option out to admit all"
          : `write "${wanted}"`
      }`,
    );
  }
}

function checkPath(path: string): void {
  const wanted = URL.parse(path, "ws://localhost")?.pathname;
  if (!path.startsWith("/") || wanted !== path) {
    throw new TypeError(
      `Cannot use "${path}" among "paths" as no request has that path: write it as in /live, without a query`,
    );
  }
}
