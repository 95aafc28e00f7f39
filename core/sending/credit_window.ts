/**
 * Holds back messages for which the peer has given no credit.
 *
 * @module
 */

import {
  type QueuedMessage,
  type SendOptions,
  SendQueue,
  type SendQueueLimits,
} from "./send_queue.ts";
import { type Frame, sizeOf } from "../values/codec.ts";
import { TRACE_PREFIX } from "../protocol/frames.ts";

/** The credit of a new connection. */
export const INITIAL_CREDIT = 1024;

/** The size that costs one more credit. */
const BYTES_PER_CREDIT = 16 * 1024;

/**
 * The cost of a message in credit: 1, and 1 more for each 16 KiB. A text is counted in
 * UTF-16 code units, which both sides know without encoding it. A trace frame costs
 * nothing, as peers that do not know it do not count it.
 */
export function creditCost(frame: Frame): number {
  if (typeof frame === "string" && frame.startsWith(TRACE_PREFIX)) return 0;
  return 1 + Math.floor(sizeOf(frame) / BYTES_PER_CREDIT);
}

/** Forwards messages within the credit of the peer, and queues the others. */
export class CreditWindow {
  readonly #limits: SendQueueLimits;
  readonly #forward: (entry: QueuedMessage) => void;
  #limit: number = INITIAL_CREDIT;
  #spent = 0;
  #queue: SendQueue | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * Creates a window with the initial credit.
   *
   * @param forward Takes a message that was queued, once there is credit for it.
   */
  constructor(
    limits: SendQueueLimits,
    forward: (entry: QueuedMessage) => void,
  ) {
    this.#limits = limits;
    this.#forward = forward;
  }

  /** The bytes of all queued messages. */
  get size(): number {
    return this.#queue?.size ?? 0;
  }

  /** The approximate memory of all queued messages, in bytes. */
  get memory(): number {
    return this.#queue?.memory ?? 0;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#queue?.dropped ?? 0;
  }

  /** Spends credit for a message, if there is some and no message is queued. */
  trySpend(frame: Frame): boolean {
    if (this.#spent >= this.#limit || this.#hasQueued) return false;
    this.#spent += creditCost(frame);
    return true;
  }

  /** Takes back the cost of a message that was dropped before it was sent. */
  refund(cost: number): void {
    this.#spent -= cost;
  }

  /** Queues a message, as {@linkcode SendQueue.add} does. */
  enqueue(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
    heldBytes: number,
  ): { readonly entry: QueuedMessage; readonly isQueued: boolean } {
    this.#queue ??= new SendQueue(this.#limits);
    return this.#queue.add(frame, options, isTransferable, heldBytes);
  }

  /** Rejects a message that was not queued. */
  drop(entry: QueuedMessage): void {
    this.#queue?.drop(entry);
  }

  /** Forwards or queues a message that has waited elsewhere. */
  adopt(entry: QueuedMessage): void {
    if (this.trySpend(entry.frame)) return this.#forward(entry);
    this.#queue ??= new SendQueue(this.#limits);
    this.#queue.adopt(entry);
  }

  /**
   * Takes credit of the peer.
   *
   * @param limit What all messages may cost since the connection was opened.
   * @returns Whether messages were queued, and all of them were forwarded.
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

  /** Calls back when no message is queued. */
  whenEmpty(action: () => void): void {
    if (this.#hasQueued) this.#onEmpty = action;
    else action();
  }

  /** Stops for good, as {@linkcode SendQueue.stop} does. */
  stop(makeError: () => Error): QueuedMessage[] {
    this.#onEmpty = undefined;
    return this.#queue?.stop(makeError) ?? [];
  }

  get #hasQueued(): boolean {
    return this.#queue !== undefined && !this.#queue.isEmpty;
  }
}
