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

/** The maximum number of waiting messages with a key that hold no credit. */
const MAX_WAITING_LATEST = 4096;

/** The maximum size of waiting messages while those with a key hold no credit, in bytes. */
const MAX_LATEST_BYTES = 4 * 1024 * 1024;

/**
 * The number of messages between two checks of the duration of this turn of the event
 * loop.
 */
const HANDLED_PER_CLOCK_CHECK = 8;

interface WaitingMessage<M> {
  message: M;
  cost: number;
  size: number;
  /** The key, if a newer message with the same one replaces this one. */
  readonly key: string | undefined;
}

/**
 * Passes messages to a handler in order, up to a number at a time. The rest waits in a
 * bounded queue. A message with a key takes the place of a waiting one with the same key.
 *
 * @typeParam M The type of a message.
 */
export class ConcurrencyLimiter<M> {
  readonly #concurrency: number;
  readonly #handle: (message: M) => readonly Promise<unknown>[];
  readonly #onHandled: (handled: number) => void;
  #waiting: WaitingMessage<M>[] = [];
  readonly #latest = new Map<string, WaitingMessage<M>>();
  #superseded = 0;
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

  /** Whether the next message has to wait. */
  get isBusy(): boolean {
    return this.#running >= this.#concurrency;
  }

  /** Whether no message waits. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** The number of messages that were dropped for a newer one with the same key. */
  get superseded(): number {
    return this.#superseded;
  }

  /** Whether messages with a key may be counted as handled when they arrive. */
  get hasRoomForLatest(): boolean {
    return this.#latest.size < MAX_WAITING_LATEST &&
      this.#size < MAX_LATEST_BYTES;
  }

  /**
   * Adds a message. Returns false if the queue is full.
   *
   * @param key The key, if a newer message with the same one replaces it.
   */
  add(message: M, cost: number, size = 0, key?: string): boolean {
    const replaced = key === undefined ? undefined : this.#latest.get(key);
    if (replaced) {
      this.#replace(replaced, message, cost, size);
      return true;
    }
    if (cost > 0 && this.#pendingCost >= MAX_WAITING_COST) return false;
    this.#pendingCost += cost;
    this.#size += size;
    const waiting = { message, cost, size, key };
    this.#waiting.push(waiting);
    if (key !== undefined) this.#latest.set(key, waiting);
    this.#startNext();
    return true;
  }

  #replace(
    waiting: WaitingMessage<M>,
    message: M,
    cost: number,
    size: number,
  ): void {
    const handled = waiting.cost;
    this.#superseded++;
    this.#pendingCost += cost - handled;
    this.#size += size - waiting.size;
    waiting.message = message;
    waiting.cost = cost;
    waiting.size = size;
    if (handled > 0) this.skip(handled);
  }

  /** Counts a message that is not handled. */
  skip(cost: number): void {
    this.#handledCost += cost;
    this.#onHandled(this.#handledCost);
  }

  /**
   * Discards all waiting messages, and counts them as handled. Returns their number.
   *
   * @param cost The cost of messages that were discarded elsewhere.
   */
  clear(cost = 0): number {
    const { length } = this.#waiting;
    this.#handledCost += cost;
    for (const { cost, size } of this.#waiting) {
      this.#pendingCost -= cost;
      this.#size -= size;
      this.#handledCost += cost;
    }
    this.#waiting = [];
    this.#latest.clear();
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
      if (next.key !== undefined) this.#latest.delete(next.key);
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
