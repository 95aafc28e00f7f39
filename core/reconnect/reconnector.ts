/**
 * Repeats attempts to connect, with delays in between.
 *
 * @module
 */

import { ConnectError, type ConnectErrorDetails } from "../events/errors.ts";
import { backoff, withRetryAfter } from "./backoff.ts";
import { ConnectAttempts } from "./connect_attempts.ts";
import type {
  Disconnection,
  ResolvedReconnectOptions,
} from "./reconnect_options.ts";
import { waitForRetry } from "./retry_delay.ts";

/** The client that a {@linkcode Reconnector} connects. */
export interface ReconnectorHost {
  /**
   * Makes one attempt.
   *
   * @returns A promise that resolves when the connection is open.
   */
  connectOnce(attempts: ConnectAttempts): Promise<void>;
  /** Creates the error of attempts that failed. */
  createError(reason: string, details?: ConnectErrorDetails): ConnectError;
  /** Is called before each delay, with the error of the attempt before it. */
  waiting(attempt: number, delay: number, failure: unknown): void;
  /** Is called when attempts have failed for good. */
  gaveUp(attempts: ConnectAttempts, error: unknown): void;
  /** Is called when `shouldReconnect` throws. */
  failed(error: unknown, end: Disconnection): void;
}

/** The attempts since the last connection that lived for `minUptime`. */
interface RetryState {
  count: number;
  /** The duration of the attempts and delays, in milliseconds. */
  elapsedMs: number;
  readonly delays: Generator<number, void, void> | undefined;
}

/** Makes the attempts of one client, one sequence of them at a time. */
export class Reconnector {
  readonly #options: ResolvedReconnectOptions | undefined;
  readonly #connectTimeout: number;
  readonly #host: ReconnectorHost;
  #attempts: ConnectAttempts | undefined;
  #state: RetryState;

  constructor(
    options: ResolvedReconnectOptions | undefined,
    connectTimeout: number,
    host: ReconnectorHost,
  ) {
    this.#options = options;
    this.#connectTimeout = connectTimeout;
    this.#host = host;
    this.#state = this.#freshState();
  }

  /** Whether failed attempts and lost connections are followed by other attempts. */
  get isEnabled(): boolean {
    return this.#options !== undefined;
  }

  /** The attempts under way. */
  get attempts(): ConnectAttempts | undefined {
    return this.#attempts;
  }

  /** Starts the first attempt, which a signal may cancel. */
  start(signal: AbortSignal | undefined): ConnectAttempts {
    this.#state = this.#freshState();
    const attempts = this.#attempts = new ConnectAttempts();
    if (signal) {
      attempts.onSignal(signal, (reason) => this.giveUp(attempts, reason));
    }
    return attempts;
  }

  /**
   * Makes attempts until there is a connection.
   *
   * @param end The end after which to reconnect; undefined for the first attempt, which
   * is made at once.
   * @returns A promise that rejects when the attempts have failed for good.
   */
  async run(attempts: ConnectAttempts, end?: Disconnection): Promise<void> {
    try {
      let next = end ? undefined : this.#connectOnce(attempts);
      let failure: unknown;
      for (;; next = this.#connectOnce(attempts)) {
        if (next) {
          try {
            return await next;
          } catch (error) {
            const isFinal = attempts.signal.aborted || !this.#options ||
              !(error instanceof ConnectError);
            if (isFinal) throw error;
            failure = error;
          }
        }
        const retryAfter = failure ? undefined : end?.retryAfter;
        await this.#wait(attempts, failure, retryAfter);
      }
    } catch (error) {
      this.giveUp(attempts, error);
      throw attempts.signal.reason;
    }
  }

  /**
   * Decides whether to reconnect after an end.
   *
   * @param uptime How long the connection lived, in milliseconds.
   * @returns The attempts to run, if the client is to reconnect.
   */
  prepare(end: Disconnection, uptime: number): ConnectAttempts | undefined {
    const options = this.#options;
    if (!options || options.signal?.aborted) return undefined;
    let decision: boolean | undefined;
    // `shouldReconnect` may close the client, or connect it anew.
    const attempts = this.#attempts = new ConnectAttempts();
    try {
      decision = options.shouldReconnect(end);
    } catch (error) {
      this.#host.failed(error, end);
    }
    if (this.#attempts !== attempts) return undefined;
    if (decision !== true) return this.#attempts = undefined;
    attempts.notifyOnFail = true;
    if (uptime >= options.minUptime) this.#state = this.#freshState();
    return attempts;
  }

  /** Ends attempts, as there is a connection. */
  finish(attempts: ConnectAttempts): void {
    attempts.finish();
    this.#attempts = undefined;
  }

  /** Ends attempts without a connection, unless they are over. */
  giveUp(attempts: ConnectAttempts, error: unknown): void {
    if (this.#attempts !== attempts) return;
    this.#attempts = undefined;
    attempts.fail(error);
    this.#host.gaveUp(attempts, error);
  }

  async #connectOnce(attempts: ConnectAttempts): Promise<void> {
    attempts.signal.throwIfAborted();
    const state = this.#state;
    const start = performance.now();
    try {
      await this.#host.connectOnce(attempts);
    } finally {
      const elapsed = performance.now() - start;
      state.elapsedMs += Math.min(elapsed, this.#connectTimeout);
    }
  }

  /** Waits until it is time for the next attempt. */
  async #wait(
    attempts: ConnectAttempts,
    failure: unknown,
    retryAfter: number | undefined,
  ): Promise<void> {
    const state = this.#state;
    const { signal, maxDuration = Infinity } = this.#options ?? {};
    signal?.throwIfAborted();
    if (signal) {
      attempts.onSignal(signal, (reason) => this.giveUp(attempts, reason));
    }
    const step = state.delays?.next();
    if (!step || step.done) {
      throw this.#host.createError(
        `gave up after ${state.count} attempts to reconnect`,
        detailsOf(failure),
      );
    }
    const isFixed = retryAfter !== undefined;
    const delay = withRetryAfter(step.value, retryAfter, Math.random);
    if (isFixed && delay > maxDuration - state.elapsedMs) {
      throw this.#host.createError(
        `the server requires a delay of ${retryAfter} ms, which exceeds what remains of "maxDuration" (${maxDuration})`,
      );
    }
    const count = ++state.count;
    attempts.notifyOnFail = true;
    this.#host.waiting(count, delay, failure);
    attempts.signal.throwIfAborted(); // a listener may have closed the client
    const start = performance.now();
    await waitForRetry(delay, { signal: attempts.signal, isFixed });
    state.elapsedMs += Math.min(performance.now() - start, delay);
  }

  #freshState(): RetryState {
    const state: RetryState = {
      count: 0,
      elapsedMs: 0,
      delays: this.#options && backoff(this.#options, {
        random: Math.random,
        elapsed: () => state.elapsedMs,
      }),
    };
    return state;
  }
}

/** The details of the last failure, for the error that tells of giving up after it. */
function detailsOf(failure: unknown): ConnectErrorDetails {
  if (!(failure instanceof ConnectError)) return { cause: failure };
  const { kind, status, code, reason } = failure;
  return { kind, status, code, reason, cause: failure };
}
