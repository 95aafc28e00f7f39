/**
 * Keeps only the newest message of each key while the listeners of this side are behind.
 *
 * @module
 */

import { startTimer } from "../util/timer.ts";

/** The maximum number of waiting messages. */
const MAX_HELD = 4096;

/** The maximum size of waiting messages, in bytes. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;

/** The length of the periods whose busy time is measured, in milliseconds. */
const PERIOD_MS = 16;

/** How long messages may be handled in one period, and at a time, in milliseconds. */
const BUSY_MS = 4;

interface HeldItem<M> {
  readonly message: M;
  readonly size: number;
}

/**
 * Passes messages on at once while that is quick. Once it has taken 4 ms of 16, messages
 * wait for a timer, so that the event loop reads what has arrived meanwhile. A newer message
 * then takes the place of a waiting one with the same key.
 *
 * @typeParam M The type of a message.
 */
export class LatestInbox<M> {
  readonly #pass: (message: M, key: string | undefined) => void;
  readonly #onEmpty: () => void;
  /** In order. The ids of messages without a key are numbers. */
  readonly #waiting = new Map<string | number, HeldItem<M>>();
  #nextId = 0;
  #size = 0;
  #superseded = 0;
  /** Whether messages with a key have to wait. */
  #isBehind = false;
  /** The start of this period, and how long messages were handled in it. */
  #periodStart = 0;
  #busyMs = 0;

  /**
   * @param pass Takes a message and calls its listeners.
   * @param onEmpty Called after the last waiting message.
   */
  constructor(
    pass: (message: M, key: string | undefined) => void,
    onEmpty: () => void,
  ) {
    this.#pass = pass;
    this.#onEmpty = onEmpty;
  }

  /** The size of waiting messages, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** Whether no message waits. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** The number of messages that were dropped for newer ones. */
  get superseded(): number {
    return this.#superseded;
  }

  /**
   * Takes a message.
   *
   * @param key The key, if only the newest message with it matters.
   */
  add(message: M, size: number, key: string | undefined): void {
    if (this.isEmpty && (key === undefined || !this.#isBehind)) {
      if (key === undefined) return this.#pass(message, key);
      const start = performance.now();
      this.#pass(message, key);
      this.#isBehind = this.#isBusy(start, performance.now());
      return;
    }
    const id = key ?? this.#nextId++;
    const replaced = this.#waiting.get(id);
    if (replaced) {
      this.#size -= replaced.size;
      this.#superseded++;
    } else if (this.isEmpty) this.#schedule();
    this.#waiting.set(id, { message, size });
    this.#size += size;
    while (
      this.#waiting.size > MAX_HELD ||
      this.#size > MAX_HELD_BYTES && this.#waiting.size > 1
    ) this.#passOldest();
  }

  /** Passes on all waiting messages. */
  flush(): void {
    while (!this.isEmpty) this.#passOldest();
  }

  /** Removes all waiting messages, and returns them. */
  takeAll(): M[] {
    const all = [...this.#waiting.values()].map(({ message }) => message);
    this.#waiting.clear();
    this.#size = 0;
    return all;
  }

  /** With a timer, unlike with `setImmediate`, Deno reads sockets in between. */
  #schedule(): void {
    startTimer(() => this.#passNext(), 0);
  }

  #passNext(): void {
    if (this.isEmpty) return; // they were discarded
    const until = performance.now() + BUSY_MS;
    do this.#passOldest(); while (!this.isEmpty && performance.now() < until);
    this.#isBehind = performance.now() >= until;
    if (this.isEmpty) this.#onEmpty();
    else this.#schedule();
  }

  #isBusy(start: number, end: number): boolean {
    if (start - this.#periodStart > PERIOD_MS) {
      this.#periodStart = start;
      this.#busyMs = 0;
    }
    this.#busyMs += end - start;
    return this.#busyMs > BUSY_MS;
  }

  #passOldest(): void {
    for (const [id, { message, size }] of this.#waiting) {
      this.#waiting.delete(id);
      this.#size -= size;
      return this.#pass(message, typeof id === "string" ? id : undefined);
    }
  }
}
