/**
 * Messages that came before anybody listened. Pure: who listens, and what a
 * delivery is, is the caller's affair.
 *
 * @module
 */

/** How many messages may wait for a listener. */
const MAX_MESSAGES = 256;

/** How many bytes, or characters, may wait for a listener. */
const MAX_SIZE = 1024 * 1024;

/**
 * Keeps messages, in order, for a listener that is about to come. It passes on
 * what comes while somebody listens, and keeps the rest, up to a bound; past
 * that it lets go of all that it kept, and counts.
 *
 * @typeParam M The type of a message.
 */
export class Inbox<M> {
  readonly #isHeard: () => boolean;
  readonly #deliver: (message: M) => void;
  readonly #waiting: M[] = [];
  #size = 0;
  #dropped = 0;

  /**
   * Creates an empty inbox.
   *
   * @param isHeard Whether somebody listens now.
   * @param deliver Hands a message to those who listen.
   */
  constructor(isHeard: () => boolean, deliver: (message: M) => void) {
    this.#isHeard = isHeard;
    this.#deliver = deliver;
  }

  /** How many messages wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * How many messages were dropped since this was last asked, as too many were
   * waiting.
   */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /**
   * Takes a message in.
   *
   * @param message The message.
   * @param size Its bytes or characters.
   */
  push(message: M, size: number): void {
    if (this.#waiting.length === 0 && this.#isHeard()) {
      this.#deliver(message);
    } else if (
      this.#dropped > 0 || this.#waiting.length >= MAX_MESSAGES ||
      this.#size + size > MAX_SIZE
    ) {
      // A part would be a puzzle. Those who did listen have had all of them.
      this.#dropped += this.#waiting.length + 1;
      this.clear();
    } else {
      this.#waiting.push(message);
      this.#size += size;
    }
  }

  /** Hands out what waits, as long as somebody listens. */
  flush(): void {
    while (this.#waiting.length > 0 && this.#isHeard()) {
      const [message] = this.#waiting.splice(0, 1);
      if (message === undefined) return;
      this.#deliver(message);
    }
    if (this.#waiting.length === 0) this.#size = 0;
  }

  /** Lets go of all that waits. */
  clear(): void {
    this.#waiting.length = 0;
    this.#size = 0;
  }
}
