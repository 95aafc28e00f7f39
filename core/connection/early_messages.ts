/**
 * Messages that came before anybody listened; pure.
 *
 * @module
 */

/** How many messages may wait for a listener. */
const MAX_EARLY_MESSAGES = 256;

/** How many bytes, or characters, may wait for a listener, if more than one message does. */
const MAX_EARLY_BYTES = 1024 * 1024;

/**
 * Keeps messages, in order, for a listener that is about to come, up to a bound.
 * Past that it lets go of all that it kept, and counts.
 *
 * @typeParam M The type of a message.
 */
export class EarlyMessages<M> {
  readonly #messages: { readonly message: M; readonly size: number }[] = [];
  #size = 0;
  #dropped = 0;

  /** How many bytes, or characters, are kept. */
  get size(): number {
    return this.#size;
  }

  /** How many messages are kept. */
  get length(): number {
    return this.#messages.length;
  }

  /**
   * Keeps a message.
   *
   * @param message The message.
   * @param size Its bytes or characters.
   */
  push(message: M, size: number): void {
    const isFull = this.#messages.length >= MAX_EARLY_MESSAGES ||
      (this.#messages.length > 0 && this.#size + size > MAX_EARLY_BYTES);
    if (isFull || this.#dropped > 0) {
      // A part would be a puzzle.
      this.#dropped += this.#messages.length + 1;
      this.#messages.length = this.#size = 0;
    } else {
      this.#messages.push({ message, size });
      this.#size += size;
    }
  }

  /**
   * Takes the message that has been kept longest.
   *
   * @returns The message, or undefined if none is kept.
   */
  shift(): M | undefined {
    const first = this.#messages.shift();
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
