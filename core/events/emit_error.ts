/**
 * Emits an error at a server or client, or writes it to the console if nothing listens.
 *
 * @module
 */

import { emitters } from "./emitter.ts";
import type { ErrorOutput } from "./error_output.ts";
import { FailureEvent } from "./event_types.ts";
import type { Instrumented } from "./instrumentation.ts";

/**
 * Emits `error`.
 *
 * @param log Receives the error if `error` has no listener.
 * @param args The error, what it comes from, and the connection it concerns, if any.
 */
export function emitError(
  emitter: EventTarget,
  { instrumentation }: Instrumented,
  log: ErrorOutput,
  ...args: [error: unknown, from: string, connection: object | undefined]
): void {
  const [error, from] = args;
  instrumentation?.listenerFailed(error, from);
  if (emitters.isHeard(emitter, "error")) {
    emitters.emit(emitter, "error", FailureEvent, args);
  } else log.write(`Unhandled error in "${from}":`, error);
}
