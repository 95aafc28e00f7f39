/**
 * OpenTelemetry for servers and clients: {@linkcode instrument}.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events/server";
 * import { instrument } from "jsr:@ws/events/telemetry";
 *
 * const server = new ServerSocket();
 * instrument(server);
 * await server.listen("localhost", 3000);
 * ```
 *
 * @module
 */

import type { ClientSocket } from "./client.ts";
import { slotOf } from "./core/events/instrumentation.ts";
import type { ServerSocket, SocketTypes } from "./server.ts";
import { clientMeters, serverMeters } from "./telemetry/meters.ts";
import { SocketInstrumentation } from "./telemetry/watch.ts";

/** How many want a socket to be watched. */
const useCounts = new WeakMap<SocketInstrumentation, number>();

/**
 * Tells OpenTelemetry of a server or a client: by metrics of its connections, messages,
 * queues, drops, ends, errors and requests, and by spans of requests, which go on at the
 * other end. It uses the providers that are registered by `@opentelemetry/api`; under
 * `OTEL_DENO=true` Deno has registered its own, and without any nothing is told.
 *
 * What was before is not counted, so call it before the server listens, or the client
 * connects. A provider that is registered later is used from the next connection, end,
 * batch, request or error on.
 *
 * Whatever fails in an exporter or an SDK reaches neither the socket nor the program, but
 * the `diag` of `@opentelemetry/api`.
 *
 * @typeParam Types The types of what comes in and goes out.
 * @param socket The server or the client. To instrument it twice is to instrument it
 * once, until both are disposed of.
 * @returns What stops it, when it is disposed of. Nobody has to: the socket may live and
 * end without that. But a client that is thrown away before the process ends has to be
 * disposed of, as it is held here.
 * @throws {TypeError} If it is neither, or one of another copy of this library.
 *
 * @example
 * ```ts
 * import { ClientSocket, ServerSocket } from "jsr:@ws/events";
 * import { instrument } from "jsr:@ws/events/telemetry";
 *
 * const server = new ServerSocket();
 * using _telemetry = instrument(server);
 * instrument(new ClientSocket());
 * ```
 */
export function instrument<Types extends SocketTypes>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
): Disposable {
  const slot = slotOf(socket);
  if (!slot) {
    throw new TypeError(
      "Cannot instrument what is neither a ServerSocket nor a ClientSocket of the same copy of @ws/events: import both from the same version",
    );
  }
  const watch = slot.instrumentation instanceof SocketInstrumentation
    ? slot.instrumentation
    : slot.instrumentation = createInstrumentation(socket);
  useCounts.set(watch, (useCounts.get(watch) ?? 0) + 1);
  let isDisposed = false;
  return {
    [Symbol.dispose]() {
      if (isDisposed) return;
      isDisposed = true;
      const left = (useCounts.get(watch) ?? 0) - 1;
      useCounts.set(watch, left);
      if (left > 0) return;
      slot.instrumentation = undefined;
      removeInstrumentation(socket, watch);
    },
  };
}

function createInstrumentation<Types extends SocketTypes>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
): SocketInstrumentation {
  if ("clients" in socket) {
    const watch = new SocketInstrumentation(serverMeters, socket.clients);
    socket.on("refused", watch.refused);
    return watch;
  }
  const { connection } = socket;
  const watch = new SocketInstrumentation(
    clientMeters,
    connection ? [connection] : [],
    socket,
  );
  socket.on("reconnecting", watch.reconnecting);
  return watch;
}

function removeInstrumentation<Types extends SocketTypes>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
  watch: SocketInstrumentation,
): void {
  if ("clients" in socket) socket.off("refused", watch.refused);
  else socket.off("reconnecting", watch.reconnecting);
  watch.stop();
}
