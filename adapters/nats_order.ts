/**
 * Puts messages of a stream in the order of their numbers.
 *
 * JetStream publishes a message after it has stored it, and does so for each connection on
 * its own: messages of two servers may arrive in another order than they are stored in. A
 * client that is told the number of the later one would then claim to have the other one,
 * too.
 *
 * @module
 */

import { startTimer, type Timer } from "../core/util/timer.ts";

/** After this time without the next message it counts as lost, in milliseconds. */
const GAP_TIMEOUT_MS = 1_000;

/** With so many messages after a missing one, that one counts as lost. */
const MAX_WAITING = 10_000;

/**
 * The same for the bytes of these messages. It is the limit of the other queues between a
 * server and its broker, and the largest message that NATS can be set to accept.
 */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** A message that can wait. */
interface Sized {
  /** Its content, which takes memory while it waits. */
  readonly data: Uint8Array;
}

/** Passes on numbered messages without a gap. */
export class SequenceOrder<Item extends Sized> {
  readonly #onItem: (sequence: number, item: Item) => void;
  readonly #onGap: (sequence: number) => void;
  /** The number of the next message; undefined while it is unknown. */
  #next: number | undefined;
  /** Messages that follow a missing one. */
  readonly #waiting = new Map<number, Item>();
  /** The bytes of these messages. */
  #waitingBytes = 0;
  #timer: Timer | undefined;

  /**
   * Creates an order whose first number is unknown: messages wait for
   * {@linkcode SequenceOrder.start}.
   *
   * @param onGap Called with the number of a message that does not arrive. After that,
   * messages wait for the next start.
   */
  constructor(
    onItem: (sequence: number, item: Item) => void,
    onGap: (sequence: number) => void,
  ) {
    this.#onItem = onItem;
    this.#onGap = onGap;
  }

  /** Starts, or starts again, with the message that follows the last one. */
  start(last: number): void {
    this.#stopTimer();
    this.#next = last + 1;
    for (const [sequence, item] of this.#waiting) {
      if (sequence <= last) this.#remove(sequence, item);
    }
    this.#passWaiting();
  }

  /** Forgets all messages that wait, and lets those that arrive wait for the next start. */
  stop(): void {
    this.#stopTimer();
    this.#next = undefined;
    this.#waiting.clear();
    this.#waitingBytes = 0;
  }

  /** Takes a message. One that is older than the next, or is there already, is ignored. */
  add(sequence: number, item: Item): void {
    const next = this.#next;
    if (sequence === next) {
      this.#next = next + 1;
      this.#onItem(sequence, item);
      if (this.#waiting.size > 0) this.#passWaiting();
      return;
    }
    if (next !== undefined && sequence < next) return;
    if (this.#waiting.has(sequence)) return;
    this.#waiting.set(sequence, item);
    this.#waitingBytes += item.data.length;
    if (
      this.#waiting.size > MAX_WAITING ||
      this.#waitingBytes > MAX_WAITING_BYTES
    ) {
      return this.#lose();
    }
    if (next !== undefined) this.#startTimer();
  }

  #passWaiting(): void {
    this.#stopTimer();
    while (this.#next !== undefined) {
      const item = this.#waiting.get(this.#next);
      if (item === undefined) break;
      this.#remove(this.#next, item);
      this.#onItem(this.#next++, item);
    }
    if (this.#waiting.size > 0 && this.#next !== undefined) this.#startTimer();
  }

  #remove(sequence: number, item: Item): void {
    this.#waiting.delete(sequence);
    this.#waitingBytes -= item.data.length;
  }

  /** The next message does not arrive. */
  #lose(): void {
    const next = this.#next;
    this.stop();
    if (next !== undefined) this.#onGap(next);
  }

  #startTimer(): void {
    this.#timer ??= startTimer(() => this.#lose(), GAP_TIMEOUT_MS);
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
