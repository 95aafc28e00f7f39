/**
 * A web page that shows the state of a running server: {@linkcode inspect}.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events/server";
 * import { inspect } from "jsr:@ws/events/inspect";
 *
 * const server = new ServerSocket({
 *   paths: ["/live"],
 *   fallback: (request) => pages(request),
 * });
 * const page = inspect(server);
 *
 * function pages(request: Request): Response {
 *   const isAdmin = request.headers.get("cookie") === "session=secret"; // use your own check
 *   if (new URL(request.url).pathname === "/inspect" && isAdmin) {
 *     return page(request);
 *   }
 *   return new Response("Not found\n", { status: 404 });
 * }
 *
 * await server.listen("localhost", 3000);
 * ```
 *
 * @module
 */

import { type CheckedTypes, sameOrigin, type ServerSocket } from "./server.ts";
import { urlOf } from "./core/admission/paths.ts";
import { assertKnown, assertType, optionNames } from "./core/events/errors.ts";
import { render } from "./inspect/page.ts";
import { InspectedServer, parseQuery, type Query } from "./inspect/state.ts";

/** The options of {@linkcode inspect}. */
export interface InspectOptions {
  /**
   * The name of the server. The page shows it beside the host, to distinguish several
   * servers.
   *
   * @default {""}
   */
  readonly label?: string;
  /**
   * Whether the page is read-only: it cannot close connections.
   *
   * @default {false}
   */
  readonly readOnly?: boolean;
}

const INSPECT_OPTIONS = optionNames<InspectOptions>({
  label: true,
  readOnly: true,
});

/**
 * Records the events of a server, and returns a request handler for a page that shows
 * them: connections, rooms, rates, recent ends and refusals. The page can also close
 * connections.
 *
 * The handler does not authenticate anyone. Call it only for authorized users. It ignores
 * the path of the URL, and uses only the query and the method.
 *
 * Call this once per server, before it listens. Earlier events are not recorded.
 *
 * @typeParam Types The types of the server.
 * @param server The server.
 * @param options The options.
 * @returns A request handler that never throws. `GET` without a query returns the page,
 * and with a query the data of the page as JSON. `POST` from the page closes a
 * connection.
 * @throws {TypeError} If `server` is not a `ServerSocket`, or an option is unknown or has
 * the wrong type.
 *
 * @example Protect the page with a password
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 * import { inspect } from "jsr:@ws/events/inspect";
 *
 * const server = new ServerSocket();
 * const page = inspect(server);
 * const expected = `Basic ${btoa("admin:secret")}`;
 *
 * await server.listen("0.0.0.0", 3000);
 * Deno.serve({ hostname: "127.0.0.1", port: 3001 }, (request) => {
 *   if (request.headers.get("authorization") === expected) return page(request);
 *   const headers = { "WWW-Authenticate": "Basic" };
 *   return new Response("Unauthorized\n", { status: 401, headers });
 * });
 * ```
 */
export function inspect<Types extends CheckedTypes<Types>>(
  server: ServerSocket<Types>,
  options: InspectOptions = {},
): (request: Request) => Response {
  if (!(server?.clients instanceof Set)) {
    throw new TypeError(
      `Cannot inspect a value that is not a ServerSocket: current value is of type ${typeof server}`,
    );
  }
  assertType("options", options, "object");
  assertKnown("inspect()", options, INSPECT_OPTIONS);
  const { label = "", readOnly = false } = options;
  assertType("label", label, "string");
  if (typeof readOnly !== "boolean") {
    throw new TypeError(
      `Cannot use "readOnly" unless it is a boolean: current value is of type ${typeof readOnly}`,
    );
  }
  const state = new InspectedServer(server, { label, readOnly });
  return (request) => handleRequest(request, state, readOnly);
}

function handleRequest<Types extends CheckedTypes<Types>>(
  request: Request,
  state: InspectedServer<Types>,
  readOnly: boolean,
): Response {
  const params = urlOf(request)?.searchParams;
  if (params === undefined) return textResponse(400, "Cannot read the URL");
  const { method } = request;
  const id = params.get("close");
  if (id !== null) {
    if (method !== "POST") return methodNotAllowed(method, "POST");
    if (readOnly) {
      return textResponse(403, "Cannot close a connection on a read-only page");
    }
    return closeClient(request, state, id);
  }
  if (params.size > 0 && !params.has("state")) {
    return textResponse(404, `Cannot find "?${params}"`);
  }
  if (method !== "GET" && method !== "HEAD") {
    return methodNotAllowed(method, "GET, HEAD");
  }
  if (params.size === 0) {
    const nonce = crypto.randomUUID();
    return createResponse(render(nonce), {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy": contentSecurityPolicy(nonce),
    });
  }
  let query: Query;
  try {
    query = parseQuery(params);
  } catch (error) {
    return textResponse(
      400,
      error instanceof Error ? error.message : String(error),
    );
  }
  return createResponse(JSON.stringify(state.snapshot(query)), {
    "Content-Type": "application/json",
  });
}

function closeClient<Types extends CheckedTypes<Types>>(
  request: Request,
  state: InspectedServer<Types>,
  id: string,
): Response {
  if (!isSameOriginRequest(request)) {
    return textResponse(
      403,
      "Cannot close a connection from a page of another origin",
    );
  }
  return state.close(id)
    ? createResponse(null, {}, 204)
    : textResponse(404, `Cannot find the connection "${id}"`);
}

/**
 * Whether a request comes from a page of the same origin. Browsers set `Sec-Fetch-Site`,
 * and scripts cannot change it. Without it, as in old browsers or over plain HTTP, the
 * `Origin` has to match.
 */
function isSameOriginRequest(request: Request): boolean {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin";
  const origin = request.headers.get("origin");
  return origin !== null && sameOrigin(origin, request);
}

function methodNotAllowed(method: string, allowed: string): Response {
  return textResponse(
    405,
    `Cannot use the method ${method} here: use ${allowed}`,
    {
      Allow: allowed,
    },
  );
}

/** Creates a response with plain text. */
function textResponse(
  status: number,
  text: string,
  headers: Record<string, string> = {},
): Response {
  return createResponse(
    `${text}\n`,
    { "Content-Type": "text/plain; charset=utf-8", ...headers },
    status,
  );
}

function createResponse(
  body: string | null,
  headers: Record<string, string>,
  status = 200,
): Response {
  return new Response(body, {
    status,
    headers: { ...SECURITY_HEADERS, ...headers },
  });
}

/** Other sites may not frame, read or cache the page, or learn its URL. */
const SECURITY_HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/**
 * The page may run its own script and style, and fetch from its own origin. It cannot
 * create elements from text.
 */
function contentSecurityPolicy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}
