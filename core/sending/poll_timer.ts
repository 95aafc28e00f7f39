/**
 * A shared timer for everything that is polled.
 *
 * @module
 */

import { TIME_SLICE_MS } from "../runtime/time_slices.ts";
import type { Timer } from "../util/timer.ts";

/** Something that is polled. */
export interface Pollable {
  /** Polls it. Returns the delay until the next poll in milliseconds; 0 for none. */
  poll(): number;
}

/**
 * Polls many objects with one timer, which runs only while there are some. It adds up its
 * own delays instead of reading a clock, so that sleep of the machine and changes of the
 * time do not count.
 */
export class PollTimer {
  readonly #remaining = new Map<Pollable, number>();
  #timer: Timer | undefined;
  /** The delay of the timer, and when it was set. */
  #delay = 0;
  #startedAt = 0;

  /** The number of polled objects. */
  get size(): number {
    return this.#remaining.size;
  }

  /**
   * Adds an object.
   *
   * @param delay The maximum delay of the first poll, in milliseconds. It may be shorter
   * if others are waiting.
   */
  add(pollable: Pollable, delay: number): void {
    if (this.#timer !== undefined && delay < this.#delay) {
      this.#subtractElapsed();
    }
    this.#remaining.set(pollable, delay);
    if (this.#timer === undefined || delay < this.#delay) this.#schedule(delay);
  }

  /** Removes an object. */
  remove(pollable: Pollable): void {
    if (this.#remaining.delete(pollable) && this.#remaining.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Subtracts the elapsed time from all delays. */
  #subtractElapsed(): void {
    // At most the delay of the timer, even if the clock was set.
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
        // Other events are processed first.
        this.#remaining.set(pollable, next = 0);
        continue;
      }
      const delay = left > 0 ? left : pollable.poll();
      // A poll may remove the object itself.
      if (delay > 0 && this.#remaining.has(pollable)) {
        this.#remaining.set(pollable, delay);
        next = Math.min(next, delay);
      } else this.#remaining.delete(pollable);
    }
    if (this.#remaining.size > 0) this.#schedule(next);
  }
}
