/**
 * One timer for all that has to be looked at again and again.
 *
 * @module
 */

import type { Timer } from "../util/timer.ts";

/** Something that has to be looked at. */
export interface Watched {
  /**
   * Looks.
   *
   * @returns After how many milliseconds to look again; 0 for never.
   */
  look(): number;
}

/**
 * Looks at many things with one timer, which runs only while there are some. It
 * counts what its timers were set to, whatever time it is: a machine that was
 * asleep, or whose time is set, has not waited.
 */
export class Clock {
  readonly #waits = new Map<Watched, number>();
  #timer: Timer | undefined;
  /** What the timer was set to, and when. */
  #delay = 0;
  #start = 0;

  /** How many things are watched. */
  get size(): number {
    return this.#waits.size;
  }

  /**
   * Watches something.
   *
   * @param watched What to look at.
   * @param wait After how many milliseconds, at the latest, and a while before
   * that if others have been waiting already.
   */
  add(watched: Watched, wait: number): void {
    if (this.#timer !== undefined && wait < this.#delay) this.#pass();
    this.#waits.set(watched, wait);
    if (this.#timer === undefined || wait < this.#delay) this.#run(wait);
  }

  /**
   * Stops watching something.
   *
   * @param watched What not to look at any more.
   */
  remove(watched: Watched): void {
    if (this.#waits.delete(watched) && this.#waits.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Takes off from all what has passed since the timer was set. */
  #pass(): void {
    // If the machine's clock is set, it still is no more than that.
    const passed = Math.min(this.#delay, Math.max(0, Date.now() - this.#start));
    for (const [watched, wait] of this.#waits) {
      this.#waits.set(watched, wait - passed);
    }
  }

  #run(delay: number): void {
    clearTimeout(this.#timer);
    this.#delay = delay;
    this.#start = Date.now();
    this.#timer = setTimeout(() => this.#tick(), delay);
  }

  #tick(): void {
    this.#timer = undefined;
    const passed = this.#delay;
    let next = Infinity;
    for (const [watched, wait] of this.#waits) {
      const left = wait - passed;
      const again = left > 0 ? left : watched.look();
      // Who is looked at may have stopped the watch itself.
      if (again > 0 && this.#waits.has(watched)) {
        this.#waits.set(watched, again);
        next = Math.min(next, again);
      } else this.#waits.delete(watched);
    }
    if (this.#waits.size > 0) this.#run(next);
  }
}
