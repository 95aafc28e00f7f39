/**
 * Events that wait to be taken by a `for await` loop.
 *
 * @module
 */

import { DONE } from "./errors.ts";

type Result<T> = IteratorResult<T, undefined>;

/** What waits, and who waits for it to be done with. */
interface Waiting<T> {
  readonly value: T;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * A bounded queue, as an async iterator.
 *
 * @typeParam T The type of what waits.
 */
export class EventQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #name: string;
  readonly #limit: number;
  readonly #stop: () => void;
  readonly #outrun: () => void;
  /** What waits begins at the index; before it is what was taken. */
  #values: Waiting<T>[] = [];
  #first = 0;
  readonly #takers: PromiseWithResolvers<Result<T>>[] = [];
  /** Those that have been taken, but are not done with. */
  #taken: PromiseWithResolvers<void>[] = [];
  /** Set when nothing more comes; its error is handed out once. */
  #finished: { error: unknown } | "done" | undefined;

  /**
   * Creates an empty queue.
   *
   * @param name What waits, for the error's text.
   * @param limit How many may wait.
   * @param stop Called when no more is wanted.
   * @param outrun Called after that if the reason is that too many wait.
   */
  constructor(
    name: string,
    limit: number,
    stop: () => void,
    outrun: () => void = () => {},
  ) {
    this.#name = name;
    this.#limit = limit;
    this.#stop = stop;
    this.#outrun = outrun;
  }

  /**
   * Adds a value. If too many wait already, the queue fails instead.
   *
   * @param value The value.
   * @returns A promise that resolves when it is done with: when the next is asked
   * for, or nothing more is wanted.
   */
  push(value: T): Promise<void> {
    const taker = this.#takers.shift();
    const done = Promise.withResolvers<void>();
    if (taker) {
      this.#taken.push(done);
      taker.resolve({ done: false, value });
      return done.promise;
    }
    if (this.#values.length - this.#first < this.#limit) {
      this.#values.push({ value, done });
      return done.promise;
    }
    this.#stop();
    this.fail(
      new RangeError(
        `Cannot keep more than ${this.#limit} ${this.#name} waiting: take them faster or raise "limit"`,
      ),
    );
    this.#outrun();
    return DONE;
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

  /** Takes the next value. Whoever asks for it is done with those before. */
  next(): Promise<Result<T>> {
    this.#release();
    const first = this.#shift();
    if (first) {
      this.#taken.push(first.done);
      return Promise.resolve({ done: false, value: first.value });
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
    this.#release();
    for (let left = this.#shift(); left; left = this.#shift()) {
      left.done.resolve();
    }
    this.#finished = "done";
    this.finish();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The iterator is its own iterable. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Takes what has waited longest, in constant time however much waits. */
  #shift(): Waiting<T> | undefined {
    const first = this.#values[this.#first];
    if (first === undefined) return undefined;
    if (++this.#first === this.#values.length) this.#values.length = 0;
    else if (this.#first * 2 <= this.#values.length) return first;
    else this.#values = this.#values.slice(this.#first);
    this.#first = 0;
    return first;
  }

  #release(): void {
    for (const done of this.#taken.splice(0)) done.resolve();
  }
}
