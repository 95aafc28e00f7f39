/**
 * Emits the events of an end, the same for connections, clients and servers.
 *
 * @module
 */

import { emitters } from "./emitter.ts";
import type { ConnectionEnd } from "./errors.ts";
import { endDetails, EndEvent } from "./event_types.ts";

/**
 * Emits `close` or `disconnect`, then `end`.
 *
 * @param first The arguments that come first for a listener: the client, on a server.
 */
export function emitEnd(
  emitter: EventTarget,
  connection: object | undefined,
  end: ConnectionEnd,
  ...first: readonly unknown[]
): void {
  const { type, code, reason, cause } = end;
  const details = endDetails(end);
  const emit = (name: EndEvent<object>["type"], ...args: unknown[]) =>
    emitters.emitWith(
      emitter,
      name,
      () => new EndEvent(name, connection, details),
      [...first, ...args],
    );
  emit(type, code, reason, cause);
  emit("end", details);
}
