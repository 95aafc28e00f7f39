/**
 * The messages that wait to be sent, and what happens if there is no room for more; pure.
 *
 * @module
 */

import type { OfflineQueue } from "../client/client_parts.ts";
import {
  ignoreRejection,
  MessageDroppedError,
  rejected,
} from "../events/errors.ts";
import { payloadOf } from "../protocol/frames.ts";
import type { Overflow } from "../sending/backpressure_queue.ts";
import type { QueuedMessage, SendOptions } from "../sending/send_queue.ts";
import { withResolvers } from "../util/deferred.ts";
import { byteLengthOf, type Frame } from "../values/codec.ts";

/** The limits of an {@linkcode Outbox}. */
export interface OutboxLimits {
  readonly maxBufferedAmount: number;
  readonly overflow: Overflow;
}

/** A message that waits. */
export interface OutboxEntry extends QueuedMessage {
  /** Whether it is a frame of `events.v1`, and not the data of a message. */
  readonly isMarked?: boolean;
}

/** A queue that is bounded in bytes. */
export class Outbox implements OfflineQueue {
  readonly #limits: OutboxLimits;
  #entries: OutboxEntry[] = [];
  #size = 0;
  #dropped = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** The size of all messages, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** The number of messages that were dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The message to send next. */
  get first(): OutboxEntry | undefined {
    return this.#entries[0];
  }

  /**
   * Queues a message, or drops it under its policy.
   *
   * @param held The number of bytes that wait elsewhere, and count.
   * @param overflowed Ends the connection, if the message does not fit under the policy
   * `terminate`, and returns the error.
   */
  add(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
    isMarked: boolean,
    held: number,
    overflowed?: () => Error,
  ): Promise<void> {
    const entry: OutboxEntry = {
      // The application may change its bytes.
      frame: frame instanceof Blob ? frame : payloadOf(frame),
      size: byteLengthOf(frame),
      overflow: options?.overflow ?? this.#limits.overflow,
      key: options?.key ?? "",
      isTransferable,
      isMarked,
      memory: 0,
      ...withResolvers<void>(),
    };
    ignoreRejection(entry.promise);
    if (!this.enqueue(entry, held)) {
      if (entry.overflow === "terminate" && overflowed) {
        entry.reject(overflowed());
      } else this.#drop(entry);
    }
    return entry.promise;
  }

  /** Queues a message for the next connection. */
  addTransferable(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void> {
    return this.add(frame, options, true, false, 0);
  }

  /** Queues messages that waited elsewhere, without a limit. */
  adopt(entries: readonly OutboxEntry[]): void {
    for (const entry of entries) this.#push(entry);
  }

  /** Removes the first message. */
  shift(): void {
    this.#size -= this.#entries.shift()?.size ?? 0;
  }

  /** Removes all messages. */
  takeAll(): OutboxEntry[] {
    const entries = this.#entries;
    this.#entries = [];
    this.#size = 0;
    return entries;
  }

  /** Drops the message that one with these options has just replaced. */
  dropSuperseded(options: SendOptions | undefined): void {
    const { overflow = this.#limits.overflow, key = "" } = options ?? {};
    if (overflow !== "latest") return;
    for (const other of this.takeAll()) {
      if (other.overflow === overflow && other.key === key) this.#drop(other);
      else this.#push(other);
    }
  }

  /** Queues messages again. Those for which there is no room are dropped. */
  putBack(entries: readonly OutboxEntry[]): void {
    for (const entry of [...entries, ...this.takeAll()]) {
      if (!this.enqueue(entry, 0)) this.#drop(entry);
    }
  }

  /** Queues a message. Returns whether there was room. */
  enqueue(entry: OutboxEntry, held: number): boolean {
    const { size, overflow, key } = entry;
    const { maxBufferedAmount } = this.#limits;
    const maxCount = Math.max(1024, Math.floor(maxBufferedAmount / 512));
    const isLatest = overflow === "latest";
    const hasRoom = held + this.#size + size <= maxBufferedAmount &&
      this.#entries.length < maxCount;
    if (hasRoom && !isLatest) return this.#push(entry);
    const index = this.#entries.findIndex((other) =>
      isLatest && other.overflow === overflow && other.key === key
    );
    const replaced = this.#entries[index];
    // Messages for the next connection leave room for those of this one.
    const others = this.#entries.filter((other) =>
      other !== replaced && (entry.isTransferable || !other.isTransferable)
    );
    const kept = held + sizeOfAll(others);
    const droppable = overflow === "drop-newest"
      ? []
      : others.filter((other) =>
        other.overflow === "drop-oldest" || other.overflow === "latest"
      );
    const isFull = others.length >= maxCount;
    let excess = size - (maxBufferedAmount - kept);
    if (excess > sizeOfAll(droppable) && kept > 0) return false;
    if (isFull && droppable.length === 0) return false;
    if (isFull) excess = Math.max(excess, 1);
    const dropped = new Set<OutboxEntry>();
    for (const old of droppable) {
      if (excess <= 0) break;
      dropped.add(old);
      excess -= Math.max(old.size, 1);
    }
    // A message that replaces another takes its place.
    for (const other of this.takeAll()) {
      if (other === replaced) this.#push(entry);
      if (other === replaced || dropped.has(other)) this.#drop(other);
      else this.#push(other);
    }
    return replaced !== undefined || this.#push(entry);
  }

  #push(entry: OutboxEntry): true {
    this.#entries.push(entry);
    this.#size += entry.size;
    return true;
  }

  /** Drops a message that cannot be sent at once. */
  dropVolatile(): Promise<void> {
    this.#dropped++;
    return rejected(
      new MessageDroppedError(
        "Cannot send a volatile message at once: other messages wait, or there is no connection",
      ),
    );
  }

  #drop(entry: OutboxEntry): void {
    this.#dropped++;
    entry.reject(
      new MessageDroppedError(
        `Cannot send a message as the send buffer is full or a newer message has the same key: "maxBufferedAmount" is ${this.#limits.maxBufferedAmount}`,
      ),
    );
  }
}

function sizeOfAll(entries: readonly OutboxEntry[]): number {
  return entries.reduce((sum, { size }) => sum + size, 0);
}
