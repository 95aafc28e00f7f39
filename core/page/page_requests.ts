/**
 * The requests of one connection that wait for a reply.
 *
 * @module
 */

import { assertSize, ignoreRejection, rejected } from "../events/errors.ts";
import type { Payload } from "../protocol/frames.ts";
import {
  REQUEST_TIMEOUT_MS,
  type RequestOptions,
} from "../requests/session.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import { startTimer, type Timer } from "../util/timer.ts";

interface SentRequest extends Deferred<Payload> {
  readonly timeout: number;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  readonly abort: () => void;
}

/** Requests that wait for a reply. All of them share one timer. */
export class SentRequests {
  /** The name of the server, for errors. */
  readonly #name: string;
  readonly #pending = new Map<number, SentRequest>();
  #lastId = 0;
  #timer: Timer | undefined;
  #firesAt = Infinity;

  constructor(name: string) {
    this.#name = name;
  }

  /**
   * Adds a request.
   *
   * @param send Sends it, with its id.
   * @returns A promise of the reply. Its rejection is never unhandled.
   * @throws {RangeError} If the timeout is negative or `NaN`.
   */
  add(
    { signal, timeout = REQUEST_TIMEOUT_MS }: RequestOptions,
    send: (id: number) => Promise<void>,
  ): Promise<Payload> {
    assertSize("timeout", timeout);
    if (signal?.aborted) return rejected(signal.reason);
    const id = ++this.#lastId;
    const deadline = performance.now() + timeout;
    const abort = () => this.settle(id)?.reject(signal?.reason);
    const reply = withResolvers<Payload>();
    this.#pending.set(id, { ...reply, timeout, deadline, signal, abort });
    signal?.addEventListener("abort", abort);
    this.#schedule(deadline);
    // A request that is not sent gets no reply.
    send(id).catch((error) => this.settle(id)?.reject(error));
    return ignoreRejection(reply.promise);
  }

  /** Whether a request with this id was sent. */
  hasSent(id: number): boolean {
    return id <= this.#lastId;
  }

  /** Removes and returns a request; undefined if it does not wait any more. */
  settle(id: number): Deferred<Payload> | undefined {
    const request = this.#pending.get(id);
    this.#pending.delete(id);
    request?.signal?.removeEventListener("abort", request.abort);
    return request;
  }

  /** Rejects all requests. */
  stop(makeError: () => Error): void {
    clearTimeout(this.#timer);
    this.#firesAt = -Infinity;
    for (const id of this.#pending.keys()) this.settle(id)?.reject(makeError());
  }

  #schedule(deadline: number): void {
    if (deadline >= this.#firesAt) return;
    clearTimeout(this.#timer);
    this.#firesAt = deadline;
    this.#timer = startTimer(
      () => this.#expire(),
      Math.ceil(deadline - performance.now()),
    );
  }

  #expire(): void {
    // If the timer fires early, the clock lags behind: the deadline has passed.
    const now = Math.max(performance.now(), this.#firesAt);
    let next = this.#firesAt = Infinity;
    for (const [id, { deadline, timeout }] of this.#pending) {
      if (deadline > now) next = Math.min(next, deadline);
      else {
        this.settle(id)?.reject(
          new DOMException(
            `Cannot wait any longer for a reply from ${this.#name}: ${timeout} ms have passed`,
            "TimeoutError",
          ),
        );
      }
    }
    this.#schedule(next);
  }
}
