/**
 * Decides which headers of an opening handshake refuse the upgrade (RFC 6455, section
 * 4.2.1); pure. `origins.ts` decides about `Origin`, and `core/protocol/subprotocol.ts`
 * about `Sec-WebSocket-Protocol`.
 *
 * @module
 */

import { printable } from "../util/printable.ts";

/** The rejection of a request. */
export interface Refusal {
  /** The HTTP status. */
  readonly status: number;
  /** The human-readable reason, which is sent to the client. */
  readonly reason: string;
  /** Additional headers of the response. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The response of the application, if it provides one. */
  readonly response?: Response;
  /** A hint for the operator, if the reason alone is not sufficient. */
  readonly advice?: string;
  /** The error of the application that caused the rejection. */
  readonly error?: unknown;
}

/** The part of a request that is validated. */
export interface Handshake {
  /** The HTTP method. */
  readonly method: string;
  /** The headers. */
  readonly headers: Headers;
}

/** A token (RFC 9110, section 5.6.2). */
export const TOKEN_PATTERN: RegExp = /^[!#$%&'*+.^_`|~\w-]+$/;

/** 16 bytes in Base64. The last character encodes only four bits. */
const KEY_PATTERN = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/** Whether a request asks for a WebSocket at all, valid or not. */
export function isUpgradeRequest({ headers }: Handshake): boolean {
  return includesElement(headers.get("upgrade"), "websocket");
}

/**
 * Validates an opening handshake (RFC 6455, section 4.2.1), as the runtime does so only
 * in part.
 *
 * @returns The rejection; undefined if the handshake is valid.
 */
export function checkHandshake(handshake: Handshake): Refusal | undefined {
  const { method, headers } = handshake;
  if (!isUpgradeRequest(handshake)) {
    return {
      status: 426,
      reason:
        "Cannot respond without an upgrade, as this is a WebSocket endpoint",
      headers: { upgrade: "websocket", connection: "upgrade" },
    };
  }
  // This also makes Deno read the headers, which are not available after the upgrade
  // otherwise.
  if (!headers.has("host")) {
    return {
      status: 400,
      reason: "Cannot upgrade: the Host header is missing",
    };
  }
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return {
      status: 400,
      reason: 'Cannot upgrade: the Upgrade header must be exactly "websocket"',
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
      reason:
        'Cannot upgrade: the Connection header does not contain "Upgrade"',
    };
  }
  if (headers.get("sec-websocket-version") !== "13") {
    return {
      status: 426,
      reason: "Cannot use this version of WebSocket: use version 13",
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
      reason: "Cannot upgrade: Sec-WebSocket-Key must be 16 bytes in Base64",
    };
  }
  return undefined;
}

/**
 * Splits a header with a list (RFC 9110, section 5.6.1), in linear time. Whitespace
 * around elements is removed. Empty elements stay.
 */
export function listElements(header: string | null): string[] {
  if (header === null) return [];
  return header.split(",").map(withoutWhitespace);
}

/**
 * Unlike `trim()`, removes only whitespace as HTTP defines it (RFC 9110, section 5.6.3).
 */
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

/** Whether a list contains an element, ignoring case. */
function includesElement(header: string | null, element: string): boolean {
  if (header?.toLowerCase() === element) return true; // the common case
  return listElements(header).some((one) => one.toLowerCase() === element);
}
