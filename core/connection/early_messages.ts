/**
 * Messages that came before anybody listened; pure.
 *
 * @module
 */

/** How many messages may wait for a listener. */
const MAX_MESSAGES = 256;

/** How many bytes, or characters, may wait for a listener, if more than one message does. */
const MAX_SIZE = 1024 * 1024;

/**
 * Keeps messages, in order, for a listener that is about to come, up to a bound.
 * Past that it lets go of all that it kept, and counts.
 *
 * @typeParam M The type of a message.
 */
export class Inbox<M> {
  readonly #kept: { readonly message: M; readonly size: number }[] = [];
  #size = 0;
  #dropped = 0;

  /** How many bytes, or characters, are kept. */
  get size(): number {
    return this.#size;
  }

  /** How many messages are kept. */
  get length(): number {
    return this.#kept.length;
  }

  /**
   * Keeps a message.
   *
   * @param message The message.
   * @param size Its bytes or characters.
   */
  push(message: M, size: number): void {
    const isFull = this.#kept.length >= MAX_MESSAGES ||
      (this.#kept.length > 0 && this.#size + size > MAX_SIZE);
    if (isFull || this.#dropped > 0) {
      // A part would be a puzzle.
      this.#dropped += this.#kept.length + 1;
      this.#kept.length = this.#size = 0;
    } else {
      this.#kept.push({ message, size });
      this.#size += size;
    }
  }

  /**
   * Takes the message that has been kept longest.
   *
   * @returns The message, or undefined if none is kept.
   */
  shift(): M | undefined {
    const first = this.#kept.shift();
    this.#size -= first?.size ?? 0;
    return first?.message;
  }

  /**
   * How many messages were dropped since this was last asked, as too many would
   * have had to be kept.
   *
   * @returns The number of messages.
   */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
