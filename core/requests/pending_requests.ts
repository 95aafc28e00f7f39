/**
 * Requests that wait for an answer; pure: it knows neither sockets nor timers.
 *
 * @module
 */

import { MAX_REQUEST_ID } from "../protocol/frames.ts";

/** Who waits for an answer. */
export interface Asker<Answer> {
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

interface Pending<Answer> {
  readonly asker: Asker<Answer>;
  readonly timeout: number;
  readonly deadline: number;
}

/**
 * What came of an answer: it was awaited; it came too late; or nobody ever asked.
 */
export type Delivery = "awaited" | "late" | "unasked";

/**
 * Requests that wait for an answer.
 *
 * @typeParam Answer What an answer is.
 */
export class Requests<Answer> {
  readonly #pending = new Map<number, Pending<Answer>>();
  /** By how long they may wait, in the order in which their time is over. */
  readonly #lanes = new Map<number, Set<number>>();
  #lastId = 0;

  /** How many wait. */
  get size(): number {
    return this.#pending.size;
  }

  /** When the time of the next one is over; `Infinity` if that never is. */
  get deadline(): number {
    let next = Infinity;
    for (const [first = 0] of this.#lanes.values()) {
      next = Math.min(next, this.#pending.get(first)?.deadline ?? Infinity);
    }
    return next;
  }

  /**
   * Adds one.
   *
   * @param asker Who waits.
   * @param timeout How long it may wait, in milliseconds; `Infinity` for ever.
   * @param now The time in milliseconds, on any clock that goes forward only.
   * @returns Its id; undefined if all ids have been used.
   */
  add(
    asker: Asker<Answer>,
    timeout: number,
    now: number,
  ): number | undefined {
    if (this.#lastId === MAX_REQUEST_ID) return undefined;
    const id = ++this.#lastId;
    this.#pending.set(id, { asker, timeout, deadline: now + timeout });
    const lane = this.#lanes.get(timeout);
    if (lane) lane.add(id);
    else this.#lanes.set(timeout, new Set([id]));
    return id;
  }

  /**
   * Takes the one away that an answer is for.
   *
   * @param id Its id.
   * @param answer Gives the answer.
   * @returns Whether it was awaited.
   */
  settle(id: number, answer: (asker: Asker<Answer>) => void): Delivery {
    const pending = this.#pending.get(id);
    if (!pending) return id <= this.#lastId ? "late" : "unasked";
    this.#pending.delete(id);
    const lane = this.#lanes.get(pending.timeout);
    lane?.delete(id);
    if (lane?.size === 0) this.#lanes.delete(pending.timeout);
    answer(pending.asker);
    return "awaited";
  }

  /**
   * Rejects those whose time is over.
   *
   * @param now The time in milliseconds, on the same clock.
   * @param why Makes what they are told.
   */
  expire(now: number, why: (timeout: number) => unknown): void {
    for (const [timeout, lane] of [...this.#lanes]) {
      for (const id of lane) {
        const { deadline = Infinity } = this.#pending.get(id) ?? {};
        if (deadline > now) break;
        this.settle(id, (asker) => asker.reject(why(timeout)));
      }
    }
  }

  /**
   * Rejects all.
   *
   * @param why What they are told.
   */
  failAll(why: unknown): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    this.#lanes.clear();
    for (const { asker } of all) asker.reject(why);
  }
}
