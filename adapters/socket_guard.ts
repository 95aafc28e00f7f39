/**
 * Keeps the sockets that a client of a broker opens from ending the process.
 *
 * @module
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";

/** Whether sockets that are opened now are guarded. */
const scope = new AsyncLocalStorage<SocketGuard>();

let isWatching = false;

/** Adds a listener to each socket that is opened in the scope of a guard. */
function watch(): void {
  if (isWatching) return;
  isWatching = true;
  subscribe("net.client.socket", (message: unknown) => {
    if (!scope.getStore()?.isActive) return;
    if (typeof message !== "object" || message === null) return;
    if (!("socket" in message) || !isErrorSource(message.socket)) return;
    // The client listens, too, but not always: with TLS 1.3 a server refuses a missing
    // certificate only after the handshake, when @redis/client 6.3 has removed one
    // listener and not yet added the next. Without any the error ends the process.
    message.socket.on("error", () => {});
  });
}

interface ErrorSource {
  on(event: "error", listener: () => void): unknown;
}

function isErrorSource(value: unknown): value is ErrorSource {
  return typeof value === "object" && value !== null && "on" in value &&
    typeof value.on === "function";
}

/**
 * Guards the sockets of one client: an error of such a socket that has no listener does
 * not end the process. The client reports it, or what follows from it.
 */
export class SocketGuard {
  /** Whether sockets are guarded that are opened from now on. */
  isActive = true;

  /** Calls an action. The sockets that it opens are guarded, those opened later too. */
  run<T>(action: () => T): T {
    watch();
    return scope.run(this, action);
  }
}
