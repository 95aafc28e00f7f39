/**
 * Notices that a peer has fallen silent.
 *
 * @module
 */

import { MAX_DELAY } from "../util/timer.ts";

/** In how many steps the time is counted. */
const STEPS = 4;

/**
 * Calls back when nothing has been heard for a while. It counts looks, not
 * time: a page that was frozen, or a machine that was asleep, finds out only
 * after it has had the time to hear what has come meanwhile.
 */
export class Silence {
  readonly #interval: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #count = 0;

  /**
   * Begins to watch when it is started.
   *
   * @param timeout How long a silence is too long, in milliseconds. It is noticed
   * after a quarter of that more, at the latest.
   */
  constructor(timeout: number) {
    this.#interval = Math.min(timeout / STEPS, MAX_DELAY);
  }

  /**
   * Starts to watch.
   *
   * @param action What to call, once, when there is silence.
   * @param ask What to call after half of that, to get an answer.
   */
  start(action: () => void, ask?: () => void): void {
    this.#timer = setInterval(() => {
      if (++this.#count === STEPS / 2) ask?.();
      if (this.#count <= STEPS) return;
      this.stop();
      action();
    }, this.#interval);
  }

  /** Hears something. */
  heard(): void {
    this.#count = 0;
  }

  /** Stops to watch. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
