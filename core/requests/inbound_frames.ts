/**
 * Frames of `events.v1` that have come, and wait for their turn; pure.
 *
 * @module
 */

import { isCounted, type Payload } from "../protocol/frames.ts";
import { costOf, FIRST_CREDIT } from "../sending/credit_window.ts";

/** How many bytes may wait, each frame with what it takes to hold it. */
const MAX_SIZE = 16 * 1024 * 1024;

/** About how many bytes it takes to hold a frame, however small it is. */
const OVERHEAD = 64;

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
function creditOf(frame: Payload): number {
  return isCounted(frame) ? costOf(frame) : 0;
}

function sizeOf(frame: Payload): number {
  return OVERHEAD +
    (typeof frame === "string" ? frame.length : frame.byteLength);
}

/** Keeps frames in order, up to the credit that their sender was given. */
export class InboundFrames {
  readonly #arrivals: Arrival[] = [];
  #first = 0;
  #credit = 0;
  #size = 0;

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#first === this.#arrivals.length;
  }

  /**
   * Adds a frame.
   *
   * @param frame The frame.
   * @returns Whether its sender was allowed to send it.
   */
  push(frame: Payload): boolean {
    const isAllowed = this.#count(frame);
    this.#arrivals.push({ frame });
    return isAllowed;
  }

  /**
   * Adds the items of a batch.
   *
   * @param items The items.
   * @param at The first of them that waits.
   * @returns Whether their sender was allowed to send them.
   */
  pushItems(items: readonly Payload[], at = 0): boolean {
    let isAllowed = true;
    for (let i = at; i < items.length; i++) {
      isAllowed &&= this.#count(items[i] ?? "");
    }
    this.#arrivals.push({ items, at });
    return isAllowed;
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
    this.#credit -= creditOf(payload);
    this.#size -= sizeOf(payload);
    if (!items || arrival.at === items.length) this.#first++;
    if (this.#first > 1024 && this.#first * 2 > this.#arrivals.length) {
      this.#arrivals.splice(0, this.#first);
      this.#first = 0;
    }
    return { payload, isItem: items !== undefined };
  }

  /** Counts a frame. The last one may go beyond the credit, however large it is. */
  #count(frame: Payload): boolean {
    const credit = creditOf(frame);
    const isAllowed = (credit === 0 || this.#credit < FIRST_CREDIT) &&
      this.#size < MAX_SIZE;
    this.#credit += credit;
    this.#size += sizeOf(frame);
    return isAllowed;
  }
}
