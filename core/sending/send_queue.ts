/**
 * Messages that wait, and the promises of those who wait for them to be sent.
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

/** How much may wait, and what becomes of the rest. */
export interface SendQueueLimits {
  /** How many bytes may wait. */
  readonly maxBufferedAmount: number;
  /** How many messages may wait. */
  readonly maxCount: number;
  /** What to do with what does not fit, unless its `send` says otherwise. */
  readonly overflow: Overflow;
}

/** A message that waits. */
export interface QueuedMessage extends QueueItem, Deferred<void> {
  /** What to send. */
  frame: Frame;
  /** Whether it may go out by another connection if this one is lost. */
  readonly isTransferable: boolean;
  /** About how many bytes of memory it takes as a whole. */
  readonly memory: number;
}

/**
 * What a message takes while it waits, beside its payload, in bytes, as measured: it and
 * its promise, with the functions that settle it.
 */
export const ENTRY_COST = 640;

/** What waits for one peer. */
export class SendQueue {
  readonly #limits: SendQueueLimits;
  readonly #queue: BoundedQueue<QueuedMessage>;
  #dropped = 0;
  #memory = 0;
  /** Tells why nothing is sent any more. */
  #stopError: (() => Error) | undefined;
  /** What dropped messages reject with: one error for all, as they may be many. */
  #dropError: MessageDroppedError | undefined;

  /**
   * Creates an empty one.
   *
   * @param limits How much may wait.
   */
  constructor(limits: SendQueueLimits) {
    this.#limits = limits;
    this.#queue = new BoundedQueue(limits.maxBufferedAmount, limits.maxCount);
  }

  /** How many bytes wait. */
  get size(): number {
    return this.#queue.size;
  }

  /** About how many bytes of memory it takes. */
  get memory(): number {
    return this.#memory;
  }

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#queue.isEmpty;
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** What has waited longest. */
  get first(): QueuedMessage | undefined {
    return this.#queue.first;
  }

  /** Takes away what has waited longest. */
  shift(): void {
    this.#memory -= this.#queue.first?.memory ?? 0;
    this.#queue.shift();
  }

  /**
   * Takes all away.
   *
   * @returns All that has waited, in order.
   */
  takeAll(): QueuedMessage[] {
    this.#memory = 0;
    return this.#queue.takeAll();
  }

  /**
   * Stops for good, and lets go of all that waits.
   *
   * @param makeError Makes what messages reject with that are not carried.
   * @returns What may go out by another connection, in order; its promises wait.
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
   * @param frame What to send.
   * @param options What to do if it does not fit.
   * @param isTransferable Whether it may go out by another connection.
   * @param heldBytes How many bytes wait elsewhere already.
   * @returns The message, whose promise is quiet; and whether it waits now.
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
   * Adds a message that has waited elsewhere.
   *
   * @param entry The message.
   * @param heldBytes How many bytes wait elsewhere already.
   * @returns Whether it waits now.
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
   * Adds a message that has waited elsewhere, within the bound there: here there is
   * none for it. One that is not the latest any more is dropped.
   *
   * @param entry The message.
   */
  adopt(entry: QueuedMessage): void {
    if (this.#queue.append(entry)) this.#memory += entry.memory;
    else this.drop(entry);
  }

  /**
   * Drops what waits with the key of a message that has just been sent, if only the
   * latest counts.
   *
   * @param options Those of the message that has been sent.
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
   * Drops a message that does not wait here, or no longer. Once this has stopped, that
   * is why it is not sent.
   *
   * @param entry The message.
   */
  drop(entry: QueuedMessage): void {
    if (this.#stopError) return entry.reject(this.#stopError());
    this.#dropped++;
    this.#dropError ??= new MessageDroppedError(
      `Cannot send a message as too much waits to be sent: it was dropped, as "maxBufferedAmount" (${this.#limits.maxBufferedAmount}) or a newer one with the same key asked for it`,
    );
    entry.reject(this.#dropError);
  }
}

/**
 * Bytes that wait must not change under the sender's hand. The copy goes where a
 * message was that has just been dropped, if it fits there: a stream to a peer
 * that does not take it would else be a stream of garbage.
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
