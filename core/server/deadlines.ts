/**
 * Calls back at times of the wall clock, with one timer for all of them.
 *
 * @module
 */

import { SliceTimer } from "../runtime/time_slices.ts";
import type { Timer } from "../util/timer.ts";

/**
 * How late a change of the clock is noticed at most, in milliseconds: also the sleep of a
 * machine changes it, as timers do not count it.
 */
const MAX_WAIT_MS = 60_000;

/** An entry of the heap. It is stale if its key has another time by now. */
interface Deadline<Key> {
  readonly key: Key;
  readonly time: number;
}

/** The deadlines of many objects: at most one of each. */
export class Deadlines<Key> {
  readonly #onDue: (key: Key) => void;
  readonly #clock: () => number;
  readonly #times = new Map<Key, number>();
  /** A binary heap: no entry is later than those below it. */
  #heap: Deadline<Key>[] = [];
  #timer: Timer | undefined;
  /** When the timer fires, as a time of the wall clock. */
  #wakeUp = Infinity;

  /** @param onDue Called once for each deadline that has passed. */
  constructor(
    onDue: (key: Key) => void,
    clock: () => number = () => Date.now(),
  ) {
    this.#onDue = onDue;
    this.#clock = clock;
  }

  /** The number of deadlines. */
  get size(): number {
    return this.#times.size;
  }

  /**
   * Sets the deadline of an object, instead of an earlier one.
   *
   * @param time In milliseconds since the Unix epoch; `Infinity` for none.
   */
  set(key: Key, time: number): void {
    if (time === Infinity) return this.delete(key);
    if (this.#times.get(key) === time) return;
    this.#times.set(key, time);
    this.#push({ key, time });
    // An object that is set again and again leaves stale entries.
    if (this.#heap.length > 2 * this.#times.size + 64) this.#rebuild();
    this.#schedule();
  }

  /** Removes the deadline of an object. */
  delete(key: Key): void {
    if (!this.#times.delete(key) || this.#times.size > 0) return;
    this.#heap = [];
    this.#stop();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeUp = Infinity;
  }

  #schedule(): void {
    const [first] = this.#heap;
    if (first === undefined || first.time >= this.#wakeUp) return;
    this.#stop();
    const now = this.#clock();
    const delay = Math.min(Math.max(0, first.time - now), MAX_WAIT_MS);
    this.#wakeUp = now + delay;
    this.#timer = setTimeout(() => this.#wake(), delay);
  }

  /** Calls back for all that are due, in slices. */
  #wake(): void {
    this.#stop();
    const now = this.#clock();
    const slice = new SliceTimer();
    for (let [first] = this.#heap; first; [first] = this.#heap) {
      if (this.#times.get(first.key) !== first.time) this.#pop();
      else if (first.time > now || slice.isOver()) break;
      else {
        this.#pop();
        this.delete(first.key);
        this.#onDue(first.key);
      }
    }
    this.#schedule();
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [key, time] of this.#times) this.#push({ key, time });
  }

  #push(entry: Deadline<Key>): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above];
      if (other === undefined || other.time <= entry.time) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = entry;
  }

  /** Removes the first entry. */
  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const isRight = (heap[left + 1]?.time ?? Infinity) <
        (heap[left]?.time ?? Infinity);
      const below = isRight ? left + 1 : left;
      const other = heap[below];
      if (other === undefined || other.time >= last.time) break;
      heap[at] = other;
      at = below;
    }
    heap[at] = last;
  }
}
