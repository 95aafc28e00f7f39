/**
 * The state of `events.v1` on one connection: requests and replies, pings, credit and
 * batches. It reads and writes frames, and is independent of sockets and messages.
 *
 * @module
 */

import { withResolvers } from "../util/deferred.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import { type Frame, isLargerThan } from "../values/codec.ts";
import { assertSize, ignoreRejection, RequestError } from "../events/errors.ts";
import { decodeFrame } from "../protocol/frame_decoder.ts";
import {
  encodeAddressed,
  encodeCredit,
  encodeFailure,
  encodePing,
  encodeTrace,
  isCounted,
  isMarked,
  isPart,
  type MarkedFrame,
  type Payload,
  type PositionUpdate,
  type RequestFailure,
} from "../protocol/frames.ts";
import { PartJoiner } from "../protocol/parts.ts";
import { INITIAL_CREDIT } from "../sending/credit_window.ts";
import { type PendingReply, PendingRequests } from "./pending_requests.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** Options of {@linkcode Connection.request}. */
export interface RequestOptions {
  /** A signal that cancels the request; the promise rejects with its reason. */
  readonly signal?: AbortSignal;
  /**
   * The time to wait for the reply, in milliseconds; `Infinity` to wait until the
   * connection ends.
   *
   * @default {10_000}
   */
  readonly timeout?: number;
}

/** The parts of a connection that a session uses. */
export interface SessionTransport {
  /** The name of the peer, for error messages. */
  readonly name: string;
  /** Sends a frame that does not wait for credit. */
  send(frame: Frame, options?: SendOptions): Promise<void> | undefined;
  /**
   * Sends a credit frame. It is never dropped, and replaces one that waits to be sent.
   */
  sendCredit(text: string): void;
  /** Sends a frame that waits for credit: a request or its trace. */
  sendCounted(frame: Frame, options?: SendOptions): Promise<void> | undefined;
  /** Whether both sides split large frames. */
  readonly hasParts: boolean;
  /** The maximum size of a frame that is received in parts, in bytes. */
  readonly maxFrame: number;
  /** Called if a frame in parts exceeds that size. */
  frameTooBig(): void;
  /** Processes the items of a batch, each by {@linkcode EventsSession.receiveItem}. */
  unpackBatch(items: readonly Payload[]): void;
  /**
   * Delivers a message or a request.
   *
   * @param frame The frame or the item of a batch that contains it.
   * @param trace The trace context of the request, if the sender provides one.
   */
  deliver(payload: Payload, frame: Payload, id?: number, trace?: string): void;
  /**
   * Takes the key of the next message. Returns false if the last key was not followed by a
   * message.
   */
  keyReceived(key: string): boolean;
  /** Counts a frame that needs credit and is not delivered. */
  skipMessage(frame: Payload): void;
  /** Passes on a frame that may be ignored, such as one of a channel. */
  receiveOther(payload: Payload): void;
  /** Counts a received frame, and returns whether it is within the rate limits. */
  isWithinLimits(payload: Payload): boolean;
  /** Raises the credit of this side to a new total. */
  raiseLimit(limit: number): void;
  /** Returns the delay before the next credit may be sent, in milliseconds. */
  creditDelay(): number;
  /**
   * Updates the position in the stream of stored messages.
   *
   * @param update The new position, or the offset of the stored message that follows.
   * @returns False on a server, which must not receive it.
   */
  updatePosition(update: PositionUpdate | number): boolean;
  /** Called if the peer violates `events.v1`. */
  protocolError(reason: string): void;
}

/** Encodes a request with its id. */
export type RequestEncoder = (id: number, frame: Frame) => Frame;

function encodeRequest(id: number, frame: Frame): Frame {
  return encodeAddressed("request", id, frame);
}

/** The credit that means no limit. */
const UNLIMITED_CREDIT = Number.MAX_SAFE_INTEGER;

/** One side of `events.v1` on one connection. */
export class EventsSession {
  readonly #transport: SessionTransport;
  readonly #requests = new PendingRequests<Payload>();
  #timer: Timer | undefined;
  /** When the timer fires. */
  #deadline = Infinity;
  #lateReplies = 0;
  #pongs = 0;
  #joiner: PartJoiner | undefined;
  /** When a pong was last sent while parts were received. */
  #lastPartsPongAt = 0;
  /** The trace context for the next request. */
  #trace: Extract<MarkedFrame, { kind: "trace" }> | undefined;
  /** The total cost of received messages. */
  #receivedCost = 0;
  /** The total credit that was granted to the peer. */
  #grantedCredit: number = INITIAL_CREDIT;
  readonly #isBounded: boolean;
  /** The total cost of handled messages. */
  #handledCost = 0;
  /** Whether the next credit is delayed to enforce the rate limit. */
  #isPaced = false;
  #creditTimer: Timer | undefined;

  /**
   * Creates a session.
   *
   * @param isBounded Whether to grant credit only as messages are delivered, as to an
   * untrusted peer. Otherwise the peer gets unlimited credit after its first messages,
   * unless messages are handled sequentially.
   */
  constructor(transport: SessionTransport, isBounded: boolean) {
    this.#transport = transport;
    this.#isBounded = isBounded;
  }

  /** The number of replies that came after their request was settled. */
  get lateReplies(): number {
    return this.#lateReplies;
  }

  /** The number of pings of this side that were answered. */
  get pongs(): number {
    return this.#pongs;
  }

  /** The size of an incomplete frame that is received in parts. */
  get partsSize(): number {
    return this.#joiner?.size ?? 0;
  }

  /** Processes a marked frame. */
  receive(payload: Payload): void {
    const frame = decodeFrame(payload);
    if (frame?.kind !== "batch") return this.#handle(frame, payload);
    this.#transport.unpackBatch(frame.items);
  }

  /** Processes an item of a batch. */
  receiveItem(item: Payload): void {
    if (!isMarked(item)) return this.#transport.deliver(item, item);
    const inner = decodeFrame(item);
    this.#handle(inner?.kind === "batch" ? undefined : inner, item);
  }

  /** Returns the items of a batch; undefined for any other or a malformed frame. */
  batchItemsOf(payload: Payload): readonly Payload[] | undefined {
    const frame = isMarked(payload) ? decodeFrame(payload) : undefined;
    return frame?.kind === "batch" ? frame.items : undefined;
  }

  /**
   * Processes a frame while this side waits for the closing handshake. Messages are
   * dropped, but still return credit, as the peer may need it to send its own close
   * frame.
   */
  receiveWhileClosing(payload: Payload): void {
    if (isPart(payload)) {
      const whole = this.join(payload);
      if (whole === undefined) return;
      payload = whole;
    }
    const first = isMarked(payload) ? decodeFrame(payload) : undefined;
    const items = first?.kind === "batch" ? first.items : [payload];
    for (const item of items) {
      const frame = isMarked(item) ? decodeFrame(item) : undefined;
      if (frame?.kind === "credit") this.#transport.raiseLimit(frame.limit);
      if (isCounted(item)) this.#transport.skipMessage(item);
    }
  }

  /** Counts a received message, and grants unlimited credit to a trusted peer. */
  countReceived(cost: number): void {
    if (this.#grantedCredit === UNLIMITED_CREDIT) return;
    this.#receivedCost += cost;
    if (this.#isBounded) this.grantForHandled(this.#receivedCost);
    else if (this.#receivedCost >= INITIAL_CREDIT / 2) {
      this.#grantCredit(UNLIMITED_CREDIT);
    }
  }

  /**
   * Grants more credit as messages are handled.
   *
   * @param handled The total cost of handled messages.
   */
  grantForHandled(handled: number): void {
    this.#handledCost = handled;
    const limit = handled + INITIAL_CREDIT;
    if (limit - this.#grantedCredit < INITIAL_CREDIT / 2 || this.#isPaced) {
      return;
    }
    const delay = this.#transport.creditDelay();
    if (delay === 0) return this.#grantCredit(limit);
    this.#isPaced = true;
    this.#creditTimer = startTimer(() => {
      this.#isPaced = false;
      this.grantForHandled(this.#handledCost);
    }, Math.ceil(delay));
  }

  /** Sends a ping. */
  ping(): void {
    this.#transport.send(encodePing("ping", PING_TEXT), {
      overflow: "drop-newest",
    });
  }

  /**
   * Sends a request.
   *
   * @param trace The trace context, if there is one.
   * @param encode Encodes the frame of the request, unless it is an ordinary one.
   * @returns A promise of the payload of the reply. Its rejection is never unhandled.
   * @throws {RangeError} If the timeout is negative or `NaN`.
   */
  request(
    frame: Frame,
    options: RequestOptions,
    trace?: string,
    encode: RequestEncoder = encodeRequest,
  ): Promise<Payload> {
    const { promise, resolve, reject } = withResolvers<Payload>();
    const { signal, timeout = REQUEST_TIMEOUT_MS } = options;
    assertSize("timeout", timeout); // NaN would expire all requests
    ignoreRejection(promise);
    if (signal?.aborted) {
      reject(signal.reason);
      return promise;
    }
    const now = performance.now();
    const reply = signal
      ? abortableReply(
        signal,
        { resolve, reject },
        () => this.#abandon(id, signal),
      )
      : { resolve, reject };
    const id = this.#requests.add(reply, timeout, now);
    if (id === undefined) {
      reply.reject(
        new RangeError(
          `Cannot send another request to ${this.#transport.name} as this connection has used all request ids: open a new one`,
        ),
      );
      return promise;
    }
    this.#scheduleTimeout(now + timeout, now);
    if (trace) {
      this.#transport.sendCounted(encodeTrace(id, trace), {
        overflow: "drop-newest",
      });
    }
    const sent = this.#transport.sendCounted(encode(id, frame));
    // A request that is not sent gets no reply.
    sent?.catch((error) => {
      this.#requests.settle(id, (reply) => reply.reject(error));
    });
    return promise;
  }

  /** Sends a reply. */
  reply(id: number, frame: Frame): Promise<void> | undefined {
    return this.#transport.send(encodeAddressed("reply", id, frame));
  }

  /** Sends an error reply. */
  refuse(id: number, failure: RequestFailure): void {
    this.#transport.send(encodeFailure(id, failure));
  }

  /** Takes the trace context that came before the request with this id, if one did. */
  takeTrace(id: number): string | undefined {
    const trace = this.#trace?.id === id ? this.#trace.text : undefined;
    this.#trace = undefined;
    return trace;
  }

  /** Ends the session, and rejects pending requests with the error. */
  stop(makeError: () => Error): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#creditTimer);
    this.#deadline = -Infinity;
    this.#joiner = undefined;
    if (this.#requests.size > 0) this.#requests.rejectAll(makeError());
  }

  /**
   * Adds a part of a frame.
   *
   * @returns The complete frame if this was its last part.
   */
  join(frame: Payload): Payload | undefined {
    const transport = this.#transport;
    const part = decodeFrame(frame);
    const { payload, isLast } = part?.kind === "part" ? part : MALFORMED_PART;
    const isFirst = !this.#joiner;
    const joiner = this.#joiner ??= new PartJoiner();
    if (!transport.hasParts || payload === "" || !joiner.add(payload)) {
      transport.protocolError(MALFORMED_REASON);
      return undefined;
    }
    if (joiner.size > transport.maxFrame) {
      this.#joiner = undefined;
      transport.frameTooBig();
      return undefined;
    }
    if (isLast) {
      this.#joiner = undefined;
      const whole = joiner.take();
      if (!isLargerThan(whole, transport.maxFrame)) return whole;
      transport.frameTooBig();
      return undefined;
    }
    // A pong cannot be received in the middle of a frame, so tell the peer that parts
    // arrive.
    const now = performance.now();
    if (isFirst) this.#lastPartsPongAt = now;
    else if (now - this.#lastPartsPongAt >= PARTS_PONG_INTERVAL_MS) {
      this.#lastPartsPongAt = now;
      transport.send(encodePing("pong", PARTS_PONG_TEXT), {
        overflow: "drop-newest",
      });
    }
    return undefined;
  }

  #handle(frame: MarkedFrame | undefined, payload: Payload): void {
    const transport = this.#transport;
    switch (frame?.kind) {
      case "message":
        return transport.deliver(frame.payload, payload);
      case "request": {
        const { id } = frame;
        return transport.deliver(
          frame.payload,
          payload,
          id,
          this.takeTrace(id),
        );
      }
      case "trace":
        // A trace that replaces an unused one is not paid for by a request.
        if (this.#trace) transport.isWithinLimits(payload);
        this.#trace = frame;
        return;
      case "key":
        // A key that replaces an unused one is not paid for by a message.
        if (!transport.keyReceived(frame.key)) {
          transport.isWithinLimits(payload);
        }
        return;
      case "stored":
        if (!transport.updatePosition(frame.offset)) break;
        return transport.deliver(frame.payload, payload);
      case "position":
        if (!transport.updatePosition(frame.update)) break;
        return transport.skipMessage(payload);
      case "reply":
        return this.#settleRequest(
          frame.id,
          payload,
          (reply) => reply.resolve(frame.payload),
        );
      case "failure": {
        const { message, code } = frame.failure;
        return this.#settleRequest(
          frame.id,
          payload,
          (reply) => reply.reject(new RequestError(message, code)),
        );
      }
      case "ping":
        if (!transport.isWithinLimits(payload)) return;
        transport.send(encodePing("pong", frame.text), {
          overflow: "drop-newest",
        });
        return;
      case "credit":
        if (transport.isWithinLimits(payload)) {
          transport.raiseLimit(frame.limit);
        }
        return;
      case "pong":
        if (frame.text === PING_TEXT) this.#pongs++;
        transport.isWithinLimits(payload);
        return;
      case "unknown":
        return transport.receiveOther(payload);
    }
    transport.protocolError(MALFORMED_REASON);
  }

  #settleRequest(
    id: number,
    payload: Payload,
    settle: (reply: PendingReply<Payload>) => void,
  ): void {
    const outcome = this.#requests.settle(id, settle);
    if (outcome === "awaited") return;
    if (outcome === "unasked") {
      return this.#transport.protocolError("A reply matches no request");
    }
    this.#lateReplies++;
    this.#transport.isWithinLimits(payload);
  }

  #abandon(id: number | undefined, { reason }: AbortSignal): void {
    if (id === undefined) return;
    this.#requests.settle(id, (reply) => reply.reject(reason));
  }

  #grantCredit(limit: number): void {
    this.#grantedCredit = limit;
    this.#transport.sendCredit(encodeCredit(limit));
  }

  /** Makes the timer of all requests fire in time. */
  #scheduleTimeout(deadline: number, now: number): void {
    if (deadline >= this.#deadline) return;
    clearTimeout(this.#timer);
    this.#deadline = deadline;
    this.#timer = startTimer(() => {
      // If the timer fires early, the clock lags behind: the deadline has passed.
      const now = Math.max(performance.now(), this.#deadline);
      this.#deadline = Infinity;
      this.#requests.expire(now, (timeout) =>
        new DOMException(
          `Cannot wait any longer for a reply from ${this.#transport.name}: ${timeout} ms have passed`,
          "TimeoutError",
        ));
      this.#scheduleTimeout(this.#requests.deadline, now);
    }, Math.ceil(deadline - now));
  }
}

/** The text of pings of this side and of their pongs. */
const PING_TEXT = "";

/** Replaces a malformed part, as no valid part is empty. */
const MALFORMED_PART = { payload: "", isLast: false };

/** The text of a pong that tells the peer that parts arrive. */
const PARTS_PONG_TEXT = "parts";

/** The interval of these pongs, in milliseconds. */
const PARTS_PONG_INTERVAL_MS = 1_000;

const MALFORMED_REASON = "A frame of events.v1 is malformed";

/** The default timeout of a request, in milliseconds. */
export const REQUEST_TIMEOUT_MS = 10_000;

/** Listens to a signal until the request is settled. */
function abortableReply(
  signal: AbortSignal,
  { resolve, reject }: PendingReply<Payload>,
  abort: () => void,
): PendingReply<Payload> {
  const done = () => signal.removeEventListener("abort", abort);
  signal.addEventListener("abort", abort);
  return {
    resolve: (answer) => {
      done();
      resolve(answer);
    },
    reject: (reason) => {
      done();
      reject(reason);
    },
  };
}
