/**
 * A queue of events for a `for await` loop.
 *
 * @module
 */

import { type Deferred, withResolvers } from "../util/deferred.ts";
import { RESOLVED } from "./errors.ts";

type QueueResult<T> = IteratorResult<T, undefined>;

/** A queued value, and the promise that it was handled. */
interface QueuedValue<T> {
  readonly value: T;
  readonly size: number;
  readonly done: Deferred<void>;
}

/**
 * The maximum number of bytes per allowed value: values of different sizes count
 * together.
 */
const MAX_VALUE_SIZE = 16 * 1024;

/**
 * A bounded queue that is an async iterator.
 *
 * @typeParam T The type of the values.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #name: string;
  readonly #limit: number;
  readonly #onStop: () => void;
  readonly #iteratorOverflowed: () => void;
  /** The index of the first queued value; values before it were taken. */
  #values: QueuedValue<T>[] = [];
  #first = 0;
  #size = 0;
  readonly #readers: Deferred<QueueResult<T>>[] = [];
  /** Values that were taken and are not handled yet. */
  #inProgress: Deferred<void>[] = [];
  /** Set at the end. Its error is thrown once. */
  #closed: { error: unknown } | "done" | undefined;

  /**
   * @param name The name of the values, for the error message.
   * @param onStop Called when no more values are needed.
   * @param iteratorOverflowed Called after that if there were too many values.
   */
  constructor(
    name: string,
    limit: number,
    onStop: () => void,
    iteratorOverflowed: () => void = () => {},
  ) {
    this.#name = name;
    this.#limit = limit;
    this.#onStop = onStop;
    this.#iteratorOverflowed = iteratorOverflowed;
  }

  /** The number of queued bytes. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds a value. If there are too many values or bytes, the queue fails instead.
   *
   * @returns A promise that resolves when the value was handled: when the next one is
   * requested, or no more are needed.
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
        `Cannot queue more than ${most}: handle them faster or increase "limit"`,
      ),
    );
    this.#iteratorOverflowed();
    return RESOLVED;
  }

  /** Ends the iteration after the queued values. */
  close(): void {
    this.#closed ??= "done";
    for (const reader of this.#readers.splice(0)) {
      reader.resolve({ done: true, value: undefined });
    }
  }

  /** Ends the iteration with an error after the queued values. */
  fail(error: unknown): void {
    const reader = this.#readers.shift();
    this.#closed = reader ? "done" : { error };
    reader?.reject(error);
    this.close();
  }

  /** Takes the next value. The previous ones count as handled. */
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

  /** Ends the iteration immediately, as `break` does. */
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

  /** Returns this iterator. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Takes the oldest value in constant time. */
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
