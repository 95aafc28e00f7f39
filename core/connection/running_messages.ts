/**
 * Limits the messages and requests of one peer that are handled at the same time, without
 * the option `concurrency`; pure.
 *
 * @module
 */

import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { INITIAL_CREDIT } from "../sending/credit_window.ts";

/**
 * The memory of running messages from which on the peer gets no credit for more, in bytes.
 * That is about 16,000 small messages.
 */
export const MAX_RUNNING_MEMORY: number = 16 * 1024 * 1024;

/**
 * The number of messages without credit that only a peer sends that ignores its credit:
 * the credit that it has when it gets no more, and some for messages on their way.
 */
const MAX_WITHHELD = INITIAL_CREDIT + 256;

/**
 * The messages of one connection whose asynchronous listeners, or whose handlers, have not
 * finished.
 */
export class RunningMessages {
  #count = 0;
  #size = 0;
  #withheldCount = 0;
  #withheldCost = 0;
  #wasFull = false;

  /** The approximate memory of the messages, in bytes. */
  get memory(): number {
    return this.#size * 2 + this.#count * MESSAGE_COST;
  }

  /** Whether the credit for further messages is withheld. */
  get isFull(): boolean {
    return this.memory >= MAX_RUNNING_MEMORY;
  }

  /** Whether the limit is reached for the first time. */
  becomesFull(): boolean {
    const isFirst = this.isFull && !this.#wasFull;
    this.#wasFull ||= isFirst;
    return isFirst;
  }

  /**
   * Withholds the credit for a message until others have finished.
   *
   * @returns Whether the peer could have credit for the message.
   */
  withhold(cost: number): boolean {
    this.#withheldCost += cost;
    return ++this.#withheldCount <= MAX_WITHHELD;
  }

  /** A message is being handled. */
  start(size: number): void {
    this.#count++;
    this.#size += size;
  }

  /**
   * A message has been handled.
   *
   * @returns The cost of the messages to give credit for now.
   */
  finish(size: number): number {
    this.#count--;
    this.#size -= size;
    if (this.isFull) return 0;
    const cost = this.#withheldCost;
    this.#withheldCount = this.#withheldCost = 0;
    return cost;
  }
}
