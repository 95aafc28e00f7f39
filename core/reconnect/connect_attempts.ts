/**
 * The attempts that are to lead to one connection, and what cancels them.
 *
 * @module
 */

import { ignoreRejection } from "../events/errors.ts";
import { withResolvers } from "../util/deferred.ts";

/** One attempt to connect, or a sequence of attempts. */
export class ConnectAttempts {
  readonly #controller = new AbortController();
  /** Is aborted when the attempts fail, with the reason. */
  readonly signal: AbortSignal = this.#controller.signal;
  readonly #outcome = withResolvers<void>();
  /** Settles when they are over. An unhandled rejection of it is not reported. */
  readonly outcome: Promise<void> = ignoreRejection(this.#outcome.promise);
  readonly #signals = new Map<AbortSignal, () => void>();
  /** Whether to emit `giveup` if they fail: an event has announced them. */
  notifyOnFail = false;
  /** Whether the application has closed the client meanwhile. */
  isCancelled = false;

  /** Calls back when a signal is aborted, unless the attempts are over. */
  onSignal(signal: AbortSignal, action: (reason: unknown) => void): void {
    if (this.#signals.has(signal)) return;
    const onAbort = () => action(signal.reason);
    this.#signals.set(signal, onAbort);
    signal.addEventListener("abort", onAbort);
  }

  /** Ends the attempts, as there is a connection. */
  finish(): void {
    this.#release();
    this.#outcome.resolve();
  }

  /** Ends the attempts without a connection. */
  fail(reason: unknown): void {
    this.#release();
    this.#controller.abort(reason);
    this.#outcome.reject(this.signal.reason);
  }

  #release(): void {
    for (const [signal, onAbort] of this.#signals) {
      signal.removeEventListener("abort", onAbort);
    }
  }
}
