/**
 * The queue of messages that wait to be sent, and the promises of their `send` calls.
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
  BackpressureQueue,
  type Overflow,
  policyOf,
  type QueueItem,
} from "./backpressure_queue.ts";

/** Options of {@linkcode Connection.send}. */
export interface SendOptions {
  /** The policy if this message exceeds `maxBufferedAmount`; the socket's by default. */
  readonly overflow?: Overflow;
  /**
   * The key of the message, for `overflow: "latest"`: a message that waits, to be sent
   * or for a busy listener of the peer, is replaced by the next one with the same key. The
   * peer is told keys of up to 1,024 UTF-16 code units.
   *
   * @default {""}
   */
  readonly key?: string;
  /**
   * Sends the message only if it can be sent immediately. Otherwise it is dropped, and
   * counted as dropped: if other messages wait to be sent, if the runtime still buffers 64
   * KiB or more, if the peer has not granted credit for it, or while a client has no
   * connection. Then the promise of `send` rejects with a {@linkcode MessageDroppedError}.
   * A volatile message is never queued, so `overflow` and `key` do not apply, and never
   * stored in a `history`.
   *
   * @default {false}
   */
  readonly volatile?: boolean;
}

const SEND_OPTIONS: readonly (keyof SendOptions)[] = [
  "overflow",
  "key",
  "volatile",
];

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
  assertKnown("send(data, options)", options, SEND_OPTIONS);
}

/** The bounds of a queue. */
export interface SendQueueLimits {
  /** The maximum number of bytes. */
  readonly maxBufferedAmount: number;
  /** The maximum number of messages. */
  readonly maxCount: number;
  /** The policy for a message that does not fit, unless its `send` sets one. */
  readonly overflow: Overflow;
}

/** A queued message. */
export interface QueuedMessage extends QueueItem, Deferred<void> {
  /** The frame to send. */
  frame: Frame;
  /** Whether another connection may send it if this one is lost. */
  readonly isTransferable: boolean;
  /** The approximate memory that it takes as a whole, in bytes. */
  readonly memory: number;
}

/**
 * The memory that a queued message takes in addition to its payload, in bytes, as
 * measured: the entry, its promise, and the functions that settle it.
 */
export const ENTRY_COST = 640;

/** The messages that wait to be sent to one peer. */
export class SendQueue extends BackpressureQueue<QueuedMessage> {
  readonly #limits: SendQueueLimits;
  #dropped = 0;
  /** Creates the error of a message that is not sent, once sending has stopped. */
  #stopError: (() => Error) | undefined;
  /** The error of dropped messages: one for all, as there may be many. */
  #dropError: MessageDroppedError | undefined;
  /** The promise of all dropped volatile messages. */
  #volatileDrop: Promise<void> | undefined;

  /** Creates an empty queue. */
  constructor(limits: SendQueueLimits) {
    super(limits.maxBufferedAmount, limits.maxCount);
    this.#limits = limits;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Stops for good. Messages that only this connection could send are rejected.
   *
   * @returns The other messages, in order. Their promises are pending.
   */
  stop(makeError: () => Error): QueuedMessage[] {
    this.#stopError = makeError;
    return this.takeAll().filter((entry) => {
      if (!entry.isTransferable) entry.reject(makeError());
      return entry.isTransferable;
    });
  }

  /**
   * Adds a new message.
   *
   * @param isTransferable Whether another connection may send it.
   * @param heldBytes The bytes that wait elsewhere already.
   * @returns The message, whose promise may reject unobserved, and whether it was queued.
   */
  add(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
    heldBytes: number,
  ): { readonly entry: QueuedMessage; readonly isQueued: boolean } {
    const { key = "" } = options ?? {};
    const overflow = policyOf(options, this.#limits);
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
   * Adds a new message that any connection may send, or drops it.
   *
   * @returns A promise that settles with the message. Its rejection is never unhandled.
   */
  addTransferable(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void> {
    const { entry, isQueued } = this.add(frame, options, true, 0);
    if (!isQueued) this.drop(entry);
    return entry.promise;
  }

  /** Adds messages that have waited elsewhere, before those that wait here. */
  putBack(entries: readonly QueuedMessage[]): void {
    for (const entry of [...entries, ...this.takeAll()]) {
      if (!this.enqueue(entry, 0)) this.drop(entry);
    }
  }

  /**
   * Adds a message that has waited elsewhere.
   *
   * @param heldBytes The bytes that wait elsewhere already.
   * @returns Whether it was queued.
   */
  enqueue(entry: QueuedMessage, heldBytes: number): boolean {
    const { isQueued, dropped } = this.offer(entry, heldBytes);
    for (const other of dropped) this.drop(other);
    if (isQueued) entry.frame = copyFrame(entry.frame, dropped.at(-1)?.frame);
    return isQueued;
  }

  /**
   * Adds a message that has waited elsewhere within a bound; it needs no room here. It is
   * dropped if a newer one with the same key is queued.
   */
  adopt(entry: QueuedMessage): void {
    if (!this.append(entry)) this.drop(entry);
  }

  /** Drops a queued message that a message with these options has just replaced. */
  dropSuperseded(options: SendOptions | undefined): void {
    if (this.isEmpty || policyOf(options, this.#limits) !== "latest") return;
    const old = this.take(options?.key ?? "");
    if (old) this.drop(old);
  }

  /** Rejects a message that is not in the queue, or no longer. */
  drop(entry: QueuedMessage): void {
    if (this.#stopError) return entry.reject(this.#stopError());
    this.#dropped++;
    this.#dropError ??= new MessageDroppedError(
      `Cannot send a message as the send buffer is full or a newer message has the same key: "maxBufferedAmount" is ${this.#limits.maxBufferedAmount}`,
    );
    entry.reject(this.#dropError);
  }

  /** Drops a volatile message that cannot be sent at once. */
  dropVolatile(): Promise<void> {
    this.#dropped++;
    return this.#volatileDrop ??= ignoreRejection(
      Promise.reject(
        new MessageDroppedError(
          "Cannot send a volatile message at once: other messages wait, or there is no connection",
        ),
      ),
    );
  }
}

/**
 * Copies bytes, as the application may change them while they wait. The buffer of a
 * message that was just dropped is reused if it has the same size: otherwise each message
 * to a peer that does not read would leave a buffer to collect.
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
