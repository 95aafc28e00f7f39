/**
 * The error of an operation for which a connection has ended too early.
 *
 * @module
 */

import { type ConnectionEnd, ConnectionEndedError } from "../events/errors.ts";
import { printable } from "../util/printable.ts";

const ATTEMPTS = {
  send: "send to",
  hear: "wait any longer for a reply from",
  wait: "wait any longer for an event from",
} as const;

/**
 * Creates the error.
 *
 * @param name The name of the peer.
 * @param end How the connection ended, or its state if it has not.
 */
export function endedError(
  attempt: keyof typeof ATTEMPTS,
  name: string,
  end: ConnectionEnd | "connecting" | "closing",
): ConnectionEndedError {
  const action = `Cannot ${ATTEMPTS[attempt]} ${name} as the connection`;
  if (typeof end === "string") {
    return new ConnectionEndedError(`${action} is ${end}`);
  }
  const { type, code, reason } = end;
  return new ConnectionEndedError(
    `${action} has ended: ${type} with code ${code} and reason "${
      printable(reason)
    }"`,
    end,
  );
}
