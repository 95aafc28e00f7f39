/**
 * Divides long work into slices, so that the event loop can process other events in
 * between.
 *
 * @module
 */

import { afterEventLoopTurn } from "./websocket.ts";

/** The maximum length of a slice, in milliseconds. */
export const TIME_SLICE_MS = 1;

/** The minimum length of a slice, in milliseconds, to make progress under load. */
const MIN_SLICE_MS = 0.05;

/**
 * The intended maximum length of a turn of the event loop with a slice, in milliseconds.
 * A message of another peer waits for the end of such a turn.
 */
const MAX_TURN_MS = 2;

/**
 * Works until a time.
 *
 * @param until When to stop, as a time of `performance.now()`.
 * @returns Whether there is more to do.
 */
export type SlicedWork = (until: number) => boolean;

/** How many slices may follow one another without a timer in between. */
const MAX_SLICES_IN_ROW = 4;

/** The number of slices since the last timer. */
let slicesInRow = 0;

/** The work to continue, in order. */
const pendingWork = new Set<SlicedWork>();

/** Whether the next slice is scheduled, or one is being worked in. */
let isScheduled = false;

/**
 * Continues work in later turns of the event loop. All work shares one slice per turn, in
 * equal parts.
 *
 * @param work The work. It must not throw.
 */
export function continueLater(work: SlicedWork): void {
  pendingWork.add(work);
  if (isScheduled) return;
  isScheduled = true;
  afterEventLoopTurn(runSlice);
}

function runSlice(): void {
  const start = performance.now();
  if (sliceStart !== undefined) {
    sliceMs = nextSliceMs(sliceMs, start - sliceStart);
  }
  const until = start + sliceMs;
  // Unfinished work moves to the end, so each runs at most once per turn.
  let left = pendingWork.size;
  let now = start;
  for (const work of pendingWork) {
    pendingWork.delete(work);
    if (work(now + (until - now) / left)) pendingWork.add(work);
    now = performance.now();
    if (--left === 0 || now >= until) break;
  }
  isScheduled = pendingWork.size > 0;
  sliceStart = isScheduled ? start : undefined;
  if (!isScheduled) return;
  // Deno reads sockets before the next timer, but only every 60 turns of the event loop
  // if the end of each turn starts the next one.
  if (++slicesInRow < MAX_SLICES_IN_ROW) {
    return void afterEventLoopTurn(runSlice);
  }
  slicesInRow = 0;
  setTimeout(runSlice, 0);
}

/** The length of the next slice, in milliseconds. It is not known yet what slices cause. */
let sliceMs = TIME_SLICE_MS / 2;

/** The start of the previous slice, if there was more to do. */
let sliceStart: number | undefined;

/**
 * Adapts the length of a slice to the turns that it causes: after a slice, the runtime
 * writes what was sent, which may take several times as long.
 *
 * @param sliceMs The length of the last slice, in milliseconds.
 * @param turnMs The time from the start of that slice to the start of the next, in
 * milliseconds.
 * @returns The length of the next slice, in milliseconds.
 */
export function nextSliceMs(sliceMs: number, turnMs: number): number {
  if (turnMs > MAX_TURN_MS) return Math.max(sliceMs / 2, MIN_SLICE_MS);
  return turnMs > MAX_TURN_MS / 2
    ? sliceMs
    : Math.min(sliceMs * 1.25, TIME_SLICE_MS);
}

/**
 * The start of this turn of the event loop, if {@linkcode startOfTurn} was called in it.
 */
let turnStart: number | undefined;

function endTurn(): void {
  turnStart = undefined;
}

/**
 * Returns the time at which this turn of the event loop started: that of the first call in
 * it.
 */
export function startOfTurn(): number {
  if (turnStart === undefined) {
    turnStart = performance.now();
    afterEventLoopTurn(endTurn);
  }
  return turnStart;
}

/**
 * Whether this turn of the event loop is longer than a slice. A turn starts with the
 * first call in it.
 */
export function isTurnOver(): boolean {
  return performance.now() - startOfTurn() > sliceMs;
}

/** Checks whether a slice is over, with few calls of the clock. */
export class SliceTimer {
  readonly #until: number;
  #time: number;
  /** The number of steps between two checks, and until the next one. */
  #step = 1;
  #left = 1;

  /**
   * @param until When the slice is over; a slice from now on by default.
   */
  constructor(until?: number) {
    this.#time = performance.now();
    this.#until = until ?? this.#time + sliceMs;
  }

  /** Counts a step. Returns whether the slice is over. */
  isOver(): boolean {
    if (--this.#left > 0) return false;
    const now = performance.now();
    const stepsMs = now - this.#time;
    this.#time = now;
    this.#step = stepsMs * 8 < this.#until - now
      ? Math.min(this.#step * 2, MAX_STEPS_PER_CHECK)
      : 1;
    this.#left = this.#step;
    return now >= this.#until;
  }
}

/** The maximum number of steps between two checks. */
const MAX_STEPS_PER_CHECK = 16;

/**
 * Calls a function for each item, in slices. The first slice is done before this returns.
 *
 * @param action The function; it must not throw.
 * @returns A promise; undefined if all is done.
 */
export function forEachInSlices<T>(
  items: Iterable<T>,
  action: (item: T) => void,
): Promise<void> | undefined {
  const rest = items[Symbol.iterator]();
  let next = rest.next();
  const work = (until?: number) => {
    const timer = new SliceTimer(until);
    while (!next.done) {
      action(next.value);
      next = rest.next();
      if (!next.done && timer.isOver()) return true;
    }
    return false;
  };
  if (!work()) return undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  continueLater((until) => {
    const isLeft = work(until);
    if (!isLeft) resolve();
    return isLeft;
  });
  return promise;
}
