/**
 * Shares the event loop: work that takes long is done in slices, and between two of
 * them the loop sees to everything else.
 *
 * @module
 */

import { afterEventLoopTurn } from "./websocket.ts";

/** How long one slice takes at most, in milliseconds. */
export const TIME_SLICE_MS = 2;

/** However much a slice causes, some work is done in it. */
const MIN_SLICE_MS = 0.25;

/** How long a turn of the event loop with a slice in it may take, in milliseconds. */
const MAX_TURN_MS = 16;

/**
 * Works until a time of `performance.now()`.
 *
 * @param until When to stop.
 * @returns Whether something is left to do.
 */
export type SlicedWork = (until: number) => boolean;

/** What is to go on in the next turns, in the order of the turns. */
const pendingWork = new Set<SlicedWork>();

/**
 * Lets work go on in later turns of the event loop. All such work shares one slice a
 * turn.
 *
 * @param work The work; it must not throw.
 */
export function continueLater(work: SlicedWork): void {
  pendingWork.add(work);
  if (pendingWork.size === 1) afterEventLoopTurn(runSlice);
}

function runSlice(): void {
  const start = performance.now();
  if (sliceStart !== undefined) {
    sliceMs = nextSliceMs(sliceMs, start - sliceStart);
  }
  const until = start + sliceMs;
  // What is not finished goes to the end, and so is not seen twice in one turn.
  let left = pendingWork.size;
  for (const work of pendingWork) {
    pendingWork.delete(work);
    if (work(until)) pendingWork.add(work);
    if (--left === 0 || performance.now() >= until) break;
  }
  sliceStart = pendingWork.size > 0 ? start : undefined;
  if (sliceStart !== undefined) afterEventLoopTurn(runSlice);
}

/** How long the next slice may take, in milliseconds. */
let sliceMs = TIME_SLICE_MS;

/** When the last slice began, if another one follows it. */
let sliceStart: number | undefined;

/**
 * Adapts the length of a slice to what it causes: the runtime writes what was sent in a
 * slice after it, which may take several times as long.
 *
 * @param sliceMs How long the last slice was to take, in milliseconds.
 * @param turnMs The time from its start to the start of the next one, in milliseconds.
 * @returns How long the next one may take.
 */
export function nextSliceMs(sliceMs: number, turnMs: number): number {
  if (turnMs > MAX_TURN_MS) return Math.max(sliceMs / 2, MIN_SLICE_MS);
  return turnMs > MAX_TURN_MS / 2
    ? sliceMs
    : Math.min(sliceMs * 1.25, TIME_SLICE_MS);
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
  if (turnStart !== undefined) {
    return performance.now() - turnStart > sliceMs;
  }
  turnStart = performance.now();
  afterEventLoopTurn(endTurn);
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
    this.#until = until ?? this.#time + sliceMs;
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
    this.#step = took * 8 < TIME_SLICE_MS
      ? Math.min(this.#step * 2, MAX_STEPS_PER_CHECK)
      : 1;
    this.#left = this.#step;
    return now >= this.#until;
  }
}

/** How many steps may go by between two looks at the clock. */
const MAX_STEPS_PER_CHECK = 16;
