/**
 * Dispatches received frames in slices, and lets the event loop do other work between
 * two of them.
 *
 * @module
 */

import { InboundFrames } from "./inbound_frames.ts";
import { isCounted, type Payload } from "../protocol/frames.ts";
import {
  continueLater,
  isTurnOver,
  SliceTimer,
} from "../runtime/time_slices.ts";
import { sizeOf } from "../values/codec.ts";

/** What takes the frames in the end. */
export interface FrameReceiver {
  /** Whether frames are still taken. */
  readonly isAccepting: boolean;
  /** Whether the peer needs credit for what it sends. */
  readonly isCredited: boolean;
  /** Takes a frame. */
  dispatchFrame(payload: Payload, isItem: boolean): void;
  /** Called with each frame that is dropped and counts for credit. */
  skipMessage(payload: Payload): void;
  /** Called when no frame waits any more. */
  queueEmptied(): void;
}

/** How many items are dispatched before the clock is read. */
const ITEMS_PER_CLOCK_CHECK = 8;

/** The minimum size of frames whose peer is slowed down instead of being closed, in bytes. */
const SLOWING_BYTES = 4 * 1024;

/** Dispatches frames in order. */
export class SlicedReceiver {
  readonly #receiver: FrameReceiver;
  #waiting: InboundFrames | undefined;
  #isDispatching = false;

  /** Creates one without frames. */
  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** The memory that waiting frames take, in bytes. */
  get size(): number {
    return this.#waiting?.size ?? 0;
  }

  /** Whether frames wait. */
  get isBusy(): boolean {
    return this.#waiting !== undefined;
  }

  /** Whether a frame is being dispatched. */
  get isDispatching(): boolean {
    return this.#isDispatching;
  }

  /**
   * Dispatches the items of a batch: all of them, or as many as one slice has time for.
   * The rest waits. No other frame may wait already.
   */
  receiveItems(items: readonly Payload[]): void {
    const timer = items.length > ITEMS_PER_CLOCK_CHECK
      ? new SliceTimer()
      : undefined;
    for (let i = 0; i < items.length; i++) {
      if (!this.#receiver.isAccepting) return;
      this.#dispatch(items[i] ?? "", true);
      if (!timer?.isOver() || i + 1 === items.length) continue;
      if (this.#receiver.isAccepting) {
        this.#waitingFrames.pushItems(items, i + 1);
      }
      return;
    }
  }

  /**
   * Adds a frame to those that wait.
   *
   * @param items The items of the frame, if it is a batch.
   * @returns False if the peer had no credit for it, or too many frames wait.
   */
  push(frame: Payload, items: readonly Payload[] | undefined): boolean {
    const waiting = this.#waitingFrames;
    const hasCredit = items ? waiting.pushItems(items) : waiting.push(frame);
    if (this.#receiver.isCredited) return hasCredit && !waiting.isFull;
    // TCP slows down a peer without credit while this side works off the excess. Many
    // small frames would take too long for that.
    while (waiting.isFull && this.#waiting === waiting) {
      if (sizeOf(frame) < SLOWING_BYTES && isTurnOver()) return false;
      this.#next(waiting);
    }
    return true;
  }

  /** Drops all frames that wait, and gives their credit back. */
  drop(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (let next = waiting?.shift(); next; next = waiting?.shift()) {
      if (isCounted(next.payload)) this.#receiver.skipMessage(next.payload);
    }
  }

  get #waitingFrames(): InboundFrames {
    if (this.#waiting === undefined) {
      this.#waiting = new InboundFrames();
      continueLater(this.#runSlice);
    }
    return this.#waiting;
  }

  /** Dispatches frames for as long as a slice lasts. */
  readonly #runSlice = (until: number): boolean => {
    const timer = new SliceTimer(until);
    const waiting = this.#waiting;
    while (waiting && this.#receiver.isAccepting) {
      this.#next(waiting);
      if (this.#waiting !== waiting || waiting.isEmpty) break;
      if (timer.isOver()) return true;
    }
    if (this.#waiting === undefined) return false;
    this.drop();
    this.#receiver.queueEmptied();
    return false;
  };

  #next(waiting: InboundFrames): void {
    const next = waiting.shift();
    if (next) this.#dispatch(next.payload, next.isItem);
  }

  #dispatch(payload: Payload, isItem: boolean): void {
    this.#isDispatching = true;
    this.#receiver.dispatchFrame(payload, isItem);
    this.#isDispatching = false;
  }
}
