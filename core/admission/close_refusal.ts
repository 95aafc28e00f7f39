/**
 * Refuses a client after the handshake, so that a browser can read why.
 *
 * @module
 */

import type { Connection, ConnectionOwner } from "../connection/connection.ts";
import {
  assertCloseFrame,
  CloseCode,
  ignoreRejection,
} from "../events/errors.ts";
import {
  type SelectedSubprotocol,
  selectRefusal,
} from "../protocol/subprotocol.ts";
import type { SocketTypes } from "../values/types.ts";

/** The codes below 3000 that may refuse a client. */
const STANDARD_CODES: readonly number[] = [
  CloseCode.PolicyViolation,
  CloseCode.TryAgainLater,
];

/**
 * A refusal that `authorize` returns or throws, with a close code and a reason instead of
 * an HTTP status. Browsers do not reveal to a page why a handshake was refused (WHATWG
 * WebSockets); so the server accepts the connection, and closes it at once. Neither side
 * emits `connect` or an end for it. The server emits `refused` with the status 101, and
 * `connect()` of a client of this library rejects with a `ConnectError` that has the code
 * and the reason. Other clients see a connection that is closed.
 *
 * @example
 * ```ts
 * import { CloseRefusal, ServerSocket } from "jsr:@ws/events";
 *
 * const users = new Map([["secret", "ada"]]);
 * const server = new ServerSocket<{ context: string }>({
 *   authorize: ({ url }) =>
 *     users.get(new URL(url).searchParams.get("token") ?? "") ??
 *       new CloseRefusal(4401, "Log in first"),
 * });
 * server.on("refused", (_request, _status, reason) => console.log(reason));
 * ```
 */
export class CloseRefusal {
  /** The close code that the client gets. */
  readonly code: number;
  /** The close reason that the client gets. */
  readonly reason: string;

  /**
   * Creates the refusal.
   *
   * @param code The close code: 1008, 1013, or 3000 to 4999. Clients of this library try
   * again after 1013 by default.
   * @param reason The close reason, at most 123 bytes of UTF-8. The client can read it.
   * @throws {RangeError} If the code is not allowed, or the reason is too long.
   */
  constructor(code: number, reason = "") {
    assertCloseFrame(code, reason, "server");
    if (code < 3000 && !STANDARD_CODES.includes(code)) {
      throw new RangeError(
        `Cannot refuse with code ${code}: use 1008, 1013, or 3000 to 4999`,
      );
    }
    this.code = code;
    this.reason = reason;
  }
}

/** How long a refused client may take to answer the close frame, in milliseconds. */
export const REFUSAL_TIMEOUT_MS = 2_000;

/** Selects the subprotocol of a connection that is accepted only to be closed. */
export function refusalSubprotocol(
  requested: readonly string[],
  { protocol, subprotocol }: SelectedSubprotocol,
): SelectedSubprotocol {
  const token = selectRefusal(requested);
  return { protocol, isEvents: false, subprotocol: token || subprotocol };
}

/** Creates the owner of such a connection: it closes it, and emits nothing. */
export function refusingOwner<Types extends SocketTypes>(
  { code, reason }: CloseRefusal,
  opened: (connection: Connection<Types>) => void,
  ended: (connection: Connection<Types>) => void,
): ConnectionOwner<Types> {
  return {
    rooms: undefined,
    beforeClose: () => "local",
    isHosted: () => false,
    hasListener: () => false,
    isMessageHeard: () => false,
    opened: (connection) => {
      opened(connection);
      ignoreRejection(connection.close(code, reason));
      return [];
    },
    received: () => {},
    findHandler: () => undefined,
    drained: () => {},
    unsent: () => {},
    ended,
    endDeferred: () => {},
    refused: ended,
    failed: () => {},
  };
}
