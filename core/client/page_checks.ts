/**
 * Asks a server for a sign of life when a page has reason to doubt its connection.
 *
 * @module
 */

import { watchPage } from "../runtime/page.ts";

/** How long the server may take to answer, in milliseconds. */
export const PROBE_TIMEOUT_MS = 4_000;

/** How long a client does not ask again, in milliseconds. */
const MIN_INTERVAL_MS = 5_000;

/** Asks as long as there is a connection. */
export class PageChecks {
  #unwatch: (() => void) | undefined;
  #askedAt = -Infinity;

  /** Begins to listen to the page. */
  start(probe: (timeout: number) => void): void {
    this.#unwatch ??= watchPage((signal) => {
      if (signal === "left") return;
      const now = performance.now();
      // A network that comes or goes is always a reason.
      const isRecent = now - this.#askedAt < MIN_INTERVAL_MS;
      if (signal === "shown" && isRecent) return;
      this.#askedAt = now;
      probe(PROBE_TIMEOUT_MS);
    });
  }

  /** Stops listening. */
  stop(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
  }
}
