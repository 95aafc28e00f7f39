/**
 * Interprets the result of `authorize`: only a truthy value admits a request.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import type { Refusal } from "./handshake.ts";

/** The response to an error of the application, without details. */
export const INTERNAL_ERROR: Refusal = {
  status: 500,
  reason: "Internal server error",
};

/** Stands for the result of `authorize` after its timeout. */
export const TIMED_OUT: unique symbol = Symbol("late");

/** Returns the refusal for a result of `authorize`, if it does not admit. */
export function refusalFor(result: unknown): Refusal | undefined {
  if (result === TIMED_OUT) {
    return { status: 504, reason: "The authorization took too long" };
  }
  if (isResponseLike(result)) return refusalFromResponse(result);
  if (isErrorLike(result)) return { ...FORBIDDEN, error: result };
  if (typeof result === "function") {
    const error = new TypeError(
      `Cannot admit a client as authorize returned a function: call "${
        printable(result.name)
      }" and return its result`,
    );
    return { ...FORBIDDEN, error };
  }
  return result ? undefined : FORBIDDEN;
}

const FORBIDDEN: Refusal = { status: 403, reason: "Not authorized" };

/** The properties of any `Response`, including those of other realms and of packages. */
interface ResponseLike {
  readonly status: number;
  readonly headers: object;
}

/** Whether a value is a `Response`, of whatever class. */
export function isResponseLike(value: unknown): value is ResponseLike {
  return typeof value === "object" && value !== null &&
    (value instanceof Response ||
      "status" in value && typeof value.status === "number" &&
        "headers" in value && typeof value.headers === "object" &&
        value.headers !== null);
}

/** Whether a value is an error, also one of another realm or of a package. */
function isErrorLike(value: unknown): boolean {
  return value instanceof Error ||
    /^\[object (?:Error|DOMException)\]$/.test(
      Object.prototype.toString.call(value),
    ) ||
    typeof value === "object" && value !== null && "message" in value &&
      "stack" in value && typeof value.stack === "string";
}

/** Refuses with the response of `authorize`. */
function refusalFromResponse(answer: ResponseLike): Refusal {
  const { status } = answer;
  const reason = `The authorization responded with ${status}`;
  if (!(status >= 200 && status <= 599)) { // such as that of `Response.error()`
    return {
      ...INTERNAL_ERROR,
      error: new TypeError(
        `Cannot respond with status ${status}: use a status from 200 to 599`,
      ),
    };
  }
  if (!(answer instanceof Response)) return { status, reason };
  try {
    // A copy, as an application may return the same response each time.
    return { status, reason, response: answer.clone() };
  } catch (cause) { // its body was read
    const error = new TypeError(
      `Cannot send a Response of status ${status} as its body was already read: return a new Response for each request`,
      { cause },
    );
    return { status, reason, error };
  }
}

/** Returns the refusal for invalid response headers set by `authorize`, if any. */
export function refusalForHeaders(
  headers: Headers | undefined,
): Refusal | undefined {
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
