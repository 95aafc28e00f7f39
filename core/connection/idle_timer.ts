/**
 * Notices that a peer has fallen silent.
 *
 * @module
 */

import { Liveness } from "../util/liveness.ts";
import { MAX_DELAY_MS } from "../util/timer.ts";

/** In how many steps the time is counted. */
const STEPS = 4;

/** How to ask the peer for a sign of life, and what is known of its answers. */
export interface Inquiry {
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
export class Silence {
  readonly #interval: number;
  readonly #liveness: Liveness;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The time that counts, in milliseconds. */
  #now = 0;
  #heardAt = 0;
  #lookedAt = 0;
  /** Whether the last look was late. */
  #isLate = false;

  /**
   * Begins to watch when it is started.
   *
   * @param timeout How long a silence is too long, in milliseconds. It is noticed
   * after a quarter of that more, at the latest.
   */
  constructor(timeout: number) {
    this.#interval = Math.min(timeout / STEPS, MAX_DELAY_MS);
    this.#liveness = new Liveness(this.#interval * STEPS);
  }

  /**
   * Starts to watch.
   *
   * @param action What to call, once, when there is silence.
   * @param inquiry How to ask after half of that, to get an answer, if it can be asked.
   */
  start(action: () => void, inquiry?: Inquiry): void {
    this.#lookedAt = performance.now();
    this.#timer = setInterval(() => {
      const isSilent = this.#look(inquiry);
      if (!isSilent) return;
      this.stop();
      action();
    }, this.#interval);
  }

  /** Hears something. */
  heard(): void {
    this.#heardAt = this.#now + this.#interval;
  }

  /** Stops to watch. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Tells whether the silence has been too long. */
  #look(inquiry: Inquiry | undefined): boolean {
    const lookedAt = performance.now();
    const passed = Math.max(this.#interval, lookedAt - this.#lookedAt);
    const wasLate = this.#isLate;
    this.#isLate = passed >= this.#interval * 2;
    this.#lookedAt = lookedAt;
    // What was heard since the last look was heard by now.
    const isHeard = this.#heardAt > this.#now;
    this.#now += passed;
    if (isHeard) this.#heardAt = this.#now;
    const verdict = this.#liveness.check(this.#now, {
      heardAt: this.#heardAt,
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
