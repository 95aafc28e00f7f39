/**
 * Options of flow control, and their defaults.
 *
 * @module
 */

import { assertSize } from "../events/errors.ts";
import { assertOverflow, type Overflow } from "./backpressure_queue.ts";
import { PollTimer } from "./poll_timer.ts";

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

/** The resolved options that all writers of one socket share. */
export interface WriterLimits extends Required<FlowOptions> {
  /** After how many milliseconds a peer that reads nothing is terminated; 0 for never. */
  readonly stallTimeout: number;
  /** The number of messages that make a socket full, however small they are. */
  readonly highWaterCount: number;
  /** The maximum number of queued messages. */
  readonly maxCount: number;
  /** Polls the sockets that are full. */
  readonly fastPoll: PollTimer;
  /** Polls the other sockets that hold something, in case the peer stalls. */
  readonly slowPoll: PollTimer;
}

/**
 * Fills in the defaults of the options.
 *
 * @param stallTimeout After how many milliseconds a peer that reads nothing is terminated.
 * @throws {RangeError} If a number is out of range, or the policy is invalid.
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
 * The maximum number of messages where so many bytes are allowed. Each message costs 640
 * bytes here and 1,024 in the runtime, which `bufferedAmount` does not count.
 */
function maxCountFor(bytes: number): number {
  return Math.max(1024, Math.floor(bytes / 256));
}
