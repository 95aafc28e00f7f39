/**
 * Hands messages to a socket no faster than its peer takes them. The runtime
 * would take whatever it is given, without a bound, and has no event that tells
 * that it has sent it.
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

/** What the writers of one socket go by. */
export interface WriterLimits extends Required<FlowOptions> {
  /**
   * After how many milliseconds a peer that takes nothing of what waits for it is
   * given up; 0 for never.
   */
  readonly stallTimeout: number;
  /** How many messages make a socket full, however small they are. */
  readonly highWaterCount: number;
  /** How many messages may wait here. */
  readonly maxCount: number;
  /** Looks after the writers that are full, and wait. */
  readonly fastPoll: PollTimer;
  /** Looks after those that are not, but may stall unnoticed. */
  readonly slowPoll: PollTimer;
}

/** What went one way. */
export interface TrafficCount {
  /** How many messages. */
  readonly messages: number;
  /** How many bytes they had; the length of a text. */
  readonly bytes: number;
}

/** What a writer tells its connection. */
export type WriterSignal =
  /** All that has waited here is sent, and there is room again. */
  | "drained"
  /** A message does not fit that may not be dropped. */
  | "overflow"
  /** The peer has taken nothing for too long. */
  | "stalled"
  /** The socket closes by itself, while something waits. */
  | "stuck";

/**
 * Fills in the defaults of a socket's options. All its connections share them.
 *
 * @param options What the program says.
 * @param stallTimeout When to give a peer up that takes nothing.
 * @returns What a writer goes by.
 * @throws {RangeError} If a number is negative or none, or the policy unknown.
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
 * How many messages may wait where so many bytes may: each costs 640 bytes here, and
 * 1,024 in the runtime, and nothing of that is in `bufferedAmount`.
 */
function maxCountFor(bytes: number): number {
  return Math.max(1024, Math.floor(bytes / 256));
}

/** How soon a writer that is full looks again, in milliseconds. */
const FAST_POLL_MIN_MS = 1;

/** How late it looks at most, if nothing moves. */
const FAST_POLL_MAX_MS = 32;

/** How late a writer that is not full looks whether something moves at all. */
const SLOW_POLL_MAX_MS = 5_000;

/**
 * A peer that takes so many bytes a second is slow, but not stalled: of one
 * message's way nothing is seen until it has gone out as a whole.
 */
const MIN_BYTES_PER_SECOND = 16 * 1024;

/**
 * Of empty messages nobody can tell whether they have left: so long it takes until
 * as many as make a socket full are taken to have.
 */
const EMPTY_MESSAGES_MS = 250;

/** The way of one connection's messages to its socket. */
export class SocketWriter {
  readonly #socket: SocketSink;
  readonly #limits: WriterLimits;
  readonly #onSignal: (signal: WriterSignal) => void;
  /** No more bytes than this wait in the socket. */
  #maxBuffered = 0;
  /** About how many messages wait in the socket, and how many bytes they have. */
  #bufferedCount = 0;
  #bufferedBytes = 0;
  /** How many messages were handed to the socket, and how many bytes they had. */
  #sentCount = 0;
  #sentBytes = 0;
  /** How many of the last messages were empty. */
  #emptyCount = 0;
  /** What goes out before all that waits here. */
  #creditFrame: string | undefined;
  /** How many bytes were handed to the socket since one that is carried. */
  #bytesSinceTransferable = Infinity;
  /** What waits here, in order, once something has waited. */
  #queue: SendQueue | undefined;
  /** Settles when the socket holds half of the mark; there if it was reached. */
  #drained: Deferred<void> | undefined;
  /** Somebody was made to wait, and is to hear when there is room again. */
  #isDrainAwaited = false;
  #isReadingBlob = false;
  #isPolledSlowly = false;
  /** The peer has sent something since anything moved. */
  #isPeerActive = false;
  /** How much waited in the socket at the last look. */
  #lastBuffered = 0;
  #pollDelay = FAST_POLL_MIN_MS;
  /** How long nothing has moved, in milliseconds. */
  #stalledMs = 0;
  /** How long nothing may move. */
  #maxStallMs = Infinity;
  #onEmpty: (() => void) | undefined;
  /** Nothing is sent any more. */
  #isStopped = false;

  /**
   * Creates a writer.
   *
   * @param socket The socket.
   * @param limits What to go by.
   * @param onSignal What to tell of what happens.
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

  /** How many bytes wait here for there to be room in the socket. */
  get size(): number {
    return this.#queue?.size ?? 0;
  }

  /**
   * About how many bytes of memory it takes what waits here, and what waits in the
   * socket. To know that, the socket is asked.
   *
   * @param frames How many frames the socket was given.
   */
  measureMemory(frames: number = this.#sentCount): number {
    const level = this.#measureBuffered();
    const perMessage = Math.min(1, frames / Math.max(1, this.#sentCount));
    const inSocket = level + this.#bufferedCount * perMessage * MESSAGE_COST;
    return inSocket + (this.#queue?.memory ?? 0);
  }

  /** What was handed to the socket. */
  get sent(): TrafficCount {
    return { messages: this.#sentCount, bytes: this.#sentBytes };
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#queue?.dropped ?? 0;
  }

  /** Hears that the peer has sent something, and so is alive. */
  noteActivity(): void {
    this.#isPeerActive = true;
  }

  /** Whether the peer has sent something since it took something. */
  get isPeerActive(): boolean {
    return this.#isPeerActive;
  }

  /**
   * Sends, or keeps for later.
   *
   * @param frame What to send; the socket must be open.
   * @param options What to do if it does not fit.
   * @param isTransferable Whether it may go out by another connection if this one is
   * lost before. If it is lost after, the promise resolves: it has been sent.
   * @returns A promise that resolves when it has been handed to the socket and
   * the peer keeps up. It is quiet if it rejects.
   * @throws {RangeError} If the policy is none.
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

  /**
   * Sends what has waited elsewhere, or goes on to keep it.
   *
   * @param entry What to send; the socket must be open.
   */
  adopt(entry: QueuedMessage): void {
    this.#queue ??= new SendQueue(this.#limits);
    this.#queue.adopt(entry);
    this.#isDrainAwaited ||= this.#drained !== undefined;
    if (!this.#drained) this.#flush();
  }

  /**
   * Drops what waits here with the key of a message that is newer, if only the latest
   * counts.
   *
   * @param options Those of the newer message.
   */
  dropSuperseded(options: SendOptions | undefined): void {
    this.#queue?.dropSuperseded(options);
  }

  /**
   * Sends what the peer waits for: as soon as there is room, before all that waits
   * here, whatever bound there is for that. Only the latest counts.
   *
   * @param text What to send; the socket must be open.
   */
  sendCredit(text: string): void {
    this.#creditFrame = text;
    if (!this.#drained) this.#flushCredit();
  }

  /**
   * Calls back when nothing waits here any more, at once if nothing does.
   *
   * @param action What to call. It is not called after {@linkcode SocketWriter.stop}.
   */
  whenEmpty(action: () => void): void {
    if (this.#hasQueued) this.#onEmpty = action;
    else action();
  }

  /**
   * Stops for good, and lets go of all that waits.
   *
   * @param makeError Makes what promises that wait reject with, if there are any.
   * @param isDelivered Whether what the socket had has reached the peer.
   * @returns What may go out by another connection, in order; its promises wait.
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

  /** Looks how much waits in the socket. */
  poll(): number {
    if (this.#socket.readyState !== 1) {
      // Of one that is closing nobody can tell how much it holds.
      this.#onSignal("stuck");
      return 0;
    }
    return this.#drained ? this.#pollFast() : this.#pollSlowly();
  }

  /** Whether something waits here. */
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
    // To ask the socket each time would cost more than all the rest here.
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

  /** Asks the socket how much it holds, from which follows about how many. */
  #measureBuffered(): number {
    const buffered = this.#socket.bufferedAmount;
    this.#bufferedCount = buffered === 0 ? this.#emptyCount : Math.ceil(
      this.#bufferedCount *
        Math.min(1, buffered / Math.max(1, this.#bufferedBytes)),
    );
    this.#maxBuffered = this.#bufferedBytes = buffered;
    return buffered;
  }

  /** From now on messages wait here. */
  #startBackpressure(buffered: number): Promise<void> {
    this.#drained = withResolvers();
    ignoreRejection(this.#drained.promise);
    this.#noteProgress(buffered);
    this.#isPolledSlowly = false;
    this.#limits.slowPoll.remove(this);
    this.#limits.fastPoll.add(this, FAST_POLL_MIN_MS);
    return this.#drained.promise;
  }

  /** Something has moved, or is taken to have. */
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
   * All that made the socket full may have left before the poll timer polls: who sends one
   * large message after the other would wait for it each time.
   */
  #checkDrained(): void {
    const isFull = this.#drained !== undefined && this.#emptyCount === 0;
    if (isFull && this.#socket.bufferedAmount === 0) this.#endBackpressure(0);
  }

  /** There is room again. */
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

  /** How long a writer that is not full goes without a look. */
  get #slowPollInterval(): number {
    return Math.min(this.#limits.stallTimeout / 4, SLOW_POLL_MAX_MS);
  }

  /**
   * A peer that takes nothing may go unnoticed while there is room for what it
   * is sent. So what does not seem to move gets nothing more until it does.
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
    // What is carried is not in the way of what can go out here only.
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
      // What is carried would only fill the next connection, too.
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
    this.#sentCount--; // it is no message
    this.#sentBytes -= text.length;
  }

  /** Hands to the socket what has waited longest, while there is room. */
  #flush(): void {
    this.#flushCredit();
    const queue = this.#queue;
    for (
      let entry = queue?.first;
      entry && !this.#drained;
      entry = queue?.first
    ) {
      // It would take it, and tell nobody that it did not send it.
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

  /** Fetches the bytes of a `Blob`; all else waits behind it. */
  #readBlob(entry: QueuedMessage, blob: Blob): void {
    if (this.#isReadingBlob) return;
    this.#isReadingBlob = true;
    // Meanwhile it may have gone elsewhere, where it has another beginning.
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
 * What has been handed to a socket has been sent, whatever becomes of the socket.
 * Who sends by one connection wants to know; who sends by any must not take it
 * for one that can be sent again.
 */
function ignoreLossIfTransferable(
  promise: Promise<void>,
  isTransferable: boolean,
): Promise<void> {
  return isTransferable && promise !== RESOLVED
    ? promise.catch(() => {})
    : promise;
}
