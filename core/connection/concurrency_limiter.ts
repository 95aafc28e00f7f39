/**
 * Lets messages be handled one after the other.
 *
 * @module
 */

import { continueLater, isTurnOver } from "../runtime/time_slices.ts";

/** What may wait, in the cost of `core/sending/credit_window.ts`. */
const MAX_COST = 1024;

/** After how many messages to look how long this turn of the event loop has lasted. */
const LOOK_AFTER = 8;

interface Turn<M> {
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
export class Turns<M> {
  readonly #concurrency: number;
  readonly #hand: (message: M) => readonly Promise<unknown>[];
  readonly #done: (handled: number) => void;
  #waiting: Turn<M>[] = [];
  #running = 0;
  #cost = 0;
  #size = 0;
  #handled = 0;
  /** How many messages were handed out while others waited. */
  #late = 0;

  /**
   * Creates an empty one.
   *
   * @param concurrency How many may be handled at a time.
   * @param hand Hands a message out, and gives promises of those who are not done
   * with it yet, which never reject.
   * @param done Hears, whenever a message is done with, what all have cost that are.
   */
  constructor(
    concurrency: number,
    hand: (message: M) => readonly Promise<unknown>[],
    done: (handled: number) => void,
  ) {
    this.#concurrency = concurrency;
    this.#hand = hand;
    this.#done = done;
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
    if (this.#cost >= MAX_COST) return false;
    this.#cost += cost;
    this.#size += size;
    this.#waiting.push({ message, cost, size });
    this.#goOn();
    return true;
  }

  /**
   * Counts a message that is not to be handed out.
   *
   * @param cost What it costs.
   */
  skip(cost: number): void {
    this.#handled += cost;
    this.#done(this.#handled);
  }

  /**
   * Lets go of what waits, as if it were done with.
   *
   * @returns How many messages that were.
   */
  clear(): number {
    const { length } = this.#waiting;
    for (const { cost, size } of this.#waiting) {
      this.#cost -= cost;
      this.#size -= size;
      this.#handled += cost;
    }
    this.#waiting = [];
    return length;
  }

  /**
   * Goes on with what has waited. If promises are settled already, all of it could be
   * handled in one turn of the event loop, so it is divided into slices.
   */
  readonly #goOn = (): boolean => {
    while (this.#running < this.#concurrency) {
      const isBehind = this.#waiting.length > 1;
      if (isBehind && ++this.#late % LOOK_AFTER === 0 && isTurnOver()) {
        continueLater(this.#goOn);
        return true;
      }
      const turn = this.#waiting.shift();
      if (turn === undefined) return false;
      this.#size -= turn.size;
      this.#running++;
      const pending = this.#hand(turn.message);
      if (pending.length === 0) this.#finish(turn);
      else {
        Promise.all(pending).then(() => {
          this.#finish(turn);
          this.#goOn();
        });
      }
    }
    return false;
  };

  #finish({ cost }: Turn<M>): void {
    this.#running--;
    this.#cost -= cost;
    this.#handled += cost;
    this.#done(this.#handled);
  }
}
