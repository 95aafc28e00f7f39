/**
 * Protects a server from its peers: limits the rate of messages, and divides the work of
 * one turn of the event loop into slices. A client trusts its server and has
 * no guard.
 *
 * @module
 */

import type { Payload } from "../protocol/frames.ts";
import { isTurnOver, startOfTurn } from "../runtime/time_slices.ts";
import { INITIAL_CREDIT } from "../sending/credit_window.ts";
import type { Closing } from "./closing.ts";
import {
  DEFAULT_MESSAGE_RATE,
  type MessageRate,
  TokenBucket,
} from "./rate_limiter.ts";
import { type FrameReceiver, SlicedReceiver } from "./sliced_receiver.ts";

/** How many frames that need no credit a peer may send in addition to its credit. */
const UNCREDITED_FRAMES_ALLOWED = 256;

/** After how many frames the clock is read. */
const FRAMES_PER_CLOCK_CHECK = 16;

/** The minimum size of a frame after which the clock is read, in bytes. */
const BYTES_PER_CLOCK_CHECK = 16 * 1024;

/** The guard of one connection. */
export class InboundGuard {
  readonly #messageRate: Required<MessageRate> | undefined;
  readonly #closing: Closing;
  readonly #receiver: FrameReceiver;
  #rateBucket: TokenBucket | undefined;
  /** Limits the messages that are dropped. */
  #floodBucket: TokenBucket | undefined;
  #dropped = 0;
  /** The start of the turn of the event loop in which the clock was last read. */
  #checkedTurn = 0;
  /** Created when the work is first too much for one slice. */
  #slices: SlicedReceiver | undefined;
  /** The number of frames since the clock was last read. */
  #frames = 0;

  /** Creates the guard of a connection. */
  constructor(
    messageRate: Required<MessageRate> | undefined,
    closing: Closing,
    receiver: FrameReceiver,
  ) {
    this.#messageRate = messageRate;
    this.#closing = closing;
    this.#receiver = receiver;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Whether frames wait for the next slice. */
  get isBusy(): boolean {
    return this.#slices?.isBusy === true;
  }

  /** Whether a frame that has waited, or an item of a batch, is being dispatched. */
  get isDispatching(): boolean {
    return this.#slices?.isDispatching === true;
  }

  /** The memory that waiting frames take, in bytes. */
  get memory(): number {
    return this.#slices?.size ?? 0;
  }

  /** Whether a message is within the rate. If not, it is dropped, or the peer closed. */
  isWithinRate(): boolean {
    if (this.#messageRate === undefined) return true;
    const { perSecond, burst, policy } = this.#messageRate;
    this.#rateBucket ??= createBucket(perSecond, burst);
    if (this.#rateBucket.takeSpare()) return true;
    if (this.#rateBucket.take(startOfTurn(), this.#stalledMs)) return true;
    if (policy === "drop") this.#dropped++;
    if (policy === "close" || this.#isFlood()) {
      this.#closing.closeForLimit(
        `At most ${perSecond} messages a second may be sent`,
      );
    }
    return false;
  }

  /**
   * Whether a frame has to wait, because others of this peer do, or because this turn of
   * the event loop has lasted for longer than a slice and this peer has sent many in it.
   * The runtime reads all frames that have arrived in one turn. A peer that sends few does
   * not wait for those of others.
   *
   * @param size The size of the frame, in bytes.
   */
  mustWait(size: number): boolean {
    const mustCheck = size >= BYTES_PER_CLOCK_CHECK ||
      ++this.#frames >= FRAMES_PER_CLOCK_CHECK;
    return mustCheck && this.#isTurnOver() || this.isBusy;
  }

  /**
   * Lets a frame wait for the next slice.
   *
   * @param items The items of the frame, if it is a batch.
   * @returns False if the peer had no credit for it, or too many frames wait.
   */
  postpone(payload: Payload, items: readonly Payload[] | undefined): boolean {
    return this.#slicedReceiver.push(payload, items);
  }

  /** Dispatches the items of a batch, in slices. */
  receiveItems(items: readonly Payload[]): void {
    this.#slicedReceiver.receiveItems(items);
  }

  /** Drops all frames that wait. */
  drop(): void {
    this.#slices?.drop();
  }

  /**
   * How long the next credit has to wait, in milliseconds, so that the peer stays within
   * the limit of the rate: it is slowed down instead of being closed.
   */
  creditDelay(): number {
    const { burst = 0 } = this.#messageRate ?? {};
    const needed = INITIAL_CREDIT + UNCREDITED_FRAMES_ALLOWED;
    if (this.#rateBucket === undefined || burst < needed) return 0;
    return this.#rateBucket.delayFor(needed, performance.now());
  }

  get #slicedReceiver(): SlicedReceiver {
    return this.#slices ??= new SlicedReceiver(this.#receiver);
  }

  /** Whether even dropping all messages would take too much time. */
  #isFlood(): boolean {
    const { perSecond, burst } = DEFAULT_MESSAGE_RATE;
    this.#floodBucket ??= createBucket(perSecond, burst);
    return !this.#floodBucket.take(startOfTurn(), this.#stalledMs);
  }

  /** Whether this turn of the event loop, which is not new for this peer, is too long. */
  #isTurnOver(): boolean {
    const turn = startOfTurn();
    this.#frames = 0;
    if (turn === this.#checkedTurn) return isTurnOver();
    this.#checkedTurn = turn;
    return false;
  }

  /** For how long the event loop has stood still so far, in milliseconds, if it is known. */
  get #stalledMs(): number {
    const { idleWatch } = this.#closing;
    return idleWatch && "stalledMs" in idleWatch ? idleWatch.stalledMs : 0;
  }
}

/**
 * The runtime reads all frames that have arrived in one turn of the event loop, so time that
 * passes in a turn must not allow more.
 */
function createBucket(perSecond: number, burst: number): TokenBucket {
  return new TokenBucket(perSecond, burst, startOfTurn());
}

/**
 * Returns what guards each connection of a server.
 *
 * @param messageRate The maximum rate of messages; undefined for no limit.
 */
export function guardWith(
  messageRate: Required<MessageRate> | undefined,
): (closing: Closing, receiver: FrameReceiver) => InboundGuard {
  return (closing, receiver) =>
    new InboundGuard(messageRate, closing, receiver);
}
