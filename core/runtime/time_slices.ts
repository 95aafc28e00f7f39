/**
 * Shares the event loop: work that takes long is done in slices, and between two of
 * them the loop sees to everything else.
 *
 * @module
 */

import { afterTurn } from "./websocket.ts";

/** How long one slice takes, in milliseconds. */
export const SLICE = 5;

/**
 * Works until a time of `performance.now()`.
 *
 * @param until When to stop.
 * @returns Whether something is left to do.
 */
export type SlicedWork = (until: number) => boolean;

/** What is to go on in the next turns, in the order of the turns. */
const waiting = new Set<SlicedWork>();

/**
 * Lets work go on in later turns of the event loop. All such work shares one slice a
 * turn.
 *
 * @param work The work; it must not throw.
 */
export function continueLater(work: SlicedWork): void {
  waiting.add(work);
  if (waiting.size === 1) afterTurn(runSlice);
}

function runSlice(): void {
  const until = performance.now() + SLICE;
  // What is not finished goes to the end, and so is not seen twice in one turn.
  let left = waiting.size;
  for (const work of waiting) {
    waiting.delete(work);
    if (work(until)) waiting.add(work);
    if (--left === 0 || performance.now() >= until) break;
  }
  if (waiting.size > 0) afterTurn(runSlice);
}

/** When this turn of the event loop began, if somebody has asked in it. */
let turnStart: number | undefined;

function endTurn(): void {
  turnStart = undefined;
}

/**
 * Whether a turn of the event loop lasts for longer than a slice. It begins when this
 * is first called in it.
 *
 * @returns True if it does.
 */
export function isTurnOver(): boolean {
  if (turnStart !== undefined) return performance.now() - turnStart > SLICE;
  turnStart = performance.now();
  afterTurn(endTurn);
  return false;
}

/** Tells when a slice is over, and looks at the clock as seldom as it can. */
export class SliceTimer {
  readonly #until: number;
  #time: number;
  /** How many steps to take before the next look, and how many of them are left. */
  #step = 1;
  #left = 1;

  /**
   * Starts.
   *
   * @param until When the slice is over; a slice from now on by default.
   */
  constructor(until?: number) {
    this.#time = performance.now();
    this.#until = until ?? this.#time + SLICE;
  }

  /**
   * Counts a step of the work.
   *
   * @returns Whether the slice is over.
   */
  isOver(): boolean {
    if (--this.#left > 0) return false;
    const now = performance.now();
    const took = now - this.#time;
    this.#time = now;
    this.#step = took * 8 < SLICE ? Math.min(this.#step * 2, MAX_STEP) : 1;
    this.#left = this.#step;
    return now >= this.#until;
  }
}

/** How many steps may go by between two looks at the clock. */
const MAX_STEP = 16;
