/**
 * A queue of received frames; pure.
 *
 * @module
 */

import { isCounted, type Payload } from "../protocol/frames.ts";
import { creditCost, INITIAL_CREDIT } from "../sending/credit_window.ts";

/** The maximum memory of the queue in bytes, including overhead. */
const MAX_INBOUND_BYTES = 16 * 1024 * 1024;

/** The approximate overhead of a frame, in bytes. */
const BYTES_PER_FRAME = 64;

/** A frame, or the items of a batch. */
type Arrival =
  | { readonly frame: Payload; readonly items?: undefined }
  | { readonly items: readonly Payload[]; at: number };

/** The next frame to dispatch. */
export interface InboundFrame {
  readonly payload: Payload;
  /** Whether it is an item of a batch. */
  readonly isItem: boolean;
}

/** The cost of a frame in credit. */
function creditCostOf(frame: Payload): number {
  return isCounted(frame) ? creditCost(frame) : 0;
}

function heldBytesOf(frame: Payload): number {
  return BYTES_PER_FRAME +
    (typeof frame === "string" ? frame.length : frame.byteLength);
}

/** Queues frames in order, and counts their cost in credit. */
export class InboundFrames {
  readonly #arrivals: Arrival[] = [];
  #first = 0;
  #credit = 0;
  #size = 0;

  /** Whether the queue is empty. */
  get isEmpty(): boolean {
    return this.#first === this.#arrivals.length;
  }

  /** The memory of the queue, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** Whether the queue exceeds its limit. */
  get isFull(): boolean {
    return this.#size > MAX_INBOUND_BYTES;
  }

  /**
   * Adds a frame. Returns whether the peer had credit for it. The last frame may exceed
   * the credit.
   */
  push(frame: Payload): boolean {
    this.#arrivals.push({ frame });
    return this.#count(frame);
  }

  /**
   * Adds the items of a batch from an index on. Returns whether the peer had credit for
   * all of them.
   */
  pushItems(items: readonly Payload[], at = 0): boolean {
    let hasCredit = true;
    for (let i = at; i < items.length; i++) {
      if (!this.#count(items[i] ?? "")) hasCredit = false;
    }
    this.#arrivals.push({ items, at });
    return hasCredit;
  }

  /** Removes and returns the oldest frame, if any. */
  shift(): InboundFrame | undefined {
    const arrival = this.#arrivals[this.#first];
    if (arrival === undefined) return undefined;
    const { items } = arrival;
    const payload = items ? items[arrival.at++] ?? "" : arrival.frame;
    this.#credit -= creditCostOf(payload);
    this.#size -= heldBytesOf(payload);
    if (!items || arrival.at === items.length) this.#first++;
    if (this.#first > 1024 && this.#first * 2 > this.#arrivals.length) {
      this.#arrivals.splice(0, this.#first);
      this.#first = 0;
    }
    return { payload, isItem: items !== undefined };
  }

  #count(frame: Payload): boolean {
    const credit = creditCostOf(frame);
    const hasCredit = credit === 0 || this.#credit < INITIAL_CREDIT;
    this.#credit += credit;
    this.#size += heldBytesOf(frame);
    return hasCredit;
  }
}
