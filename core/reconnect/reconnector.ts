/**
 * Repeats attempts to connect, with delays in between.
 *
 * @module
 */

import {
  CloseCode,
  ConnectError,
  type ConnectErrorDetails,
  isThenable,
} from "../events/errors.ts";
import type { GiveUpReason } from "../events/event_types.ts";
import { isPage } from "../runtime/page.ts";
import { parseRetryAfter } from "../protocol/retry_after.ts";
import { backoff, retryDelay } from "./retry_delay.ts";
import { ConnectAttempts } from "./connect_attempts.ts";
import type {
  Disconnection,
  ResolvedReconnectOptions,
} from "./reconnect_options.ts";
import { untilAborted } from "../util/until_aborted.ts";
import { waitForRetry } from "./wake_up.ts";

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
  gaveUp(
    attempts: ConnectAttempts,
    error: unknown,
    reason: GiveUpReason,
  ): void;
  /** Is called when an attempt, or a delay between two attempts, begins. */
  changed(): void;
  /** Is called when `shouldReconnect` throws. */
  failed(error: unknown, failure: Disconnection | ConnectError): void;
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
  /** What `shouldReconnect` will decide after an end, if it returned a promise. */
  #decision: Promise<boolean> | undefined;
  /** Ends the delay at once. */
  #skip: AbortController | undefined;
  #isWaiting = false;
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

  /** Whether the attempts are between two of them, not in one. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Makes the next attempt now, with all attempts left. */
  skipDelay(): void {
    this.#state = this.#freshState();
    this.#skip?.abort();
  }

  /** Starts the first attempt, which a signal may cancel. */
  start(signal: AbortSignal | undefined): ConnectAttempts {
    this.#state = this.#freshState();
    const attempts = this.#begin(false);
    if (signal) this.#abortOn(attempts, signal);
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
      let retryAfter = end?.retryAfter;
      let isPageLeaving = end !== undefined && mayLeavePage(end);
      let failure: unknown;
      const decision = this.#decision;
      this.#decision = undefined;
      if (decision && !await untilAborted(decision, attempts.signal)) {
        throw this.#final(
          attempts,
          this.#declined(),
        );
      }
      for (;; next = this.#connectOnce(attempts)) {
        if (next) {
          try {
            return await next;
          } catch (error) {
            const isFinal = attempts.signal.aborted || !this.#options ||
              !(error instanceof ConnectError);
            if (isFinal) throw error;
            this.#isWaiting = true;
            const decision = this.#decide(error);
            const isWanted = typeof decision === "boolean"
              ? decision
              : await untilAborted(decision, attempts.signal);
            attempts.signal.throwIfAborted();
            if (!isWanted) throw this.#final(attempts, error);
            failure = error;
            retryAfter = parseRetryAfter(error.reason);
          }
        }
        await this.#wait(attempts, failure, retryAfter, isPageLeaving);
        isPageLeaving = false;
      }
    } catch (error) {
      this.giveUp(attempts, error, "error");
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
    // `shouldReconnect` may close the client, or connect it anew.
    const attempts = this.#begin(true);
    const decision = this.#decide(end);
    if (this.#attempts !== attempts) return undefined;
    if (decision === false) {
      this.#attempts = undefined;
      // `shouldReconnect` may have called `reconnect()`, which waits for them.
      attempts.fail(this.#declined());
      return undefined;
    }
    this.#decision = decision === true ? undefined : decision;
    attempts.notifyOnFail = true;
    if (uptime >= options.minUptime) this.#state = this.#freshState();
    return attempts;
  }

  /** Ends attempts, as there is a connection. */
  finish(attempts: ConnectAttempts): void {
    if (this.#attempts === attempts) this.#attempts = undefined;
    attempts.finish();
  }

  /** Ends attempts without a connection, unless they are over. */
  giveUp(
    attempts: ConnectAttempts,
    error: unknown,
    reason: GiveUpReason,
  ): void {
    if (this.#attempts !== attempts) return;
    this.#attempts = undefined;
    attempts.fail(error);
    this.#host.gaveUp(attempts, error, reason);
  }

  /** Asks `shouldReconnect`. Only `true` is a yes. */
  #decide(failure: Disconnection | ConnectError): boolean | Promise<boolean> {
    const failed = (error: unknown) => {
      this.#host.failed(error, failure);
      return false;
    };
    try {
      const decision: unknown = this.#options?.shouldReconnect(failure);
      return isThenable(decision)
        ? Promise.resolve(decision).then((value) => value === true, failed)
        : decision === true;
    } catch (error) {
      return failed(error);
    }
  }

  #begin(isWaiting: boolean): ConnectAttempts {
    this.#decision = undefined;
    this.#isWaiting = isWaiting;
    return this.#attempts = new ConnectAttempts();
  }

  #abortOn(attempts: ConnectAttempts, signal: AbortSignal): void {
    attempts.onSignal(
      signal,
      (reason) => this.giveUp(attempts, reason, "aborted"),
    );
  }

  #declined(): ConnectError {
    return this.#host.createError("shouldReconnect decided against it");
  }

  /** Gives up, as no further attempt is wanted. */
  #final(attempts: ConnectAttempts, error: unknown): unknown {
    this.giveUp(attempts, error, "final");
    return error;
  }

  async #connectOnce(attempts: ConnectAttempts): Promise<void> {
    attempts.signal.throwIfAborted();
    if (this.#isWaiting) {
      this.#isWaiting = false;
      this.#host.changed();
      attempts.signal.throwIfAborted();
    }
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
    isPageLeaving: boolean,
  ): Promise<void> {
    const state = this.#state;
    const { signal, maxDuration = Infinity } = this.#options ?? {};
    if (signal) {
      if (signal.aborted) this.giveUp(attempts, signal.reason, "aborted");
      attempts.signal.throwIfAborted();
      this.#abortOn(attempts, signal);
    }
    const step = state.delays?.next();
    if (!step || step.done) {
      const error = this.#host.createError(
        `gave up after ${state.count} attempts to reconnect`,
        detailsOf(failure),
      );
      const isDuration = state.elapsedMs >= maxDuration;
      this.giveUp(attempts, error, isDuration ? "duration" : "attempts");
      throw error;
    }
    const delay = retryDelay({
      backoff: step.value,
      retryAfter,
      isPageLeaving,
      remaining: maxDuration - state.elapsedMs,
      random: Math.random,
    });
    if (delay === undefined) {
      const error = this.#host.createError(
        `the server requires a delay of ${retryAfter} ms, which exceeds what remains of "maxDuration" (${maxDuration})`,
      );
      this.giveUp(attempts, error, "duration");
      throw error;
    }
    const count = ++state.count;
    attempts.notifyOnFail = true;
    this.#host.waiting(count, delay, failure);
    attempts.signal.throwIfAborted(); // a listener may have closed the client
    const start = performance.now();
    const skip = this.#skip = new AbortController();
    await waitForRetry(delay, {
      signal: attempts.signal,
      skip: skip.signal,
      isFixed: retryAfter !== undefined,
    });
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

/**
 * Whether the page may be about to be left: Firefox closes its connections with 1001
 * before it tells the page. A server that goes away mostly gives a reason.
 */
function mayLeavePage({ code, reason }: Disconnection): boolean {
  return isPage() && code === CloseCode.GoingAway && reason === "";
}
