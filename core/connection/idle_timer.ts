/**
 * Notices that a peer has fallen silent.
 *
 * @module
 */

import { Liveness } from "../util/liveness.ts";
import { MAX_DELAY_MS } from "../util/timer.ts";

/** In how many steps the time is counted. */
const STEPS_PER_TIMEOUT = 4;

/** How to ask the peer for a sign of life, and what is known of its answers. */
export interface LivenessCheck {
  /** Asks the peer. */
  ask(): void;
  /** How many answers have come. */
  answers(): number;
  /** How many bytes were sent in all. */
  sent(): number;
  /** How many of these have not left yet. */
  buffered(): number;
}

/**
 * Calls back when nothing has been heard for a while. A page that was frozen, or a
 * machine that was asleep, finds out only after it has had the time to hear what has
 * come meanwhile; but a page whose timers run late all the time counts that time.
 */
export class IdleTimer {
  readonly #interval: number;
  readonly #liveness: Liveness;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The time that counts, in milliseconds. */
  #now = 0;
  #lastActivityAt = 0;
  #lastCheckAt = 0;
  /** Whether the last look was late. */
  #isLate = false;

  /**
   * Begins to watch when it is started.
   *
   * @param timeout How long a silence is too long, in milliseconds. It is noticed
   * after a quarter of that more, at the latest.
   */
  constructor(timeout: number) {
    this.#interval = Math.min(timeout / STEPS_PER_TIMEOUT, MAX_DELAY_MS);
    this.#liveness = new Liveness(this.#interval * STEPS_PER_TIMEOUT);
  }

  /**
   * Starts to watch.
   *
   * @param onIdle What to call, once, when there is silence.
   * @param check How to ask after half of that, to get an answer, if it can be asked.
   */
  start(onIdle: () => void, check?: LivenessCheck): void {
    this.#lastCheckAt = performance.now();
    this.#timer = setInterval(() => {
      const isSilent = this.#check(check);
      if (!isSilent) return;
      this.stop();
      onIdle();
    }, this.#interval);
  }

  /** Hears something. */
  reset(): void {
    this.#lastActivityAt = this.#now + this.#interval;
  }

  /** Stops to watch. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Tells whether the silence has been too long. */
  #check(inquiry: LivenessCheck | undefined): boolean {
    const lookedAt = performance.now();
    const passed = Math.max(this.#interval, lookedAt - this.#lastCheckAt);
    const wasLate = this.#isLate;
    this.#isLate = passed >= this.#interval * 2;
    this.#lastCheckAt = lookedAt;
    // What was heard since the last look was heard by now.
    const isHeard = this.#lastActivityAt > this.#now;
    this.#now += passed;
    if (isHeard) this.#lastActivityAt = this.#now;
    const verdict = this.#liveness.check(this.#now, {
      heardAt: this.#lastActivityAt,
      answers: inquiry?.answers() ?? 0,
      sent: inquiry?.sent() ?? 0,
      buffered: inquiry?.buffered() ?? 0,
    });
    if (verdict === "ask") inquiry?.ask();
    if (verdict !== "lost") return false;
    // What has come in the meantime may only be about to be told.
    if (!this.#isLate || wasLate) return true;
    inquiry?.ask();
    return false;
  }
}
