/**
 * Events that wait to be taken by a `for await` loop.
 *
 * @module
 */

type Result<T> = IteratorResult<T, undefined>;

/**
 * A bounded queue, as an async iterator.
 *
 * @typeParam T The type of what waits.
 */
export class EventQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #name: string;
  readonly #limit: number;
  readonly #stop: () => void;
  readonly #values: T[] = [];
  readonly #takers: PromiseWithResolvers<Result<T>>[] = [];
  /** Set when nothing more comes; its error is handed out once. */
  #finished: { error: unknown } | "done" | undefined;

  /**
   * Creates an empty queue.
   *
   * @param name What waits, for the error's text.
   * @param limit How many may wait.
   * @param stop Called when no more is wanted.
   */
  constructor(name: string, limit: number, stop: () => void) {
    this.#name = name;
    this.#limit = limit;
    this.#stop = stop;
  }

  /**
   * Adds a value. If too many wait already, the queue fails instead.
   *
   * @param value The value.
   */
  push(value: T): void {
    const taker = this.#takers.shift();
    if (taker) return taker.resolve({ done: false, value });
    if (this.#values.length < this.#limit) {
      this.#values.push(value);
      return;
    }
    this.#stop();
    this.fail(
      new RangeError(
        `Cannot keep more than ${this.#limit} ${this.#name} waiting: take them faster or raise "limit"`,
      ),
    );
  }

  /** Ends the iteration, after what waits has been taken. */
  finish(): void {
    this.#finished ??= "done";
    for (const taker of this.#takers.splice(0)) {
      taker.resolve({ done: true, value: undefined });
    }
  }

  /**
   * Lets `next` reject, after what waits has been taken.
   *
   * @param error What it rejects with, once.
   */
  fail(error: unknown): void {
    const taker = this.#takers.shift();
    this.#finished = taker ? "done" : { error };
    taker?.reject(error);
    this.finish();
  }

  /** Takes the next value. */
  next(): Promise<Result<T>> {
    for (const value of this.#values.splice(0, 1)) {
      return Promise.resolve({ done: false, value });
    }
    const finished = this.#finished;
    if (finished === "done") {
      return Promise.resolve({ done: true, value: undefined });
    }
    if (finished) {
      this.#finished = "done";
      return Promise.reject(finished.error);
    }
    const taker = Promise.withResolvers<Result<T>>();
    this.#takers.push(taker);
    return taker.promise;
  }

  /** Ends the iteration at once, as `break` does. */
  return(): Promise<Result<T>> {
    this.#stop();
    this.#values.length = 0;
    this.#finished = "done";
    this.finish();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The iterator is its own iterable. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
