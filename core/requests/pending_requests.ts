/**
 * Requests that wait for an answer; pure: it knows neither sockets nor timers.
 *
 * @module
 */

import { MAX_REQUEST_ID } from "../protocol/frames.ts";

/** Who waits for an answer. */
export interface PendingReply<Answer> {
  /**
   * Takes the answer.
   *
   * @param answer The answer.
   */
  resolve(answer: Answer): void;
  /**
   * Hears why there is none.
   *
   * @param reason Why.
   */
  reject(reason: unknown): void;
}

interface PendingRequest<Answer> {
  readonly reply: PendingReply<Answer>;
  readonly timeout: number;
  readonly deadline: number;
}

/**
 * What came of an answer: it was awaited; it came too late; or nobody ever asked.
 */
export type ReplyOutcome = "awaited" | "late" | "unasked";

/**
 * Requests that wait for an answer.
 *
 * @typeParam Answer What an answer is.
 */
export class PendingRequests<Answer> {
  readonly #pending = new Map<number, PendingRequest<Answer>>();
  /** By how long they may wait, in the order in which their time is over. */
  readonly #byTimeout = new Map<number, Set<number>>();
  #lastId = 0;

  /** How many wait. */
  get size(): number {
    return this.#pending.size;
  }

  /** When the time of the next one is over; `Infinity` if that never is. */
  get deadline(): number {
    let next = Infinity;
    for (const [first = 0] of this.#byTimeout.values()) {
      next = Math.min(next, this.#pending.get(first)?.deadline ?? Infinity);
    }
    return next;
  }

  /**
   * Adds one.
   *
   * @param reply Who waits.
   * @param timeout How long it may wait, in milliseconds; `Infinity` for ever.
   * @param now The time in milliseconds, on any clock that goes forward only.
   * @returns Its id; undefined if all ids have been used.
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
   * Takes the one away that an answer is for.
   *
   * @param id Its id.
   * @param settle Gives the answer.
   * @returns Whether it was awaited.
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

  /**
   * Rejects those whose time is over.
   *
   * @param now The time in milliseconds, on the same clock.
   * @param makeReason Makes what they are told.
   */
  expire(now: number, makeReason: (timeout: number) => unknown): void {
    for (const [timeout, ids] of [...this.#byTimeout]) {
      for (const id of ids) {
        const { deadline = Infinity } = this.#pending.get(id) ?? {};
        if (deadline > now) break;
        this.settle(id, (reply) => reply.reject(makeReason(timeout)));
      }
    }
  }

  /**
   * Rejects all.
   *
   * @param reason What they are told.
   */
  rejectAll(reason: unknown): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    this.#byTimeout.clear();
    for (const { reply } of all) reply.reject(reason);
  }
}
