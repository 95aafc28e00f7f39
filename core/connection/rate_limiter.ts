/**
 * Rate limiting by a token bucket; pure.
 *
 * @module
 */

import {
  assertKnown,
  assertOneOf,
  assertSize,
  assertType,
  optionNames,
} from "../events/errors.ts";

/** A limit on the rate of incoming messages of one connection. */
export interface MessageRate {
  /** The sustained rate, in messages per second. */
  readonly perSecond: number;
  /**
   * The maximum number of messages that may arrive at once after a quiet period.
   *
   * @default {perSecond}
   */
  readonly burst?: number;
  /**
   * The policy for a message that exceeds the limit: `close` closes the connection with
   * 1008 and the cause `limit`; `drop` drops the message and counts it. Even with `drop`,
   * a peer is closed if more than 50,000 of its messages per second are dropped.
   *
   * @default {"close"}
   */
  readonly policy?: "close" | "drop";
}

/**
 * The limit of a server that sets none. A client on the same machine that waits for each
 * reply before it sends the next message was measured at 29,000 messages a second; a
 * game that sends 60 times a second and a feed of 1,000 updates a second stay far below.
 * The runtime takes 5 to 10 microseconds to read a small frame, and reads all that has
 * arrived in one turn of the event loop, so the burst keeps that turn below 50 ms.
 */
export const DEFAULT_MESSAGE_RATE: Required<MessageRate> = {
  perSecond: 50_000,
  burst: 2_000,
  policy: "close",
};

/**
 * Resolves the option `messageRate`.
 *
 * @param rate The option; `false` switches the limit off.
 * @returns The limit, if there is one.
 * @throws {RangeError} If a number is out of range, or the policy unknown.
 */
export function resolveMessageRate(
  rate: MessageRate | false | undefined,
): Required<MessageRate> | undefined {
  if (rate === undefined) return DEFAULT_MESSAGE_RATE;
  if (rate === false) return undefined;
  assertType("messageRate", rate, "object");
  assertKnown("messageRate", rate, RATE_OPTIONS);
  const { perSecond, burst = Math.max(perSecond, 1), policy = "close" } = rate;
  assertSize("messageRate.perSecond", perSecond);
  assertSize("messageRate.burst", burst, 1);
  assertOneOf("messageRate.policy", policy, ["close", "drop"]);
  return perSecond === Infinity ? undefined : { perSecond, burst, policy };
}

/** A token bucket: tokens are added as time passes, and each event takes one. */
export class TokenBucket {
  readonly #tokensPerMs: number;
  readonly #burst: number;
  #tokens: number;
  #time: number;
  /** The number of tokens that may be taken without reading the clock. */
  #spare = 0;
  #stalledMs = 0;
  /** Tokens beyond the capacity, for the time of a stall. */
  #extra = 0;

  /**
   * Creates a full bucket.
   *
   * @param now The time of a monotonic clock, in milliseconds.
   */
  constructor(perSecond: number, burst: number, now: number) {
    this.#tokensPerMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#time = now;
  }

  /**
   * Takes a token. Returns false if there is none.
   *
   * @param stalledMs For how long events could not be received so far, in milliseconds.
   * All that came in that time is received at once, so the tokens of that time are added
   * even if they exceed the capacity. They are lost when the bucket is full again.
   */
  take(now: number, stalledMs: number = this.#stalledMs): boolean {
    const filled = this.#tokens + (now - this.#time) * this.#tokensPerMs;
    this.#time = now;
    this.#tokens = Math.min(this.#burst, filled);
    if (this.#tokens === this.#burst) this.#extra = 0;
    if (stalledMs !== this.#stalledMs) {
      this.#extra += (stalledMs - this.#stalledMs) * this.#tokensPerMs;
      this.#stalledMs = stalledMs;
    }
    if (this.#tokens < 1) return this.#extra >= 1 && this.#extra-- >= 1;
    this.#tokens--;
    this.#spare = Math.min(this.#tokens / 16, MAX_SPARE_TOKENS);
    return true;
  }

  /**
   * Returns the time until there are a number of tokens, in milliseconds; 0 if there are.
   * The number must not exceed the capacity.
   */
  delayFor(count: number, now: number): number {
    const filled = this.#tokens + (now - this.#time) * this.#tokensPerMs;
    return filled >= count ? 0 : (count - filled) / this.#tokensPerMs;
  }

  /**
   * Takes a token without reading the clock, if enough are left. A burst may therefore be
   * larger by a sixteenth, and at most 64 tokens. Returns false if {@linkcode take} has
   * to be called.
   */
  takeSpare(): boolean {
    if (this.#spare < 1) return false;
    this.#spare--;
    this.#tokens--;
    return true;
  }
}

/** The maximum number of tokens taken between two readings of the clock. */
const MAX_SPARE_TOKENS = 64;

const RATE_OPTIONS = optionNames<MessageRate>({
  perSecond: true,
  burst: true,
  policy: true,
});
