/**
 * Holds messages back until the peer grants credit for them.
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

/** The initial credit. */
export const INITIAL_CREDIT = 1024;

/** The number of bytes that cost one unit of credit. */
const BYTES_PER_CREDIT = 16 * 1024;

/**
 * Returns the cost of a frame: 1, and 1 more per 16 KiB. Text is measured in UTF-16 code
 * units, so that neither side has to encode it. Trace contexts are free, as peers that do
 * not support them do not count them.
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

/** Sends messages within the peer's credit, and queues the rest in order. */
export class CreditWindow {
  readonly #limits: SendQueueLimits;
  readonly #forward: (entry: QueuedMessage) => void;
  #limit: number = INITIAL_CREDIT;
  #spent = 0;
  #queue: SendQueue | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * @param limits The limits of the queue.
   * @param forward Sends a message that was queued.
   */
  constructor(
    limits: SendQueueLimits,
    forward: (entry: QueuedMessage) => void,
  ) {
    this.#limits = limits;
    this.#forward = forward;
  }

  /** The number of queued bytes. */
  get size(): number {
    return this.#queue?.size ?? 0;
  }

  /** The approximate memory of queued messages, in bytes. */
  get memory(): number {
    return this.#queue?.memory ?? 0;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#queue?.dropped ?? 0;
  }

  /**
   * Spends credit for a message. Returns false if there is not enough, or others are
   * queued.
   */
  trySpend(frame: Frame): boolean {
    if (this.#spent >= this.#limit || this.#hasQueued) return false;
    this.#spent += creditCost(frame);
    return true;
  }

  /** Returns the credit of a message that was dropped before it was sent. */
  refund(cost: number): void {
    this.#spent -= cost;
  }

  /**
   * Queues a message.
   *
   * @param options The options of `send`.
   * @param isTransferable Whether another connection may send it.
   * @param heldBytes The number of bytes queued elsewhere.
   * @returns The message, and whether it was queued.
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

  /** Drops a message that was not queued. */
  drop(entry: QueuedMessage): void {
    this.#queue?.drop(entry);
  }

  /** Queues a message from another queue. */
  adopt(entry: QueuedMessage): void {
    if (this.trySpend(entry.frame)) return this.#forward(entry);
    this.#queue ??= new SendQueue(this.#limits);
    this.#queue.adopt(entry);
  }

  /** Raises the credit to a new total. Returns whether this emptied the queue. */
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

  /** Calls back when the queue is empty; immediately if it is. */
  whenEmpty(action: () => void): void {
    if (this.#hasQueued) this.#onEmpty = action;
    else action();
  }

  /**
   * Empties the queue.
   *
   * @param makeError Creates the error of messages that only this connection could send.
   * @returns Messages that another connection may send, in order.
   */
  stop(makeError: () => Error): QueuedMessage[] {
    this.#onEmpty = undefined;
    return this.#queue?.stop(makeError) ?? [];
  }

  get #hasQueued(): boolean {
    return this.#queue !== undefined && !this.#queue.isEmpty;
  }
}
