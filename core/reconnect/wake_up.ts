/**
 * Waits for the next attempt to connect, and wakes up early when the network or the user
 * is back. `retry_delay.ts` decides how long the delay is; a page that is offline waits
 * for longer.
 *
 * @module
 */

import { isOffline, type PageSignal, watchPage } from "../runtime/page.ts";
import { withResolvers } from "../util/deferred.ts";
import { startTimer } from "../util/timer.ts";

/**
 * How much longer a client waits while the browser says that there is no network. It may
 * be wrong, so this is not for ever.
 */
const OFFLINE_MS = 30_000;

/** How long a delay lasts at least, however often the user looks at the page. */
const MIN_DELAY_MS = 1_000;

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
 * Waits for a delay in milliseconds. In a page, the delay ends early when the network is
 * back or the user looks at the page again, is extended while there is no network, and
 * does not end while the page is in the back/forward cache. Time is what the clock says:
 * the timers of a hidden page may be late.
 *
 * @returns A promise that rejects with the reason of the signal.
 */
export function waitForRetry(
  delay: number,
  { signal, skip, isFixed }: RetryDelayOptions,
): Promise<void> {
  const { promise, resolve, reject } = withResolvers<void>();
  const start = performance.now();
  let isTimerElapsed = false;
  let isLeft = false;
  let offlineTimer: ReturnType<typeof startTimer>;
  const stop = () => {
    clearTimeout(timer);
    clearTimeout(offlineTimer);
    signal.removeEventListener("abort", onAbort);
    skip?.removeEventListener("abort", finish);
    unwatch();
  };
  const finish = () => {
    stop();
    resolve();
  };
  const onAbort = () => {
    stop();
    reject(signal.reason);
  };
  const onElapsed = () => {
    isTimerElapsed = true;
    if (isLeft) return;
    if (!isOffline()) finish();
    else offlineTimer ??= startTimer(() => isLeft || finish(), OFFLINE_MS);
  };
  const onPage = (page: PageSignal) => {
    if (page === "offline") return;
    isLeft = page === "left";
    if (isLeft) return;
    const passed = performance.now() - start;
    const isElapsed = isTimerElapsed || passed >= delay;
    if (isFixed && !isElapsed) return;
    if (page === "online") return finish();
    if (isElapsed) return onElapsed();
    if (passed >= MIN_DELAY_MS && !isOffline()) finish();
  };
  const timer = startTimer(onElapsed, delay);
  const unwatch = watchPage(onPage);
  signal.addEventListener("abort", onAbort);
  skip?.addEventListener("abort", finish);
  return promise;
}
