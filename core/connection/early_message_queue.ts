/**
 * A bounded queue for messages that were received before there is a listener; pure.
 *
 * @module
 */

/** The maximum number of messages. */
const MAX_EARLY_MESSAGES = 256;

/** The maximum size in bytes or UTF-16 code units, unless there is only one message. */
const MAX_EARLY_BYTES = 1024 * 1024;

/**
 * Holds messages in order until there is a listener. If there are too many, all of them
 * are dropped and counted.
 *
 * @typeParam M The type of a message.
 */
export class EarlyMessageQueue<M> {
  readonly #messages: { readonly message: M; readonly size: number }[] = [];
  #size = 0;
  #dropped = 0;

  /** The size of the messages, in bytes or UTF-16 code units. */
  get size(): number {
    return this.#size;
  }

  /** The number of messages. */
  get length(): number {
    return this.#messages.length;
  }

  /** Adds a message with its size in bytes or UTF-16 code units. */
  push(message: M, size: number): void {
    const isFull = this.#messages.length >= MAX_EARLY_MESSAGES ||
      (this.#messages.length > 0 && this.#size + size > MAX_EARLY_BYTES);
    if (isFull || this.#dropped > 0) {
      // Incomplete messages would be misleading.
      this.#dropped += this.#messages.length + 1;
      this.#messages.length = this.#size = 0;
    } else {
      this.#messages.push({ message, size });
      this.#size += size;
    }
  }

  /** Removes and returns the oldest message, if any. */
  shift(): M | undefined {
    const first = this.#messages.shift();
    this.#size -= first?.size ?? 0;
    return first?.message;
  }

  /** Returns the number of messages dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
