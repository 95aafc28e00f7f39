/**
 * Hands messages to a socket no faster than the peer reads them. The runtime accepts any
 * amount, and has no event for a message that has left, so its buffer is polled.
 *
 * @module
 */

import { ignoreRejection, RESOLVED } from "../events/errors.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import type { SocketSink } from "../runtime/websocket.ts";
import { encodeKey, MAX_KEY_LENGTH, takesKey } from "../protocol/frames.ts";
import { type Frame, sizeOf } from "../values/codec.ts";
import {
  assertOverflow,
  endsConnection,
  policyOf,
} from "./backpressure_queue.ts";
import type { WriterLimits } from "./flow_options.ts";
import {
  type QueuedMessage,
  type SendOptions,
  SendQueue,
} from "./send_queue.ts";
import { SocketBuffer, type TrafficCount } from "./socket_buffer.ts";
import { FAST_POLL_MIN_MS, StallDetector } from "./stall_detector.ts";

/** The signals of a writer to its connection. */
export type WriterSignal =
  /** All queued messages were sent, and there is room again. */
  | "drained"
  /** A message does not fit, and may not be dropped. */
  | "overflow"
  /** The peer has read nothing for too long. */
  | "stalled"
  /** The runtime closes the socket by itself while messages wait. */
  | "runtime-closing";

/** How late a socket that is not full is polled at most, in milliseconds. */
const SLOW_POLL_MAX_MS = 5_000;

/** Writes the messages of one connection to its socket. */
export class PacedWriter {
  readonly #socket: SocketSink;
  readonly #limits: WriterLimits;
  readonly #onSignal: (signal: WriterSignal) => void;
  readonly #hasKeys: boolean;
  readonly #buffer: SocketBuffer;
  readonly #stall: StallDetector;
  /** A frame of credit, which is sent before all queued messages. */
  #creditFrame: string | undefined;
  /** The bytes that were handed to the socket after the last transferable message. */
  #bytesSinceTransferable = Infinity;
  /** The messages that wait, in order; created with the first one. */
  #queue: SendQueue | undefined;
  /** While the socket is full: resolved when it holds half of the high-water mark. */
  #drained: Deferred<void> | undefined;
  /** Whether a `send` had to wait, so that the connection gets a signal at the end. */
  #isDrainAwaited = false;
  #isReadingBlob = false;
  #isPolledSlowly = false;
  #onEmpty: (() => void) | undefined;
  #isStopped = false;

  /**
   * Creates the writer of an open socket.
   *
   * @param hasKeys Whether to send the keys of messages of which only the newest matters.
   */
  constructor(
    socket: SocketSink,
    limits: WriterLimits,
    onSignal: (signal: WriterSignal) => void,
    hasKeys = false,
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onSignal = onSignal;
    this.#hasKeys = hasKeys;
    this.#buffer = new SocketBuffer(socket, limits);
    this.#stall = new StallDetector(limits.stallTimeout);
  }

  /** The bytes of all messages that wait here. */
  get size(): number {
    return this.#queue?.size ?? 0;
  }

  /**
   * Estimates the memory of what waits here and in the socket, in bytes.
   *
   * @param frames How many frames the socket was given.
   */
  measureMemory(frames?: number): number {
    return this.#buffer.measureMemory(frames) + (this.#queue?.memory ?? 0);
  }

  /** The number of messages passed to the socket, and their bytes. */
  get sent(): TrafficCount {
    return this.#buffer.sent;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#queue?.dropped ?? 0;
  }

  /** Called when the peer has sent something, and so is alive. */
  noteActivity(): void {
    this.#stall.isPeerActive = true;
  }

  /** Whether the peer has sent something since it last read something. */
  get isPeerActive(): boolean {
    return this.#stall.isPeerActive;
  }

  /**
   * Sends a message, or queues it. The socket must be open.
   *
   * @param isTransferable Whether another connection may send it if this one is lost. If
   * this one is lost after the message was handed to the socket, the promise resolves.
   * @returns A promise that resolves when the message was handed to the socket and the
   * peer keeps up. Its rejection is not reported as unhandled.
   * @throws {RangeError} If the policy of the options is invalid.
   */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> {
    assertOverflow(options);
    this.#checkDrained();
    const mustWait = this.#hasQueued || this.#drained !== undefined;
    if (options?.volatile && (mustWait || !this.#buffer.isClear)) {
      return this.dropVolatile();
    }
    if (mustWait || frame instanceof Blob) {
      return this.#enqueue(frame, options, isTransferable);
    }
    if (this.#hasKeys && policyOf(options, this.#limits) === "latest") {
      this.#writeKey(options?.volatile ? undefined : options?.key ?? "", frame);
    }
    return ignoreLossIfTransferable(
      this.#write(frame, isTransferable),
      isTransferable,
    );
  }

  /** Sends a message that has waited elsewhere, or queues it. The socket must be open. */
  adopt(entry: QueuedMessage): void {
    this.#queue ??= new SendQueue(this.#limits);
    this.#queue.adopt(entry);
    this.#isDrainAwaited ||= this.#drained !== undefined;
    if (!this.#drained) this.#flush();
  }

  /** Drops a volatile message that cannot be sent at once. */
  dropVolatile(): Promise<void> {
    return (this.#queue ??= new SendQueue(this.#limits)).dropVolatile();
  }

  /** Drops a queued message that a newer message with these options replaces. */
  dropSuperseded(options: SendOptions | undefined): void {
    this.#queue?.dropSuperseded(options);
  }

  /**
   * Sends a frame of credit as soon as there is room, before all queued messages. It
   * replaces an earlier one that has not been sent. The socket must be open.
   */
  sendCredit(text: string): void {
    this.#creditFrame = text;
    if (!this.#drained) this.#flushCredit();
  }

  /** Calls back when no message waits here, but not after {@linkcode PacedWriter.stop}. */
  whenEmpty(action: () => void): void {
    if (this.#hasQueued) this.#onEmpty = action;
    else action();
  }

  /**
   * Stops for good.
   *
   * @param makeError Creates the error of messages that are not sent.
   * @param isDelivered Whether the peer has received what the socket was given.
   * @returns The messages that another connection may send, in order.
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

  /** Looks how much the socket holds. Returns when to look again; see `Pollable`. */
  poll(): number {
    if (this.#socket.readyState !== 1) {
      // A closing socket does not tell how much it holds.
      this.#onSignal("runtime-closing");
      return 0;
    }
    return this.#drained ? this.#pollFast() : this.#pollSlowly();
  }

  get #hasQueued(): boolean {
    return this.#queue !== undefined && !this.#queue.isEmpty;
  }

  #write(frame: Exclude<Frame, Blob>, isTransferable: boolean): Promise<void> {
    this.#socket.send(frame);
    if (!this.#isPolledSlowly) this.#startSlowPoll();
    const size = sizeOf(frame);
    this.#bytesSinceTransferable = isTransferable
      ? 0
      : this.#bytesSinceTransferable + size;
    if (!this.#buffer.add(size, typeof frame === "string")) return RESOLVED;
    this.#isDrainAwaited = true;
    return this.#startBackpressure(this.#buffer.bytes);
  }

  /** Sends the key of a message, right before it, so that the peer keeps the newest. */
  #writeKey(key: string | undefined, frame: Exclude<Frame, Blob>): void {
    if (key === undefined || key.length > MAX_KEY_LENGTH) return;
    if (!takesKey(frame)) return;
    this.#socket.send(encodeKey(key, frame));
  }

  /** From now on messages are queued. */
  #startBackpressure(buffered: number): Promise<void> {
    this.#drained = withResolvers();
    ignoreRejection(this.#drained.promise);
    this.#stall.noteProgress(buffered);
    this.#isPolledSlowly = false;
    this.#limits.slowPoll.remove(this);
    this.#limits.fastPoll.add(this, FAST_POLL_MIN_MS);
    return this.#drained.promise;
  }

  #pollFast(): number {
    const buffered = this.#buffer.measure();
    const stall = this.#stall;
    const isMoving = stall.check(buffered);
    const { isLow } = this.#buffer;
    const isEmpty = buffered === 0 &&
      (isLow || stall.hasWaitedForEmpty);
    if (isEmpty || (isMoving && isLow)) this.#endBackpressure(buffered);
    else if (stall.isStalled) this.#onSignal("stalled");
    return this.#drained && !this.#isStopped ? stall.delay : 0;
  }

  /**
   * Ends backpressure before the next poll, if everything has left. Otherwise a loop that
   * sends large messages would wait for a poll after each of them.
   */
  #checkDrained(): void {
    const isFull = this.#drained !== undefined && !this.#buffer.endsEmpty;
    if (isFull && this.#socket.bufferedAmount === 0) this.#endBackpressure(0);
  }

  #endBackpressure(buffered: number): void {
    if (buffered === 0) this.#buffer.clear();
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
    this.#stall.reset();
    slowPoll.add(this, this.#slowPollInterval);
  }

  get #slowPollInterval(): number {
    return Math.min(this.#limits.stallTimeout / 4, SLOW_POLL_MAX_MS);
  }

  /**
   * Detects a peer that reads nothing while its socket is not full. Such a peer gets
   * nothing more until something moves.
   */
  #pollSlowly(): number {
    const buffered = this.#buffer.measure();
    const isMoving = this.#stall.hasMoved(buffered);
    if (buffered === 0) {
      this.#isPolledSlowly = false;
      this.#buffer.clear();
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
    // Transferable messages leave room for those that only this connection can send.
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
      if (endsConnection(entry)) this.#onSignal("overflow");
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
    this.#buffer.uncount(text.length);
  }

  /** Hands queued messages to the socket while there is room. */
  #flush(): void {
    this.#flushCredit();
    const queue = this.#queue;
    for (
      let entry = queue?.first;
      entry && !this.#drained;
      entry = queue?.first
    ) {
      // A closing socket would accept the message, and silently discard it.
      if (this.#socket.readyState !== 1) return;
      if (entry.frame instanceof Blob) {
        return this.#readBlob(entry, entry.frame);
      }
      queue?.shift();
      const { isTransferable } = entry;
      if (this.#hasKeys && entry.overflow === "latest") {
        this.#writeKey(entry.key, entry.frame);
      }
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

  /** Reads the bytes of a `Blob`. All later messages wait behind it. */
  #readBlob(entry: QueuedMessage, blob: Blob): void {
    if (this.#isReadingBlob) return;
    this.#isReadingBlob = true;
    // It may have moved to another connection meanwhile, or have been dropped.
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
 * A message that was handed to the socket counts as sent, if any connection may send it:
 * otherwise its sender might send it again.
 */
function ignoreLossIfTransferable(
  promise: Promise<void>,
  isTransferable: boolean,
): Promise<void> {
  return isTransferable && promise !== RESOLVED
    ? promise.catch(() => {})
    : promise;
}
