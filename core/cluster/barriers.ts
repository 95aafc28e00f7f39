/**
 * Barriers in the log of a broker. A server appends an empty message to a channel of
 * its own and waits until it comes back. The broker delivers in order, so everything
 * that it stored before the barrier has arrived by then.
 *
 * @module
 */

import { ignoreRejection, RESOLVED } from "../events/errors.ts";

/** The barriers that one server sends, one at a time. */
export class Barriers {
  readonly #subscribed: () => Promise<unknown>;
  readonly #append: (id: number) => Promise<void>;
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();
  #lastId = 0;
  #last: Promise<void> = RESOLVED;
  #next: Promise<void> | undefined;

  /**
   * @param subscribed Resolves when the server is subscribed to its own channel.
   * @param append Appends a barrier to the log; it rejects while the broker is down.
   */
  constructor(
    subscribed: () => Promise<unknown>,
    append: (id: number) => Promise<void>,
  ) {
    this.#subscribed = subscribed;
    this.#append = append;
  }

  /**
   * Sends a barrier after the one that is under way, if any, and waits for it. Calls
   * before it is sent share it.
   */
  pass(): Promise<void> {
    return this.#next ??= this.#last.then(() => {
      this.#next = undefined;
      const barrier = this.#send();
      this.#last = barrier.catch(() => {});
      return barrier;
    });
  }

  /** A barrier has come back. */
  returned(id: number): void {
    this.#waiting.get(id)?.resolve();
  }

  /** Rejects all barriers that have not come back. */
  fail(error: Error): void {
    for (const { promise, reject } of this.#waiting.values()) {
      ignoreRejection(promise);
      reject(error);
    }
    this.#waiting.clear();
  }

  async #send(): Promise<void> {
    await this.#subscribed();
    const id = ++this.#lastId;
    const barrier = Promise.withResolvers<void>();
    this.#waiting.set(id, barrier);
    try {
      await Promise.all([this.#append(id), barrier.promise]);
    } finally {
      this.#waiting.delete(id);
    }
  }
}
