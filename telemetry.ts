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

import type { Disposer } from "./core/util/disposer.ts";
import type { ClientSocket } from "./client.ts";
import { slotOf } from "./core/events/instrumentation.ts";
import type { CheckedTypes, ServerSocket } from "./server.ts";
import { clientMeters, serverMeters } from "./telemetry/meters.ts";
import { SocketInstrumentation } from "./telemetry/watch.ts";

export type { Disposer } from "./core/util/disposer.ts";

/** The number of callers that instrument a socket. */
const useCounts = new WeakMap<SocketInstrumentation, number>();

/**
 * Instruments a server or a client with OpenTelemetry: metrics of its connections,
 * messages, queues, drops, ends, errors and requests, and spans of requests that continue
 * the trace of the peer. It uses the global providers of `@opentelemetry/api`; with
 * `OTEL_DENO=true`, Deno registers its own. Without a provider, it does nothing.
 *
 * Call it before the server listens or the client connects, as earlier events are not
 * counted. A provider that is registered later is used from the next event on.
 *
 * Errors of an exporter or an SDK affect neither the socket nor the application. They are
 * reported to `diag` of `@opentelemetry/api`.
 *
 * @typeParam Types The types of the socket.
 * @param socket The server or the client. Instrumenting it again has no effect, except
 * that each result must be disposed of to stop.
 * @returns A disposable that stops the instrumentation. It is not needed on a socket that
 * lives as long as the process. Dispose of it on a client that is discarded earlier, as
 * the instrumentation holds a reference to the client.
 * @throws {TypeError} If the socket is neither a server nor a client, or belongs to
 * another copy of this library.
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
export function instrument<Types extends CheckedTypes<Types>>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
): Disposer {
  const slot = slotOf(socket);
  if (!slot) {
    throw new TypeError(
      "Cannot instrument a value that is neither a ServerSocket nor a ClientSocket of the same copy of @ws/events: import both from the same version",
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

function createInstrumentation<Types extends CheckedTypes<Types>>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
): SocketInstrumentation {
  if ("clients" in socket) {
    const watch = new SocketInstrumentation(
      serverMeters,
      socket.clients,
      undefined,
      socket,
    );
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

function removeInstrumentation<Types extends CheckedTypes<Types>>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
  watch: SocketInstrumentation,
): void {
  if ("clients" in socket) socket.off("refused", watch.refused);
  else socket.off("reconnecting", watch.reconnecting);
  watch.stop();
}
