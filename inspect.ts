/**
 * A page to see inside a running server: {@linkcode inspect}.
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
 *   const isAdmin = request.headers.get("cookie") === "session=secret"; // yours
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

import { sameOrigin, type ServerSocket, type SocketTypes } from "./server.ts";
import { urlOf } from "./core/admission/admission.ts";
import { render } from "./inspect/page.ts";
import { InspectedServer, parseQuery, type Query } from "./inspect/state.ts";

/**
 * Records what happens to a server, and gives a handler that shows it: connections,
 * rooms, rates, recent ends and refusals, and a button to close a connection.
 *
 * The handler asks nobody who they are: call it only for those who may see all that,
 * and close connections. It answers at one URL, whichever that is: it looks at the
 * query and the method, not at the path.
 *
 * Call this once for a server, before it listens: what was before is not known.
 *
 * @typeParam Types The types of what comes in and goes out.
 * @param server The server.
 * @returns A handler. It neither throws nor rejects. A `GET` without a query is
 * answered by the page, which then asks for its data by a query; a `POST` closes a
 * connection, if it comes from that page.
 *
 * @example For those who know a password, which the browser asks for
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
 *   return new Response("Who are you?\n", { status: 401, headers });
 * });
 * ```
 */
export function inspect<Types extends SocketTypes>(
  server: ServerSocket<Types>,
): (request: Request) => Response {
  if (!(server?.clients instanceof Set)) {
    throw new TypeError(
      `Cannot look into something other than a ServerSocket: current value is of type ${typeof server}`,
    );
  }
  const state = new InspectedServer(server);
  return (request) => handleRequest(request, state);
}

function handleRequest<Types extends SocketTypes>(
  request: Request,
  state: InspectedServer<Types>,
): Response {
  const params = urlOf(request)?.searchParams;
  if (params === undefined) return textResponse(400, "Cannot read the URL");
  const { method } = request;
  const id = params.get("close");
  if (id !== null) {
    if (method !== "POST") return methodNotAllowed(method, "POST");
    return closeClient(request, state, id);
  }
  if (params.size > 0 && !params.has("state")) {
    return textResponse(404, `There is nothing at "?${params}"`);
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

function closeClient<Types extends SocketTypes>(
  request: Request,
  state: InspectedServer<Types>,
  id: string,
): Response {
  if (!isSameOriginRequest(request)) {
    return textResponse(
      403,
      "Cannot close a connection for a page of another origin",
    );
  }
  return state.close(id)
    ? createResponse(null, {}, 204)
    : textResponse(404, `There is no connection "${id}"`);
}

/**
 * Whether a request comes from a page of the same origin. A browser says so, and no page
 * can change what it says; one that is too old, or that came in the clear, at least
 * names the origin. What says neither is no page of ours.
 */
function isSameOriginRequest(request: Request): boolean {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin";
  const origin = request.headers.get("origin");
  return origin !== null && sameOrigin(origin, request);
}

function methodNotAllowed(method: string, allowed: string): Response {
  return textResponse(405, `Cannot ${method} this: use ${allowed}`, {
    Allow: allowed,
  });
}

/** An answer in words. */
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

/** No page of others may frame, read or keep what is shown, or be told where it is. */
const SECURITY_HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/**
 * What the page may do: run its own script and style, and ask its own origin. It cannot
 * make elements of text, whatever that is.
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
