/**
 * Hands out what a peer has sent in slices, between which the event loop sees to
 * everything else.
 *
 * @module
 */

import { InboundFrames } from "./inbound_frames.ts";
import { isCounted, type Payload } from "../protocol/frames.ts";
import { continueLater, SliceTimer } from "../runtime/time_slices.ts";

/** The connection that receives. */
export interface FrameReceiver {
  /** Whether frames still count. */
  isAccepting(): boolean;
  /**
   * Takes a frame.
   *
   * @param payload What it holds.
   * @param isItem Whether it is an item of a batch.
   */
  dispatchFrame(payload: Payload, isItem: boolean): void;
  /**
   * Hears of a frame that counts for credit, and is dropped.
   *
   * @param payload What it holds.
   */
  skip(payload: Payload): void;
  /** Hears that nothing waits any more. */
  caughtUp(): void;
}

/** So many items are handed out without a look at the clock. */
const ITEMS_PER_CLOCK_CHECK = 8;

/** Hands out frames in order. */
export class SlicedReceiver {
  readonly #connection: FrameReceiver;
  readonly #isCredited: boolean;
  #waiting: InboundFrames | undefined;
  #isDispatching = false;

  /**
   * Creates one.
   *
   * @param connection The connection.
   * @param isCredited Whether the peer needs credit for what it sends.
   */
  constructor(connection: FrameReceiver, isCredited: boolean) {
    this.#connection = connection;
    this.#isCredited = isCredited;
  }

  /** How many bytes it takes to hold what waits. */
  get size(): number {
    return this.#waiting?.size ?? 0;
  }

  /** Whether something waits. */
  get isBusy(): boolean {
    return this.#waiting !== undefined;
  }

  /** Whether a frame is just being handed out. */
  get isDispatching(): boolean {
    return this.#isDispatching;
  }

  /**
   * Hands out the items of a batch: all of them, or as many as a slice has time for.
   *
   * @param items The items. Nothing may wait.
   */
  receiveItems(items: readonly Payload[]): void {
    const timer = items.length > ITEMS_PER_CLOCK_CHECK
      ? new SliceTimer()
      : undefined;
    for (let i = 0; i < items.length; i++) {
      if (!this.#connection.isAccepting()) return;
      this.#dispatch(items[i] ?? "", true);
      if (!timer?.isOver() || i + 1 === items.length) continue;
      if (this.#connection.isAccepting()) {
        this.#waitingFrames.pushItems(items, i + 1);
      }
      return;
    }
  }

  /**
   * Adds a frame to those that wait.
   *
   * @param frame The frame.
   * @param items Its items, if it is a batch.
   * @returns False if the peer had no credit for it.
   */
  push(frame: Payload, items: readonly Payload[] | undefined): boolean {
    const waiting = this.#waitingFrames;
    const hasCredit = items ? waiting.pushItems(items) : waiting.push(frame);
    if (this.#isCredited) return hasCredit && !waiting.isFull;
    // Other peers are slowed down by TCP, while this takes what is too much.
    while (waiting.isFull && this.#waiting === waiting) this.#next(waiting);
    return true;
  }

  /** Drops what waits, but gives the credit back that it has taken. */
  drop(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (let next = waiting?.shift(); next; next = waiting?.shift()) {
      if (isCounted(next.payload)) this.#connection.skip(next.payload);
    }
  }

  get #waitingFrames(): InboundFrames {
    if (this.#waiting === undefined) {
      this.#waiting = new InboundFrames();
      continueLater(this.#runSlice);
    }
    return this.#waiting;
  }

  /** Hands out what waits, for as long as a slice lasts. */
  readonly #runSlice = (until: number): boolean => {
    const timer = new SliceTimer(until);
    const waiting = this.#waiting;
    while (waiting && this.#connection.isAccepting()) {
      this.#next(waiting);
      if (this.#waiting !== waiting || waiting.isEmpty) break;
      if (timer.isOver()) return true;
    }
    if (this.#waiting === undefined) return false;
    this.drop();
    this.#connection.caughtUp();
    return false;
  };

  #next(waiting: InboundFrames): void {
    const next = waiting.shift();
    if (next) this.#dispatch(next.payload, next.isItem);
  }

  #dispatch(payload: Payload, isItem: boolean): void {
    this.#isDispatching = true;
    this.#connection.dispatchFrame(payload, isItem);
    this.#isDispatching = false;
  }
}
