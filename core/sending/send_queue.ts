/**
 * Queued messages, and the promises that settle when they are sent.
 *
 * @module
 */

import { type Deferred, withResolvers } from "../util/deferred.ts";
import {
  byteLengthOf,
  type Frame,
  memoryOf,
  toBytes,
} from "../values/codec.ts";
import {
  assertKnown,
  assertType,
  ignoreRejection,
  MessageDroppedError,
} from "../events/errors.ts";
import {
  BoundedQueue,
  type Overflow,
  type QueueItem,
} from "./bounded_queue.ts";

/** Options of {@linkcode Connection.send}. */
export interface SendOptions {
  /** The policy if this message exceeds `maxBufferedAmount`; the socket's by default. */
  readonly overflow?: Overflow;
  /**
   * The topic of the message, for `overflow: "latest"`: a queued message is replaced by
   * the next one with the same key.
   *
   * @default {""}
   */
  readonly key?: string;
}

const SEND_OPTIONS: readonly (keyof SendOptions)[] = ["overflow", "key"];

/**
 * Checks the options of `send` at run time.
 *
 * @throws {TypeError} If they are not an object, or one is unknown, as in
 * `send("chat", { text })`.
 */
export function assertSendOptions(options: SendOptions): void {
  assertType(
    "options",
    options,
    "object",
    "send takes one value, so wrap several in an object",
  );
  assertKnown("send()", options, SEND_OPTIONS);
}

/** The limits of a queue. */
export interface SendQueueLimits {
  /** The maximum number of bytes. */
  readonly maxBufferedAmount: number;
  /** The maximum number of messages. */
  readonly maxCount: number;
  /** The default policy for messages that do not fit. */
  readonly overflow: Overflow;
}

/** A queued message. */
export interface QueuedMessage extends QueueItem, Deferred<void> {
  /** The frame. */
  frame: Frame;
  /** Whether another connection may send it if this one is lost. */
  readonly isTransferable: boolean;
  /** The approximate memory of the message, in bytes. */
  readonly memory: number;
}

/** The measured overhead of a queued message in bytes, including its promise. */
export const ENTRY_COST = 640;

/** The queue of one peer. */
export class SendQueue {
  readonly #limits: SendQueueLimits;
  readonly #queue: BoundedQueue<QueuedMessage>;
  #dropped = 0;
  #memory = 0;
  /** Creates the error after the queue was stopped. */
  #stopError: (() => Error) | undefined;
  /** The error of dropped messages, shared as there may be many. */
  #dropError: MessageDroppedError | undefined;

  constructor(limits: SendQueueLimits) {
    this.#limits = limits;
    this.#queue = new BoundedQueue(limits.maxBufferedAmount, limits.maxCount);
  }

  /** The number of queued bytes. */
  get size(): number {
    return this.#queue.size;
  }

  /** The approximate memory of the queue, in bytes. */
  get memory(): number {
    return this.#memory;
  }

  /** Whether the queue is empty. */
  get isEmpty(): boolean {
    return this.#queue.isEmpty;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The oldest message. */
  get first(): QueuedMessage | undefined {
    return this.#queue.first;
  }

  /** Removes and returns the oldest message. */
  shift(): void {
    this.#memory -= this.#queue.first?.memory ?? 0;
    this.#queue.shift();
  }

  /** Removes and returns all messages, in order. */
  takeAll(): QueuedMessage[] {
    this.#memory = 0;
    return this.#queue.takeAll();
  }

  /**
   * Stops the queue, and empties it.
   *
   * @param makeError Creates the error of messages that only this connection could send.
   * @returns Messages that another connection may send, in order. Their promises stay
   * pending.
   */
  stop(makeError: () => Error): QueuedMessage[] {
    this.#stopError = makeError;
    return this.takeAll().filter((entry) => {
      if (!entry.isTransferable) entry.reject(makeError());
      return entry.isTransferable;
    });
  }

  /**
   * Adds a message.
   *
   * @param options The options of `send`.
   * @param isTransferable Whether another connection may send it.
   * @param heldBytes The number of bytes queued elsewhere.
   * @returns The message, and whether it was queued. A rejection of its promise is never
   * unhandled.
   */
  add(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
    heldBytes: number,
  ): { entry: QueuedMessage; isQueued: boolean } {
    const { overflow = this.#limits.overflow, key = "" } = options ?? {};
    const entry: QueuedMessage = {
      frame,
      size: byteLengthOf(frame),
      overflow,
      key,
      isTransferable,
      memory: ENTRY_COST + memoryOf(frame),
      ...withResolvers<void>(),
    };
    ignoreRejection(entry.promise);
    return { entry, isQueued: this.enqueue(entry, heldBytes) };
  }

  /**
   * Adds a message from another queue. Returns whether it was queued.
   *
   * @param heldBytes The number of bytes queued elsewhere.
   */
  enqueue(entry: QueuedMessage, heldBytes: number): boolean {
    const { isQueued, dropped } = this.#queue.offer(entry, heldBytes);
    for (const other of dropped) {
      this.#memory -= other.memory;
      this.drop(other);
    }
    if (isQueued) {
      this.#memory += entry.memory;
      entry.frame = copyFrame(entry.frame, dropped.at(-1)?.frame);
    }
    return isQueued;
  }

  /**
   * Adds a message from another queue regardless of the limits, as it was within the
   * limits there. It is dropped if a newer one with the same key is queued.
   */
  adopt(entry: QueuedMessage): void {
    if (this.#queue.append(entry)) this.#memory += entry.memory;
    else this.drop(entry);
  }

  /**
   * Drops the queued message with the same key as one that was sent with the policy
   * `latest`.
   */
  dropSuperseded(options: SendOptions | undefined): void {
    const { overflow = this.#limits.overflow, key = "" } = options ?? {};
    if (this.isEmpty || overflow !== "latest") return;
    const old = this.#queue.take(key);
    if (!old) return;
    this.#memory -= old.memory;
    this.drop(old);
  }

  /**
   * Drops a message that is not queued, or rejects it with the error of a stopped queue.
   */
  drop(entry: QueuedMessage): void {
    if (this.#stopError) return entry.reject(this.#stopError());
    this.#dropped++;
    this.#dropError ??= new MessageDroppedError(
      `Cannot send a message as the send buffer is full or a newer message has the same key: "maxBufferedAmount" is ${this.#limits.maxBufferedAmount}`,
    );
    entry.reject(this.#dropError);
  }
}

/**
 * Copies the bytes of a queued message, as the caller may modify them. Reuses the memory
 * of a dropped message if it fits, to avoid garbage for peers that do not read.
 */
function copyFrame(frame: Frame, reusable: Frame | undefined): Frame {
  if (typeof frame === "string" || frame instanceof Blob) return frame;
  const bytes = toBytes(frame);
  const isReusable = reusable instanceof ArrayBuffer &&
    reusable.byteLength === bytes.byteLength;
  if (!isReusable) return bytes.slice().buffer;
  new Uint8Array(reusable).set(bytes);
  return reusable;
}
