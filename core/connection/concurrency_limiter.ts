/**
 * Lets messages be handled one after the other.
 *
 * @module
 */

import { continueLater, isTurnOver } from "../runtime/time_slices.ts";

/** What may wait, in the cost of `core/sending/credit_window.ts`. */
const MAX_WAITING_COST = 1024;

/** After how many messages to look how long this turn of the event loop has lasted. */
const MESSAGES_PER_CLOCK_CHECK = 8;

interface WaitingMessage<M> {
  readonly message: M;
  readonly cost: number;
  readonly size: number;
}

/**
 * Hands out messages, in order, no more than so many at a time: the next when one is
 * done with. The rest waits, up to a bound.
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
  /** How many messages were handed out while others waited. */
  #late = 0;

  /**
   * Creates an empty one.
   *
   * @param concurrency How many may be handled at a time.
   * @param handle Hands a message out, and gives promises of those who are not done
   * with it yet, which never reject.
   * @param onHandled Hears, whenever a message is done with, what all have cost that are.
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

  /** How many bytes those messages have that wait for their turn. */
  get size(): number {
    return this.#size;
  }

  /** Whether no message waits for its turn. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /**
   * Adds a message.
   *
   * @param message The message.
   * @param cost What it costs.
   * @param size How many bytes it has.
   * @returns False if too much waits: then it is not taken.
   */
  add(message: M, cost: number, size = 0): boolean {
    if (this.#pendingCost >= MAX_WAITING_COST) return false;
    this.#pendingCost += cost;
    this.#size += size;
    this.#waiting.push({ message, cost, size });
    this.#startNext();
    return true;
  }

  /**
   * Counts a message that is not to be handed out.
   *
   * @param cost What it costs.
   */
  skip(cost: number): void {
    this.#handledCost += cost;
    this.#onHandled(this.#handledCost);
  }

  /**
   * Lets go of what waits, as if it were done with.
   *
   * @returns How many messages that were.
   */
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
   * Goes on with what has waited. If promises are settled already, all of it could be
   * handled in one turn of the event loop, so it is divided into slices.
   */
  readonly #startNext = (): boolean => {
    while (this.#running < this.#concurrency) {
      const isBehind = this.#waiting.length > 1;
      if (
        isBehind && ++this.#late % MESSAGES_PER_CLOCK_CHECK === 0 &&
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
