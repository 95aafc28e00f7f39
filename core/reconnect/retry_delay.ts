/**
 * Waits for the next attempt to connect.
 *
 * @module
 */

import { withResolvers } from "../util/deferred.ts";
import { startTimer } from "../util/timer.ts";

/** Options of {@linkcode waitForRetry}. */
export interface RetryDelayOptions {
  /** Aborts the delay. */
  readonly signal: AbortSignal;
  /** Ends the delay at once. */
  readonly skip?: AbortSignal;
  /** Whether the delay must not be shortened. */
  readonly isFixed: boolean;
}

/**
 * Waits for a delay in milliseconds. In browsers, the delay ends early when the network
 * is back, and is extended while there is no network.
 *
 * @returns A promise that rejects with the reason of the signal.
 */
export function waitForRetry(
  delay: number,
  { signal, skip, isFixed }: RetryDelayOptions,
): Promise<void> {
  const { promise, resolve, reject } = withResolvers<void>();
  // In Node, the global object is not an `EventTarget`.
  const hasEvents = typeof addEventListener === "function";
  let isElapsed = false;
  const stop = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    skip?.removeEventListener("abort", finish);
    if (hasEvents) removeEventListener("online", onOnline);
  };
  const finish = () => {
    stop();
    resolve();
  };
  const onOnline = () => {
    if (isElapsed || !isFixed) finish();
  };
  const onAbort = () => {
    stop();
    reject(signal.reason);
  };
  const timer = startTimer(() => {
    isElapsed = true;
    if (!isOffline()) finish();
  }, delay);
  signal.addEventListener("abort", onAbort);
  skip?.addEventListener("abort", finish);
  if (hasEvents) addEventListener("online", onOnline);
  return promise;
}

/**
 * Whether there is certainly no network. `onLine` does not guarantee that there is one.
 */
function isOffline(): boolean {
  return typeof navigator === "object" && "onLine" in navigator &&
    navigator.onLine === false;
}
