/**
 * Which requests are a valid opening handshake (RFC 6455, 4.2.1). Pure: a method
 * and headers in, an answer out.
 *
 * @module
 */

import { printable } from "../util/printable.ts";

/** Why a request does not become a WebSocket, as an HTTP answer. */
export interface Refusal {
  /** The HTTP status. */
  readonly status: number;
  /** What went wrong and what to do, for a human reader. */
  readonly reason: string;
  /** Headers that the status asks for. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The answer, if the program has made one. */
  readonly response?: Response;
  /** What the operator should know, where the reason alone does not tell. */
  readonly advice?: string;
  /** What is wrong with the program, if that is why. */
  readonly error?: unknown;
}

/** The part of a request that decides. */
export interface Handshake {
  /** The HTTP method. */
  readonly method: string;
  /** The headers. */
  readonly headers: Headers;
}

/** A token, as of HTTP. */
export const TOKEN_PATTERN: RegExp = /^[!#$%&'*+.^_`|~\w-]+$/;

/** The base64 of 16 bytes: the last of its characters holds four bits only. */
const KEY_PATTERN = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/**
 * Whether a request asks to become a WebSocket at all, however badly.
 *
 * @param handshake The request.
 * @returns True if its `Upgrade` header names `websocket`.
 */
export function isUpgradeRequest({ headers }: Handshake): boolean {
  return includesElement(headers.get("upgrade"), "websocket");
}

/**
 * Checks the opening handshake (RFC 6455, 4.2.1), of which the runtime checks
 * only a part.
 *
 * @param handshake The request.
 * @returns Why it is refused, or undefined if it may be upgraded.
 */
export function checkHandshake(handshake: Handshake): Refusal | undefined {
  const { method, headers } = handshake;
  if (!isUpgradeRequest(handshake)) {
    return {
      status: 426,
      reason: "Cannot answer without a WebSocket: ask for an upgrade",
      headers: { upgrade: "websocket", connection: "upgrade" },
    };
  }
  // Also reads the headers for good: once a request is upgraded, Deno answers
  // nothing that it has not been asked before.
  if (!headers.has("host")) {
    return {
      status: 400,
      reason: "Cannot upgrade: the Host header is missing",
    };
  }
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return {
      status: 400,
      reason:
        "Cannot upgrade to anything but websocket, or more than one of it",
    };
  }
  if (method !== "GET") {
    return {
      status: 405,
      reason: `Cannot upgrade a ${printable(method)} request: use GET`,
      headers: { allow: "GET" },
    };
  }
  if (!includesElement(headers.get("connection"), "upgrade")) {
    return {
      status: 400,
      reason: 'Cannot upgrade: the Connection header does not name "Upgrade"',
    };
  }
  if (headers.get("sec-websocket-version") !== "13") {
    return {
      status: 426,
      reason: "Cannot speak this version of WebSocket: use version 13",
      headers: {
        upgrade: "websocket",
        connection: "upgrade",
        "sec-websocket-version": "13",
      },
    };
  }
  if (!KEY_PATTERN.test(headers.get("sec-websocket-key") ?? "")) {
    return {
      status: 400,
      reason: "Cannot upgrade: Sec-WebSocket-Key is not the base64 of 16 bytes",
    };
  }
  return undefined;
}

/**
 * Splits a header that is a list (RFC 9110, 5.6.1), in one pass.
 *
 * @param header The value of the header.
 * @returns Its elements without the whitespace around them. Empty ones are kept.
 */
export function listElements(header: string | null): string[] {
  if (header === null) return [];
  return header.split(",").map(withoutWhitespace);
}

/** Not `trim()`, which strips more than HTTP calls whitespace (RFC 9110, 5.6.3). */
function withoutWhitespace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhitespace(text, start)) start++;
  while (end > start && isWhitespace(text, end - 1)) end--;
  return text.slice(start, end);
}

function isWhitespace(text: string, index: number): boolean {
  const char = text[index];
  return char === " " || char === "\t";
}

/** Whether a list has an element, in any case. */
function includesElement(header: string | null, element: string): boolean {
  if (header?.toLowerCase() === element) return true; // as it mostly is
  return listElements(header).some((one) => one.toLowerCase() === element);
}
