/**
 * Requests that wait for a reply; pure.
 *
 * @module
 */

import { MAX_REQUEST_ID } from "../protocol/frames.ts";

/** The resolvers of a request that waits for its reply. */
export interface PendingReply<Answer> {
  /** Resolves the request. */
  resolve(answer: Answer): void;
  /** Rejects the request. */
  reject(reason: unknown): void;
}

interface PendingRequest<Answer> {
  readonly reply: PendingReply<Answer>;
  readonly timeout: number;
  readonly deadline: number;
}

/**
 * Whether a reply was expected, came too late, or matches no request at all.
 */
export type ReplyOutcome = "awaited" | "late" | "unasked";

/**
 * The requests of one connection that wait for a reply.
 *
 * @typeParam Answer The type of a reply.
 */
export class PendingRequests<Answer> {
  readonly #pending = new Map<number, PendingRequest<Answer>>();
  /** Grouped by timeout; each group is in order of expiry. */
  readonly #byTimeout = new Map<number, Set<number>>();
  #lastId = 0;

  /** The number of pending requests. */
  get size(): number {
    return this.#pending.size;
  }

  /** The time at which the next request expires; `Infinity` for never. */
  get deadline(): number {
    let next = Infinity;
    for (const [first = 0] of this.#byTimeout.values()) {
      next = Math.min(next, this.#pending.get(first)?.deadline ?? Infinity);
    }
    return next;
  }

  /**
   * Adds a request.
   *
   * @param timeout The timeout in milliseconds; `Infinity` for none.
   * @param now The time of a monotonic clock, in milliseconds.
   * @returns The id of the request; undefined if all ids have been used.
   */
  add(
    reply: PendingReply<Answer>,
    timeout: number,
    now: number,
  ): number | undefined {
    if (this.#lastId === MAX_REQUEST_ID) return undefined;
    const id = ++this.#lastId;
    this.#pending.set(id, { reply, timeout, deadline: now + timeout });
    const ids = this.#byTimeout.get(timeout);
    if (ids) ids.add(id);
    else this.#byTimeout.set(timeout, new Set([id]));
    return id;
  }

  /**
   * Removes the request with this id and settles it.
   *
   * @returns Whether the reply was expected.
   */
  settle(
    id: number,
    settle: (reply: PendingReply<Answer>) => void,
  ): ReplyOutcome {
    const pending = this.#pending.get(id);
    if (!pending) return id <= this.#lastId ? "late" : "unasked";
    this.#pending.delete(id);
    const ids = this.#byTimeout.get(pending.timeout);
    ids?.delete(id);
    if (ids?.size === 0) this.#byTimeout.delete(pending.timeout);
    settle(pending.reply);
    return "awaited";
  }

  /** Rejects the requests that have expired. */
  expire(now: number, makeReason: (timeout: number) => unknown): void {
    for (const [timeout, ids] of [...this.#byTimeout]) {
      for (const id of ids) {
        const { deadline = Infinity } = this.#pending.get(id) ?? {};
        if (deadline > now) break;
        this.settle(id, (reply) => reply.reject(makeReason(timeout)));
      }
    }
  }

  /** Rejects all requests. */
  rejectAll(reason: unknown): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    this.#byTimeout.clear();
    for (const { reply } of all) reply.reject(reason);
  }
}
