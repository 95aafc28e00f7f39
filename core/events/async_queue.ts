/**
 * Events that wait to be taken by a `for await` loop.
 *
 * @module
 */

import { type Deferred, withResolvers } from "../util/deferred.ts";
import { RESOLVED } from "./errors.ts";

type QueueResult<T> = IteratorResult<T, undefined>;

/** What waits, and who waits for it to be done with. */
interface QueuedValue<T> {
  readonly value: T;
  readonly size: number;
  readonly done: Deferred<void>;
}

/**
 * How many bytes may wait, for each value that may: a small one and a large one count
 * together as two of 16 KiB.
 */
const MAX_VALUE_SIZE = 16 * 1024;

/**
 * A bounded queue, as an async iterator.
 *
 * @typeParam T The type of what waits.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #name: string;
  readonly #limit: number;
  readonly #onStop: () => void;
  readonly #outrun: () => void;
  /** What waits begins at the index; before it is what was taken. */
  #values: QueuedValue<T>[] = [];
  #first = 0;
  #size = 0;
  readonly #readers: Deferred<QueueResult<T>>[] = [];
  /** Those that have been taken, but are not done with. */
  #inProgress: Deferred<void>[] = [];
  /** Set when nothing more comes; its error is handed out once. */
  #closed: { error: unknown } | "done" | undefined;

  /**
   * Creates an empty queue.
   *
   * @param name What waits, for the error's text.
   * @param limit How many may wait.
   * @param onStop Called when no more is wanted.
   * @param outrun Called after that if the reason is that too many wait.
   */
  constructor(
    name: string,
    limit: number,
    onStop: () => void,
    outrun: () => void = () => {},
  ) {
    this.#name = name;
    this.#limit = limit;
    this.#onStop = onStop;
    this.#outrun = outrun;
  }

  /** How many bytes wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds a value. If too many wait already, or too many bytes, the queue fails instead.
   *
   * @param value The value.
   * @param size How many bytes it has.
   * @returns A promise that resolves when it is done with: when the next is asked
   * for, or nothing more is wanted.
   */
  push(value: T, size = 0): Promise<void> {
    const reader = this.#readers.shift();
    const done = withResolvers<void>();
    if (reader) {
      this.#inProgress.push(done);
      reader.resolve({ done: false, value });
      return done.promise;
    }
    const count = this.#values.length - this.#first;
    const maxSize = this.#limit * MAX_VALUE_SIZE;
    const isLarge = count > 0 && this.#size + size > maxSize;
    if (count < this.#limit && !isLarge) {
      this.#values.push({ value, size, done });
      this.#size += size;
      return done.promise;
    }
    this.#onStop();
    const most = isLarge
      ? `${maxSize} bytes of ${this.#name}`
      : `${this.#limit} ${this.#name}`;
    this.fail(
      new RangeError(
        `Cannot keep more than ${most} waiting: take them faster or raise "limit"`,
      ),
    );
    this.#outrun();
    return RESOLVED;
  }

  /** Ends the iteration, after what waits has been taken. */
  close(): void {
    this.#closed ??= "done";
    for (const reader of this.#readers.splice(0)) {
      reader.resolve({ done: true, value: undefined });
    }
  }

  /**
   * Lets `next` reject, after what waits has been taken.
   *
   * @param error What it rejects with, once.
   */
  fail(error: unknown): void {
    const reader = this.#readers.shift();
    this.#closed = reader ? "done" : { error };
    reader?.reject(error);
    this.close();
  }

  /** Takes the next value. Whoever asks for it is done with those before. */
  next(): Promise<QueueResult<T>> {
    this.#finishInProgress();
    const first = this.#shift();
    if (first) {
      this.#inProgress.push(first.done);
      return Promise.resolve({ done: false, value: first.value });
    }
    const closed = this.#closed;
    if (closed === "done") {
      return Promise.resolve({ done: true, value: undefined });
    }
    if (closed) {
      this.#closed = "done";
      return Promise.reject(closed.error);
    }
    const reader = withResolvers<QueueResult<T>>();
    this.#readers.push(reader);
    return reader.promise;
  }

  /** Ends the iteration at once, as `break` does. */
  return(): Promise<QueueResult<T>> {
    this.#onStop();
    this.#finishInProgress();
    for (let left = this.#shift(); left; left = this.#shift()) {
      left.done.resolve();
    }
    this.#closed = "done";
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The iterator is its own iterable. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Takes what has waited longest, in constant time however much waits. */
  #shift(): QueuedValue<T> | undefined {
    const first = this.#values[this.#first];
    if (first === undefined) return undefined;
    this.#size -= first.size;
    if (++this.#first === this.#values.length) this.#values.length = 0;
    else if (this.#first * 2 <= this.#values.length) return first;
    else this.#values = this.#values.slice(this.#first);
    this.#first = 0;
    return first;
  }

  #finishInProgress(): void {
    for (const done of this.#inProgress.splice(0)) done.resolve();
  }
}
