/**
 * One timer for all that has to be looked at again and again.
 *
 * @module
 */

import { TIME_SLICE_MS } from "../runtime/time_slices.ts";
import type { Timer } from "../util/timer.ts";

/** Something that has to be looked at. */
export interface Pollable {
  /**
   * Looks.
   *
   * @returns After how many milliseconds to look again; 0 for never.
   */
  poll(): number;
}

/**
 * Looks at many things with one timer, which runs only while there are some. It
 * counts what its timers were set to, whatever time it is: a machine that was
 * asleep, or whose time is set, has not waited.
 */
export class PollTimer {
  readonly #remaining = new Map<Pollable, number>();
  #timer: Timer | undefined;
  /** What the timer was set to, and when. */
  #delay = 0;
  #startedAt = 0;

  /** How many things are watched. */
  get size(): number {
    return this.#remaining.size;
  }

  /**
   * Watches something.
   *
   * @param pollable What to look at.
   * @param delay After how many milliseconds, at the latest, and a while before
   * that if others have been waiting already.
   */
  add(pollable: Pollable, delay: number): void {
    if (this.#timer !== undefined && delay < this.#delay) {
      this.#subtractElapsed();
    }
    this.#remaining.set(pollable, delay);
    if (this.#timer === undefined || delay < this.#delay) this.#schedule(delay);
  }

  /**
   * Stops watching something.
   *
   * @param pollable What not to look at any more.
   */
  remove(pollable: Pollable): void {
    if (this.#remaining.delete(pollable) && this.#remaining.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Takes off from all what has passed since the timer was set. */
  #subtractElapsed(): void {
    // If the machine's clock is set, it still is no more than that.
    const elapsed = Math.min(
      this.#delay,
      Math.max(0, Date.now() - this.#startedAt),
    );
    for (const [pollable, wait] of this.#remaining) {
      this.#remaining.set(pollable, wait - elapsed);
    }
  }

  #schedule(delay: number): void {
    clearTimeout(this.#timer);
    this.#delay = delay;
    this.#startedAt = Date.now();
    this.#timer = setTimeout(() => this.#tick(), delay);
  }

  #tick(): void {
    this.#timer = undefined;
    const elapsed = this.#delay;
    const until = performance.now() + TIME_SLICE_MS;
    let next = Infinity;
    for (const [pollable, wait] of this.#remaining) {
      const left = wait - elapsed;
      if (left <= 0 && performance.now() >= until) {
        // Others get their turn of the event loop first.
        this.#remaining.set(pollable, next = 0);
        continue;
      }
      const delay = left > 0 ? left : pollable.poll();
      // Who is looked at may have stopped the watch itself.
      if (delay > 0 && this.#remaining.has(pollable)) {
        this.#remaining.set(pollable, delay);
        next = Math.min(next, delay);
      } else this.#remaining.delete(pollable);
    }
    if (this.#remaining.size > 0) this.#schedule(next);
  }
}
