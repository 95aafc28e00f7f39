/**
 * Waits for a promise until a signal is aborted.
 *
 * @module
 */

import { withResolvers } from "./deferred.ts";

/**
 * Waits for a promise, but no longer than until a signal is aborted. A rejection of the
 * promise after that is not reported as unhandled.
 *
 * @returns A promise that rejects with the reason of the signal if it is aborted first.
 */
export async function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { promise: aborted, reject } = withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
