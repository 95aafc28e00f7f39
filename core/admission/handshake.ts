/**
 * Which requests are a valid opening handshake (RFC 6455, 4.2.1). Pure: a method
 * and headers in, an answer out.
 *
 * @module
 */

/** Why a request does not become a WebSocket, as an HTTP answer. */
export interface Refusal {
  /** The HTTP status. */
  readonly status: number;
  /** What went wrong and what to do, for a human reader. */
  readonly why: string;
  /** Headers that the status asks for. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The answer, if it is made already. */
  readonly response?: Response;
}

/** The part of a request that decides. */
export interface Handshake {
  /** The HTTP method. */
  readonly method: string;
  /** The headers. */
  readonly headers: Headers;
}

/** A token, as of HTTP. */
export const TOKEN: RegExp = /^[!#$%&'*+.^_`|~\w-]+$/;

/** The base64 of 16 bytes: the last of its characters holds four bits only. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/**
 * Whether a request asks to become a WebSocket at all, however badly.
 *
 * @param handshake The request.
 * @returns True if its `Upgrade` header names `websocket`.
 */
export function asksForUpgrade({ headers }: Handshake): boolean {
  return names(headers.get("upgrade"), "websocket");
}

/**
 * Checks the opening handshake (RFC 6455, 4.2.1), of which the runtime checks
 * only a part.
 *
 * @param handshake The request.
 * @returns Why it is refused, or undefined if it may be upgraded.
 */
export function refuse(handshake: Handshake): Refusal | undefined {
  const { method, headers } = handshake;
  if (!asksForUpgrade(handshake)) {
    return {
      status: 426,
      why: "Cannot answer without a WebSocket: ask for an upgrade",
      headers: { upgrade: "websocket", connection: "upgrade" },
    };
  }
  // Also reads the headers for good: once a request is upgraded, Deno answers
  // nothing that it has not been asked before.
  if (!headers.has("host")) {
    return { status: 400, why: "Cannot upgrade: the Host header is missing" };
  }
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return {
      status: 400,
      why: "Cannot upgrade to anything but websocket, or more than one of it",
    };
  }
  if (method !== "GET") {
    return {
      status: 405,
      why: `Cannot upgrade a ${method} request: use GET`,
      headers: { allow: "GET" },
    };
  }
  if (!names(headers.get("connection"), "upgrade")) {
    return {
      status: 400,
      why: 'Cannot upgrade: the Connection header does not name "Upgrade"',
    };
  }
  if (headers.get("sec-websocket-version") !== "13") {
    return {
      status: 426,
      why: "Cannot speak this version of WebSocket: use version 13",
      headers: {
        upgrade: "websocket",
        connection: "upgrade",
        "sec-websocket-version": "13",
      },
    };
  }
  if (!KEY.test(headers.get("sec-websocket-key") ?? "")) {
    return {
      status: 400,
      why: "Cannot upgrade: Sec-WebSocket-Key is not the base64 of 16 bytes",
    };
  }
  return undefined;
}

/**
 * The elements of a header that is a list.
 *
 * @param header The header's value.
 * @returns Its elements, without the space around them.
 */
export function tokens(header: string | null): string[] {
  // Not `trim()`, which takes for space what is none in HTTP.
  return header?.split(",").map((token) =>
    token.replace(/^[\t ]+|[\t ]+$/g, "")
  ) ?? [];
}

function names(header: string | null, token: string): boolean {
  if (header?.toLowerCase() === token) return true; // as it mostly is
  return tokens(header).some((other) => other.toLowerCase() === token);
}
