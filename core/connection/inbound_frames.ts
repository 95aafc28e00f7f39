/**
 * Frames that have come, and wait to be handed out; pure.
 *
 * @module
 */

import { isCounted, type Payload } from "../protocol/frames.ts";
import { creditCost, INITIAL_CREDIT } from "../sending/credit_window.ts";

/** How many bytes may wait, each frame with what it takes to hold it. */
const MAX_INBOUND_BYTES = 16 * 1024 * 1024;

/** About how many bytes it takes to hold a frame, however small it is. */
const BYTES_PER_FRAME = 64;

/** A frame, or the items of a batch. */
type Arrival =
  | { readonly frame: Payload; readonly items?: undefined }
  | { readonly items: readonly Payload[]; at: number };

/** What is handed out next. */
export interface InboundFrame {
  readonly payload: Payload;
  /** Whether it is an item of a batch. */
  readonly isItem: boolean;
}

/** What a frame takes of its sender's credit. */
function creditCostOf(frame: Payload): number {
  return isCounted(frame) ? creditCost(frame) : 0;
}

function heldBytesOf(frame: Payload): number {
  return BYTES_PER_FRAME +
    (typeof frame === "string" ? frame.length : frame.byteLength);
}

/** Keeps frames in order, and counts what they take of the credit of their sender. */
export class InboundFrames {
  readonly #arrivals: Arrival[] = [];
  #first = 0;
  #credit = 0;
  #size = 0;

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#first === this.#arrivals.length;
  }

  /** How many bytes it takes to hold what waits. */
  get size(): number {
    return this.#size;
  }

  /** Whether more waits than may. */
  get isFull(): boolean {
    return this.#size > MAX_INBOUND_BYTES;
  }

  /**
   * Adds a frame.
   *
   * @param frame The frame.
   * @returns Whether its sender had credit for it. The last frame may go beyond the
   * credit, however large it is.
   */
  push(frame: Payload): boolean {
    this.#arrivals.push({ frame });
    return this.#count(frame);
  }

  /**
   * Adds the items of a batch.
   *
   * @param items The items.
   * @param at The first of them that waits.
   * @returns Whether their sender had credit for all of them.
   */
  pushItems(items: readonly Payload[], at = 0): boolean {
    let hasCredit = true;
    for (let i = at; i < items.length; i++) {
      if (!this.#count(items[i] ?? "")) hasCredit = false;
    }
    this.#arrivals.push({ items, at });
    return hasCredit;
  }

  /**
   * Takes the frame that has waited longest.
   *
   * @returns The frame; undefined if none waits.
   */
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
