/**
 * Passes messages to a socket no faster than its peer reads. A runtime accepts any amount
 * of data, and has no event for when it was sent.
 *
 * @module
 */

import { type Deferred, withResolvers } from "../util/deferred.ts";
import { MESSAGE_COST } from "./buffer_budget.ts";
import {
  type QueuedMessage,
  type SendOptions,
  SendQueue,
} from "./send_queue.ts";
import { PollTimer } from "./poll_timer.ts";
import type { Frame } from "../values/codec.ts";
import { assertSize, ignoreRejection, RESOLVED } from "../events/errors.ts";
import { assertOverflow, type Overflow } from "./bounded_queue.ts";
import type { SocketSink } from "../runtime/websocket.ts";

/** Flow control: how much may be buffered for one peer, and what happens beyond that. */
export interface FlowOptions {
  /**
   * The maximum number of bytes that the runtime buffers for one peer. At this mark,
   * `send` queues messages in this library, and its promise stays pending, until the
   * runtime's buffer falls to half of it. Also limits the number of messages in that
   * buffer, to max(1024, highWaterMark / 256). The runtime may hold its buffer until the
   * TCP connection ends, even after `terminate()`: a public server may want a lower value.
   *
   * @default {1_048_576}
   */
  readonly highWaterMark?: number;
  /**
   * The maximum number of bytes that are buffered for one peer in total. Also limits the
   * number of queued messages, to max(1024, maxBufferedAmount / 512). Beyond that, the
   * `overflow` policy applies; a single message always fits an empty queue. On a client
   * that reconnects, `client.send` and `connection.send` have separate budgets.
   *
   * @default {16_777_216}
   */
  readonly maxBufferedAmount?: number;
  /**
   * The policy for a message that exceeds `maxBufferedAmount`. The options of `send`
   * override it.
   *
   * @default {"terminate"}
   */
  readonly overflow?: Overflow;
}

/** The flow-control limits of one socket. */
export interface WriterLimits extends Required<FlowOptions> {
  /**
   * How long a peer may read nothing while data waits, in milliseconds; 0 for no limit.
   */
  readonly stallTimeout: number;
  /** The maximum number of messages in the socket. */
  readonly highWaterCount: number;
  /** The maximum number of queued messages. */
  readonly maxCount: number;
  /** Polls full writers. */
  readonly fastPoll: PollTimer;
  /** Polls writers that are not full, but may stall unnoticed. */
  readonly slowPoll: PollTimer;
}

/** The traffic in one direction. */
export interface TrafficCount {
  /** The number of messages. */
  readonly messages: number;
  /** The number of bytes; for text, the number of UTF-16 code units. */
  readonly bytes: number;
}

/** An event of a writer. */
export type WriterSignal =
  /** All queued messages were sent, and there is space again. */
  | "drained"
  /** A message that may not be dropped does not fit. */
  | "overflow"
  /** The peer has read nothing for too long. */
  | "stalled"
  /** The socket closes by itself while messages wait. */
  | "stuck";

/**
 * Resolves the options, which all connections of a socket share.
 *
 * @param stallTimeout How long a peer may read nothing, in milliseconds.
 * @throws {RangeError} If a number is negative or `NaN`, or `overflow` is not a valid
 * policy.
 */
export function resolveWriterLimits(
  options: FlowOptions,
  stallTimeout: number,
): WriterLimits {
  const {
    highWaterMark = 1024 * 1024,
    maxBufferedAmount = 16 * 1024 * 1024,
    overflow = "terminate",
  } = options;
  assertSize("highWaterMark", highWaterMark);
  assertSize("maxBufferedAmount", maxBufferedAmount);
  assertOverflow(options);
  return {
    highWaterMark,
    maxBufferedAmount,
    overflow,
    stallTimeout,
    highWaterCount: maxCountFor(highWaterMark),
    maxCount: maxCountFor(maxBufferedAmount / 2),
    fastPoll: new PollTimer(),
    slowPoll: new PollTimer(),
  };
}

/**
 * Returns the maximum number of messages for a number of bytes. Each message costs 640
 * bytes here, and 1,024 in the runtime, which `bufferedAmount` does not include.
 */
function maxCountFor(bytes: number): number {
  return Math.max(1024, Math.floor(bytes / 256));
}

/** The first delay of a poll of a full writer, in milliseconds. */
const FAST_POLL_MIN_MS = 1;

/** The maximum delay, if nothing moves. */
const FAST_POLL_MAX_MS = 32;

/** The delay of a poll of a writer that is not full. */
const SLOW_POLL_MAX_MS = 5_000;

/**
 * A peer that reads this many bytes per second is slow, but not stalled. A runtime
 * reports the progress of a message only when it was sent completely.
 */
const MIN_BYTES_PER_SECOND = 16 * 1024;

/**
 * Empty messages do not change `bufferedAmount`. They are assumed to be sent after this
 * time, in milliseconds.
 */
const EMPTY_MESSAGES_MS = 250;

/** Writes the messages of one connection to its socket. */
export class SocketWriter {
  readonly #socket: SocketSink;
  readonly #limits: WriterLimits;
  readonly #onSignal: (signal: WriterSignal) => void;
  /** An upper bound of the bytes in the socket. */
  #maxBuffered = 0;
  /** The approximate number of messages in the socket, and their bytes. */
  #bufferedCount = 0;
  #bufferedBytes = 0;
  /** The number of messages passed to the socket, and their bytes. */
  #sentCount = 0;
  #sentBytes = 0;
  /** The number of empty messages at the end. */
  #emptyCount = 0;
  /** The frame to send before all queued messages. */
  #creditFrame: string | undefined;
  /** The number of bytes passed to the socket since the last transferable message. */
  #bytesSinceTransferable = Infinity;
  /** The queue, created when it is first needed. */
  #queue: SendQueue | undefined;
  /**
   * Settles when the socket has drained to half of the mark. Created when the mark is
   * reached.
   */
  #drained: Deferred<void> | undefined;
  /** Whether to report `drain`. */
  #isDrainAwaited = false;
  #isReadingBlob = false;
  #isPolledSlowly = false;
  /** Whether the peer has sent something since the last progress. */
  #isPeerActive = false;
  /** The buffered amount at the last poll. */
  #lastBuffered = 0;
  #pollDelay = FAST_POLL_MIN_MS;
  /** How long there was no progress, in milliseconds. */
  #stalledMs = 0;
  /** How long there may be no progress. */
  #maxStallMs = Infinity;
  #onEmpty: (() => void) | undefined;
  /** Whether the writer was stopped. */
  #isStopped = false;

  /**
   * @param limits The flow-control limits.
   * @param onSignal Called with events of the writer.
   */
  constructor(
    socket: SocketSink,
    limits: WriterLimits,
    onSignal: (signal: WriterSignal) => void,
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onSignal = onSignal;
  }

  /** The number of queued bytes. */
  get size(): number {
    return this.#queue?.size ?? 0;
  }

  /**
   * Returns the approximate memory of waiting messages, here and in the socket, in bytes.
   * Reads `bufferedAmount`.
   *
   * @param frames The number of frames passed to the socket.
   */
  measureMemory(frames: number = this.#sentCount): number {
    const level = this.#measureBuffered();
    const perMessage = Math.min(1, frames / Math.max(1, this.#sentCount));
    const inSocket = level + this.#bufferedCount * perMessage * MESSAGE_COST;
    return inSocket + (this.#queue?.memory ?? 0);
  }

  /** The traffic passed to the socket. */
  get sent(): TrafficCount {
    return { messages: this.#sentCount, bytes: this.#sentBytes };
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#queue?.dropped ?? 0;
  }

  /** Notes that the peer has sent something, and is alive. */
  noteActivity(): void {
    this.#isPeerActive = true;
  }

  /** Whether the peer has sent something since it last read something. */
  get isPeerActive(): boolean {
    return this.#isPeerActive;
  }

  /**
   * Sends a message, or queues it. The socket must be open.
   *
   * @param options The options of `send`.
   * @param isTransferable Whether another connection may send it if this one is lost
   * before. If it is lost afterwards, the promise resolves.
   * @returns A promise that resolves when the message was passed to the socket and the
   * buffer is below its mark. Its rejection is never unhandled.
   * @throws {RangeError} If `overflow` is not a valid policy.
   */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> {
    assertOverflow(options);
    this.#checkDrained();
    if (
      this.#hasQueued || this.#drained !== undefined || frame instanceof Blob
    ) {
      return this.#enqueue(frame, options, isTransferable);
    }
    return ignoreLossIfTransferable(
      this.#write(frame, isTransferable),
      isTransferable,
    );
  }

  /** Sends a message from another queue, or queues it. The socket must be open. */
  adopt(entry: QueuedMessage): void {
    this.#queue ??= new SendQueue(this.#limits);
    this.#queue.adopt(entry);
    this.#isDrainAwaited ||= this.#drained !== undefined;
    if (!this.#drained) this.#flush();
  }

  /**
   * Drops the queued message with the same key as a newer one with the policy `latest`.
   */
  dropSuperseded(options: SendOptions | undefined): void {
    this.#queue?.dropSuperseded(options);
  }

  /**
   * Sends a frame as soon as there is space, before all queued messages and regardless of
   * limits. A newer one replaces it. The socket must be open.
   */
  sendCredit(text: string): void {
    this.#creditFrame = text;
    if (!this.#drained) this.#flushCredit();
  }

  /**
   * Calls back when the queue is empty; immediately if it is. Not after {@linkcode
   * SocketWriter.stop}.
   */
  whenEmpty(action: () => void): void {
    if (this.#hasQueued) this.#onEmpty = action;
    else action();
  }

  /**
   * Stops the writer, and empties its queue.
   *
   * @param makeError Creates the error of pending promises.
   * @param isDelivered Whether the peer has received what the socket had.
   * @returns Messages that another connection may send, in order. Their promises stay
   * pending.
   */
  stop(makeError: () => Error, isDelivered: boolean): readonly QueuedMessage[] {
    this.#isStopped = true;
    this.#onEmpty = undefined;
    this.#limits.fastPoll.remove(this);
    this.#limits.slowPoll.remove(this);
    if (isDelivered) this.#drained?.resolve();
    else this.#drained?.reject(makeError());
    this.#drained = undefined;
    return this.#queue?.stop(makeError) ?? [];
  }

  /** Polls the socket. */
  poll(): number {
    if (this.#socket.readyState !== 1) {
      // The buffered amount of a closing socket is not known.
      this.#onSignal("stuck");
      return 0;
    }
    return this.#drained ? this.#pollFast() : this.#pollSlowly();
  }

  /** Whether a message is queued. */
  get #hasQueued(): boolean {
    return this.#queue !== undefined && !this.#queue.isEmpty;
  }

  #write(frame: Exclude<Frame, Blob>, isTransferable: boolean): Promise<void> {
    this.#socket.send(frame);
    if (!this.#isPolledSlowly) this.#startSlowPoll();
    const isText = typeof frame === "string";
    const size = isText ? frame.length : frame.byteLength;
    this.#maxBuffered += isText ? size * 3 : size; // as UTF-8
    this.#bufferedBytes += size;
    this.#sentCount++;
    this.#sentBytes += size;
    this.#bytesSinceTransferable = isTransferable
      ? 0
      : this.#bytesSinceTransferable + size;
    this.#bufferedCount++;
    if (size === 0) this.#emptyCount++;
    else this.#emptyCount = 0;
    // Reading `bufferedAmount` each time would cost more than all the rest here.
    if (!this.#mayBeFull()) return RESOLVED;
    const buffered = this.#measureBuffered();
    if (!this.#mayBeFull()) return RESOLVED;
    this.#isDrainAwaited = true;
    return this.#startBackpressure(buffered);
  }

  #mayBeFull(): boolean {
    return this.#maxBuffered >= this.#limits.highWaterMark ||
      this.#bufferedCount >= this.#limits.highWaterCount;
  }

  /** Reads the buffered amount, and estimates the number of messages. */
  #measureBuffered(): number {
    const buffered = this.#socket.bufferedAmount;
    this.#bufferedCount = buffered === 0 ? this.#emptyCount : Math.ceil(
      this.#bufferedCount *
        Math.min(1, buffered / Math.max(1, this.#bufferedBytes)),
    );
    this.#maxBuffered = this.#bufferedBytes = buffered;
    return buffered;
  }

  /** Starts to queue messages. */
  #startBackpressure(buffered: number): Promise<void> {
    this.#drained = withResolvers();
    ignoreRejection(this.#drained.promise);
    this.#noteProgress(buffered);
    this.#isPolledSlowly = false;
    this.#limits.slowPoll.remove(this);
    this.#limits.fastPoll.add(this, FAST_POLL_MIN_MS);
    return this.#drained.promise;
  }

  /** Notes progress. */
  #noteProgress(buffered: number): void {
    const { stallTimeout } = this.#limits;
    this.#lastBuffered = buffered;
    this.#pollDelay = FAST_POLL_MIN_MS;
    this.#stalledMs = 0;
    this.#isPeerActive = false;
    this.#maxStallMs = stallTimeout === 0
      ? Infinity
      : stallTimeout + buffered / MIN_BYTES_PER_SECOND * 1000;
  }

  #pollFast(): number {
    const buffered = this.#measureBuffered();
    const isMoving = buffered < this.#lastBuffered;
    if (isMoving) this.#noteProgress(buffered);
    else {
      this.#stalledMs += this.#pollDelay;
      this.#pollDelay = Math.min(this.#pollDelay * 2, FAST_POLL_MAX_MS);
    }
    const { highWaterMark, highWaterCount } = this.#limits;
    const isLow = buffered <= highWaterMark / 2 &&
      this.#bufferedCount <= highWaterCount / 2;
    const isEmpty = buffered === 0 &&
      (isLow || this.#stalledMs >= EMPTY_MESSAGES_MS);
    if (isEmpty || (isMoving && isLow)) this.#endBackpressure(buffered);
    else if (this.#stalledMs >= this.#maxStallMs) this.#onSignal("stalled");
    return this.#drained && !this.#isStopped ? this.#pollDelay : 0;
  }

  /**
   * The socket may drain before the next poll, for which a sender of large messages would
   * wait each time.
   */
  #checkDrained(): void {
    const isFull = this.#drained !== undefined && this.#emptyCount === 0;
    if (isFull && this.#socket.bufferedAmount === 0) this.#endBackpressure(0);
  }

  /** Handles that there is space again. */
  #endBackpressure(buffered: number): void {
    if (buffered === 0) this.#bufferedCount = this.#emptyCount = 0;
    this.#drained?.resolve();
    this.#drained = undefined;
    this.#flush();
    if (buffered > 0 && !this.#drained && !this.#isStopped) {
      this.#startSlowPoll();
    }
  }

  #startSlowPoll(): void {
    const { stallTimeout, slowPoll } = this.#limits;
    if (stallTimeout === 0 || this.#isPolledSlowly) return;
    this.#isPolledSlowly = true;
    this.#lastBuffered = Infinity;
    slowPoll.add(this, this.#slowPollInterval);
  }

  /** The delay until the next poll of a writer that is not full. */
  get #slowPollInterval(): number {
    return Math.min(this.#limits.stallTimeout / 4, SLOW_POLL_MAX_MS);
  }

  /**
   * A stalled peer could go unnoticed while there is space. So if there seems to be no
   * progress, messages are queued until there is.
   */
  #pollSlowly(): number {
    const buffered = this.#measureBuffered();
    const isMoving = buffered < this.#lastBuffered;
    this.#lastBuffered = buffered;
    if (buffered === 0) {
      this.#isPolledSlowly = false;
      this.#bufferedCount = this.#emptyCount = 0;
    } else if (!isMoving) this.#startBackpressure(buffered);
    return this.#isPolledSlowly ? this.#slowPollInterval : 0;
  }

  #enqueue(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> {
    this.#queue ??= new SendQueue(this.#limits);
    const buffered = this.#socket.bufferedAmount;
    // Transferable messages do not displace others.
    const heldBytes = isTransferable
      ? buffered
      : Math.min(buffered, this.#bytesSinceTransferable);
    const { entry, isQueued } = this.#queue.add(
      frame,
      options,
      isTransferable,
      heldBytes,
    );
    this.#isDrainAwaited ||= this.#drained !== undefined;
    if (!isQueued) {
      // Transferable messages would only fill the next connection.
      if (entry.overflow === "terminate" && !isTransferable) {
        this.#onSignal("overflow");
      }
      this.#queue.drop(entry);
    }
    if (!this.#drained) this.#flush();
    return entry.promise;
  }

  #flushCredit(): void {
    const text = this.#creditFrame;
    if (text === undefined || this.#socket.readyState !== 1) return;
    this.#creditFrame = undefined;
    this.#write(text, false);
    this.#sentCount--; // it is not a message
    this.#sentBytes -= text.length;
  }

  /** Passes the oldest messages to the socket while there is space. */
  #flush(): void {
    this.#flushCredit();
    const queue = this.#queue;
    for (
      let entry = queue?.first;
      entry && !this.#drained;
      entry = queue?.first
    ) {
      // It would silently discard it.
      if (this.#socket.readyState !== 1) return;
      if (entry.frame instanceof Blob) {
        return this.#readBlob(entry, entry.frame);
      }
      queue?.shift();
      const { isTransferable } = entry;
      entry.resolve(
        ignoreLossIfTransferable(
          this.#write(entry.frame, isTransferable),
          isTransferable,
        ),
      );
    }
    if (this.#hasQueued) return;
    const onEmpty = this.#onEmpty;
    this.#onEmpty = undefined;
    onEmpty?.();
    if (!this.#isDrainAwaited || this.#drained || this.#isStopped) return;
    this.#isDrainAwaited = false;
    this.#onSignal("drained");
  }

  /** Reads the bytes of a `Blob`. All other messages wait for it. */
  #readBlob(entry: QueuedMessage, blob: Blob): void {
    if (this.#isReadingBlob) return;
    this.#isReadingBlob = true;
    // Meanwhile another connection may have sent it, with another mark.
    const isFirst = () => this.#queue?.first === entry;
    blob.arrayBuffer().then((bytes) => {
      if (isFirst()) entry.frame = bytes;
    }, (error: unknown) => {
      if (!isFirst()) return;
      entry.reject(error);
      this.#queue?.shift();
    }).then(() => {
      this.#isReadingBlob = false;
      if (!this.#drained) this.#flush();
    });
  }
}

/**
 * Settles the promises of messages that were passed to the socket. They count as sent
 * even if the socket is lost: for a sender on any connection, they must not be sent
 * again.
 */
function ignoreLossIfTransferable(
  promise: Promise<void>,
  isTransferable: boolean,
): Promise<void> {
  return isTransferable && promise !== RESOLVED
    ? promise.catch(() => {})
    : promise;
}
