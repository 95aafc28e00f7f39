/**
 * Limits the number of messages that are handled at the same time.
 *
 * @module
 */

import { continueLater, isTurnOver } from "../runtime/time_slices.ts";

/**
 * The maximum cost of waiting messages, as computed by `core/sending/credit_window.ts`.
 */
const MAX_WAITING_COST = 1024;

/**
 * The number of messages between two checks of the duration of this turn of the event
 * loop.
 */
const HANDLED_PER_CLOCK_CHECK = 8;

interface WaitingMessage<M> {
  readonly message: M;
  readonly cost: number;
  readonly size: number;
}

/**
 * Passes messages to a handler in order, up to a number at a time. The rest waits in a
 * bounded queue.
 *
 * @typeParam M The type of a message.
 */
export class ConcurrencyLimiter<M> {
  readonly #concurrency: number;
  readonly #handle: (message: M) => readonly Promise<unknown>[];
  readonly #onHandled: (handled: number) => void;
  #waiting: WaitingMessage<M>[] = [];
  #running = 0;
  #pendingCost = 0;
  #size = 0;
  #handledCost = 0;
  /** The number of messages that were handled while others waited. */
  #handledWhileOthersWait = 0;

  /**
   * @param concurrency The maximum number of messages handled at a time.
   * @param handle Handles a message. Returns promises of listeners that have not
   * finished, which never reject.
   * @param onHandled Called after each message, with the total cost of all handled
   * messages.
   */
  constructor(
    concurrency: number,
    handle: (message: M) => readonly Promise<unknown>[],
    onHandled: (handled: number) => void,
  ) {
    this.#concurrency = concurrency;
    this.#handle = handle;
    this.#onHandled = onHandled;
  }

  /** The number of bytes of waiting messages. */
  get size(): number {
    return this.#size;
  }

  /** Whether no message waits. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Adds a message. Returns false if the queue is full. */
  add(message: M, cost: number, size = 0): boolean {
    if (this.#pendingCost >= MAX_WAITING_COST) return false;
    this.#pendingCost += cost;
    this.#size += size;
    this.#waiting.push({ message, cost, size });
    this.#startNext();
    return true;
  }

  /** Counts a message that is not handled. */
  skip(cost: number): void {
    this.#handledCost += cost;
    this.#onHandled(this.#handledCost);
  }

  /** Discards all waiting messages, and counts them as handled. Returns their number. */
  clear(): number {
    const { length } = this.#waiting;
    for (const { cost, size } of this.#waiting) {
      this.#pendingCost -= cost;
      this.#size -= size;
      this.#handledCost += cost;
    }
    this.#waiting = [];
    return length;
  }

  /**
   * Handles the next messages. If promises are already settled, all messages could be
   * handled in one turn of the event loop, so the work is divided into slices.
   */
  readonly #startNext = (): boolean => {
    while (this.#running < this.#concurrency) {
      const isBehind = this.#waiting.length > 1;
      if (
        isBehind &&
        ++this.#handledWhileOthersWait % HANDLED_PER_CLOCK_CHECK === 0 &&
        isTurnOver()
      ) {
        continueLater(this.#startNext);
        return true;
      }
      const next = this.#waiting.shift();
      if (next === undefined) return false;
      this.#size -= next.size;
      this.#running++;
      const pending = this.#handle(next.message);
      if (pending.length === 0) this.#finish(next);
      else {
        Promise.all(pending).then(() => {
          this.#finish(next);
          this.#startNext();
        });
      }
    }
    return false;
  };

  #finish({ cost }: WaitingMessage<M>): void {
    this.#running--;
    this.#pendingCost -= cost;
    this.#handledCost += cost;
    this.#onHandled(this.#handledCost);
  }
}
