/**
 * Waits for the moment of the next attempt.
 *
 * @module
 */

import { startTimer } from "../util/timer.ts";

/** Options of {@linkcode waitForRetry}. */
export interface RetryDelayOptions {
  /** Ends the wait when it is aborted. */
  readonly signal: AbortSignal;
  /** Whether nothing may cut the wait short. */
  readonly isFixed: boolean;
}

/**
 * Waits for a time. In a browser it is over as soon as the network is there
 * again, and lasts for as long as there is none.
 *
 * @param delay How long, in milliseconds.
 * @param options What ends it.
 * @returns A promise that resolves when it is over, and rejects with the reason
 * of the signal.
 */
export function waitForRetry(
  delay: number,
  { signal, isFixed }: RetryDelayOptions,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Not every runtime has it: Node's global object is no `EventTarget`.
  const hasEvents = typeof addEventListener === "function";
  let isElapsed = false;
  const stop = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
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
  if (hasEvents) addEventListener("online", onOnline);
  return promise;
}

/** Whether there is no network at all; what else is the case nobody knows. */
function isOffline(): boolean {
  return typeof navigator === "object" && "onLine" in navigator &&
    navigator.onLine === false;
}
