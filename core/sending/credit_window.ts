/**
 * Holds messages back that the peer has no room for, as it says itself.
 *
 * @module
 */

import {
  type QueuedMessage,
  type SendOptions,
  SendQueue,
  type SendQueueLimits,
} from "./send_queue.ts";
import type { Frame } from "../values/codec.ts";
import { TRACE_PREFIX } from "../protocol/frames.ts";

/** What a message may cost before the peer has said anything. */
export const INITIAL_CREDIT = 1024;

/** How much of a message costs one more. */
const BYTES_PER_CREDIT = 16 * 1024;

/**
 * What a message costs its receiver: 1, and 1 more for each 16 KiB. A text is counted
 * in UTF-16 code units, which both sides can tell without encoding it. What tells of a
 * trace costs nothing, as those who do not know it do not count it.
 *
 * @param frame What it holds.
 * @returns The cost.
 */
export function creditCost(frame: Frame): number {
  if (typeof frame === "string" && frame.startsWith(TRACE_PREFIX)) return 0;
  const size = typeof frame === "string"
    ? frame.length
    : frame instanceof Blob
    ? frame.size
    : frame.byteLength;
  return 1 + Math.floor(size / BYTES_PER_CREDIT);
}

/** Lets so much pass as the peer says, and keeps the rest in order. */
export class CreditWindow {
  readonly #limits: SendQueueLimits;
  readonly #forward: (entry: QueuedMessage) => void;
  #limit: number = INITIAL_CREDIT;
  #spent = 0;
  #queue: SendQueue | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * Creates a credit window that is open.
   *
   * @param limits How much may wait.
   * @param forward Takes what has waited.
   */
  constructor(
    limits: SendQueueLimits,
    forward: (entry: QueuedMessage) => void,
  ) {
    this.#limits = limits;
    this.#forward = forward;
  }

  /** How many bytes wait. */
  get size(): number {
    return this.#queue?.size ?? 0;
  }

  /** About how many bytes of memory they take. */
  get memory(): number {
    return this.#queue?.memory ?? 0;
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#queue?.dropped ?? 0;
  }

  /**
   * Lets a message pass, if it may and none waits.
   *
   * @param frame The message.
   * @returns Whether it may.
   */
  trySpend(frame: Frame): boolean {
    if (this.#spent >= this.#limit || this.#hasQueued) return false;
    this.#spent += creditCost(frame);
    return true;
  }

  /**
   * Takes back that a message has passed: it was dropped on its way, and the peer never
   * hears of it.
   *
   * @param cost What it has cost.
   */
  refund(cost: number): void {
    this.#spent -= cost;
  }

  /**
   * Keeps a message that may not pass.
   *
   * @param frame The message.
   * @param options What to do if it does not fit.
   * @param isTransferable Whether it may go out by another connection.
   * @param heldBytes How many bytes wait elsewhere already.
   * @returns The message, and whether it waits now.
   */
  enqueue(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
    heldBytes: number,
  ): { readonly entry: QueuedMessage; readonly isQueued: boolean } {
    this.#queue ??= new SendQueue(this.#limits);
    return this.#queue.add(frame, options, isTransferable, heldBytes);
  }

  /**
   * Drops a message that was not taken.
   *
   * @param entry The message.
   */
  drop(entry: QueuedMessage): void {
    this.#queue?.drop(entry);
  }

  /**
   * Adds a message that has waited elsewhere.
   *
   * @param entry The message.
   */
  adopt(entry: QueuedMessage): void {
    if (this.trySpend(entry.frame)) return this.#forward(entry);
    this.#queue ??= new SendQueue(this.#limits);
    this.#queue.adopt(entry);
  }

  /**
   * Hears what the peer has room for.
   *
   * @param limit What all messages may cost since the connection was opened.
   * @returns Whether something waited, and nothing does any more.
   */
  raiseLimit(limit: number): boolean {
    this.#limit = Math.max(this.#limit, limit);
    if (!this.#hasQueued) return false;
    for (
      let entry = this.#queue?.first;
      entry && this.#spent < this.#limit;
      entry = this.#queue?.first
    ) {
      this.#queue?.shift();
      this.#spent += creditCost(entry.frame);
      this.#forward(entry);
    }
    if (this.#hasQueued) return false;
    const onEmpty = this.#onEmpty;
    this.#onEmpty = undefined;
    onEmpty?.();
    return true;
  }

  /**
   * Calls back when nothing waits any more, at once if nothing does.
   *
   * @param action What to call.
   */
  whenEmpty(action: () => void): void {
    if (this.#hasQueued) this.#onEmpty = action;
    else action();
  }

  /**
   * Lets go of all that waits.
   *
   * @param makeError Makes what promises reject with that are not carried.
   * @returns What may go out by another connection, in order.
   */
  stop(makeError: () => Error): QueuedMessage[] {
    this.#onEmpty = undefined;
    return this.#queue?.stop(makeError) ?? [];
  }

  get #hasQueued(): boolean {
    return this.#queue !== undefined && !this.#queue.isEmpty;
  }
}
