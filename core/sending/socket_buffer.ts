/**
 * Estimates how much of what was sent is still buffered in a socket. Asking the socket for
 * each message would cost more than sending it, so it is asked only when it may be full.
 *
 * @module
 */

import type { SocketSink } from "../runtime/websocket.ts";
import { MESSAGE_COST } from "./buffer_budget.ts";
import type { WriterLimits } from "./flow_options.ts";

/** The number and the size of messages. */
export interface TrafficCount {
  /** The number of messages since the connection was opened. */
  readonly messages: number;
  /** Their size in bytes. A text counts as its `length` in UTF-16 code units. */
  readonly bytes: number;
}

/** A socket that holds less than this sends the next message at once. */
const CLEAR_BYTES = 64 * 1024;

/** What a socket holds, and what it was given in all. */
export class SocketBuffer {
  readonly #socket: SocketSink;
  readonly #limits: WriterLimits;
  /** The maximum number of bytes that the socket may hold. */
  #maxBytes = 0;
  /** The estimated size of the messages in the socket, and their number. */
  #bytes = 0;
  #count = 0;
  /** How many of the last messages were empty. */
  #emptyCount = 0;
  #sentCount = 0;
  #sentBytes = 0;

  /** Creates the estimate of a socket that holds nothing. */
  constructor(socket: SocketSink, limits: WriterLimits) {
    this.#socket = socket;
    this.#limits = limits;
  }

  /** The number of messages sent, and their bytes. */
  get sent(): TrafficCount {
    return { messages: this.#sentCount, bytes: this.#sentBytes };
  }

  /** The bytes in the socket when it was last asked, and those sent since. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether what the socket holds leaves soon. */
  get isClear(): boolean {
    return this.#maxBytes < CLEAR_BYTES || this.measure() < CLEAR_BYTES;
  }

  /** Whether the last message was empty. Nothing shows when such a message has left. */
  get endsEmpty(): boolean {
    return this.#emptyCount > 0;
  }

  /** Whether the socket holds half of the high-water mark, or less. */
  get isLow(): boolean {
    const { highWaterMark, highWaterCount } = this.#limits;
    return this.#bytes <= highWaterMark / 2 &&
      this.#count <= highWaterCount / 2;
  }

  /**
   * Counts a message that was handed to the socket.
   *
   * @returns Whether the socket holds the high-water mark, or more.
   */
  add(size: number, isText: boolean): boolean {
    this.#maxBytes += isText ? size * 3 : size; // as UTF-8
    this.#bytes += size;
    this.#sentBytes += size;
    this.#count++;
    this.#sentCount++;
    if (size === 0) this.#emptyCount++;
    else this.#emptyCount = 0;
    if (!this.#mayBeFull()) return false;
    this.measure();
    return this.#mayBeFull();
  }

  /** Does not count the last frame as sent, as it is no message. */
  uncount(size: number): void {
    this.#sentCount--;
    this.#sentBytes -= size;
  }

  /** Asks the socket how many bytes it holds, and estimates the number of messages. */
  measure(): number {
    const buffered = this.#socket.bufferedAmount;
    this.#count = buffered === 0 ? this.#emptyCount : Math.ceil(
      this.#count * Math.min(1, buffered / Math.max(1, this.#bytes)),
    );
    this.#maxBytes = this.#bytes = buffered;
    return buffered;
  }

  /** Assumes that the socket holds no messages, not even empty ones. */
  clear(): void {
    this.#count = this.#emptyCount = 0;
  }

  /**
   * Estimates the memory that the messages in the socket take, in bytes.
   *
   * @param frames How many frames the messages were sent in.
   */
  measureMemory(frames: number = this.#sentCount): number {
    const bytes = this.measure();
    const framesPerMessage = Math.min(1, frames / Math.max(1, this.#sentCount));
    return bytes + this.#count * framesPerMessage * MESSAGE_COST;
  }

  #mayBeFull(): boolean {
    return this.#maxBytes >= this.#limits.highWaterMark ||
      this.#count >= this.#limits.highWaterCount;
  }
}
