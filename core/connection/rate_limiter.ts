/**
 * How often something may happen; pure.
 *
 * @module
 */

import { assertSize, assertType } from "../events/errors.ts";

/** How many messages one peer may send. */
export interface MessageRate {
  /** So many a second, in the long run. */
  readonly perSecond: number;
  /**
   * So many at once, if there have been few before.
   *
   * @default {perSecond}
   */
  readonly burst?: number;
  /**
   * What becomes of one too many: `close` ends the connection with 1008, and the
   * cause `limit`; `drop` lets it fall, and counts it.
   *
   * @default {"close"}
   */
  readonly policy?: "close" | "drop";
}

/**
 * Fills in the defaults of a rate.
 *
 * @param rate What the program says, if it says something.
 * @returns The rate, if there is one.
 * @throws {RangeError} If a number is out of range, or the policy unknown.
 */
export function rateLimit(
  rate: MessageRate | undefined,
): Required<MessageRate> | undefined {
  if (rate === undefined) return undefined;
  assertType("messageRate", rate, "object");
  const { perSecond, burst = Math.max(perSecond, 1), policy = "close" } = rate;
  assertSize("messageRate.perSecond", perSecond);
  assertType("messageRate.burst", burst, "number");
  if (!(burst >= 1)) {
    throw new RangeError(
      `Cannot use "messageRate.burst" unless it is 1 or more: current value is ${burst}`,
    );
  }
  if (policy !== "close" && policy !== "drop") {
    throw new RangeError(
      `Cannot use "messageRate.policy" unless it is close or drop: current value is ${policy}`,
    );
  }
  return { perSecond, burst, policy };
}

/** A token bucket: it fills as time passes, and each event takes one out. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #time: number;

  /**
   * Creates a bucket that is full.
   *
   * @param perSecond How many tokens come in a second.
   * @param burst How many it holds.
   * @param now The time in milliseconds, on any clock that goes forward only.
   */
  constructor(perSecond: number, burst: number, now: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#time = now;
  }

  /**
   * Takes a token.
   *
   * @param now The time in milliseconds, on the same clock.
   * @returns False if there is none.
   */
  take(now: number): boolean {
    const filled = this.#tokens + (now - this.#time) * this.#perMs;
    this.#time = now;
    this.#tokens = Math.min(this.#burst, filled);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
