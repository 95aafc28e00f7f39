/**
 * The state of `events.v1` on one connection: requests and replies, pings, credit and
 * batches. It reads and writes frames, and is independent of sockets and messages.
 *
 * @module
 */

import type { SendOptions } from "../sending/send_queue.ts";
import { type Frame, isLargerThan } from "../values/codec.ts";
import { assertSize, ignoreRejection, RequestError } from "../events/errors.ts";
import {
  decodeFrame,
  encodeAddressed,
  encodeCredit,
  encodeFailure,
  encodePing,
  encodeTrace,
  isCounted,
  isMarked,
  isPart,
  type MarkedFrame,
  PartJoiner,
  type Payload,
  type PositionUpdate,
  type RequestFailure,
} from "../protocol/frames.ts";
import { INITIAL_CREDIT } from "../sending/credit_window.ts";
import { type PendingReply, PendingRequests } from "./pending_requests.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** Options of `request`. */
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

/** What a session needs of its connection. */
export interface SessionTransport {
  /** The peer, for an error's text. */
  readonly name: string;
  /**
   * Sends what need not wait for credit.
   *
   * @param frame The frame.
   * @param options What to do if the peer does not keep up.
   */
  send(frame: Frame, options?: SendOptions): Promise<void> | undefined;
  /**
   * Sends what must not be dropped, and of which only the latest counts.
   *
   * @param text The frame.
   */
  sendCredit(text: string): void;
  /**
   * Sends a request, or what goes before it.
   *
   * @param frame The frame.
   * @param options What to do if the peer does not keep up.
   */
  sendCounted(frame: Frame, options?: SendOptions): Promise<void> | undefined;
  /** Whether both sides send large frames in parts. */
  readonly hasParts: boolean;
  /** How many bytes the parts of one frame may have in all. */
  readonly maxFrame: number;
  /** Hears that they have more. */
  frameTooBig(): void;
  /**
   * Takes the items of a batch, and gives them back one after the other.
   *
   * @param items The items.
   */
  unpackBatch(items: readonly Payload[]): void;
  /**
   * Takes a message, or a request.
   *
   * @param payload What it holds.
   * @param frame The frame that it came in, or the item of a batch.
   * @param id Which request it is, if it is one.
   * @param trace Which trace that is part of, if its sender says so.
   */
  deliver(payload: Payload, frame: Payload, id?: number, trace?: string): void;
  /**
   * Counts a message, or a request, that is dropped.
   *
   * @param frame The frame that it came in, or the item of a batch.
   */
  skipMessage(frame: Payload): void;
  /**
   * Whether something that has come is within the limits.
   *
   * @param payload What it holds.
   */
  isWithinLimits(payload: Payload): boolean;
  /**
   * Hears what the peer has room for.
   *
   * @param limit What all messages may cost.
   */
  raiseLimit(limit: number): void;
  /** How long the next credit has to wait, in milliseconds. */
  creditDelay(): number;
  /**
   * Hears where it stands among the messages that the server keeps.
   *
   * @param update Where; or the number of a kept message that it gets now.
   * @returns Whether it is a client's side, to which a server may tell this.
   */
  updatePosition(update: PositionUpdate | number): boolean;
  /**
   * Hears that the peer broke the protocol.
   *
   * @param reason How.
   */
  protocolError(reason: string): void;
}

/** The whole number that stands for no limit. */
const UNLIMITED_CREDIT = Number.MAX_SAFE_INTEGER;

/** One side of `events.v1` on one connection. */
export class EventsSession {
  readonly #transport: SessionTransport;
  readonly #requests = new PendingRequests<Payload>();
  #timer: Timer | undefined;
  /** When the timer goes off. */
  #deadline = Infinity;
  #lateReplies = 0;
  #pongs = 0;
  #joiner: PartJoiner | undefined;
  /** When this side has last said that parts come in. */
  #lastPartsPongAt = 0;
  /** Which trace the next request is part of. */
  #trace: Extract<MarkedFrame, { kind: "trace" }> | undefined;
  /** What all that has come has cost. */
  #receivedCost = 0;
  /** What the peer may send in all, as it was told. */
  #grantedCredit: number = INITIAL_CREDIT;
  readonly #isBounded: boolean;
  /** What all that are done with have cost. */
  #handledCost = 0;
  /** Whether the next credit waits, so that the peer keeps to its rate. */
  #isPaced = false;
  #creditTimer: Timer | undefined;

  /**
   * Begins.
   *
   * @param transport The connection.
   * @param isBounded Whether the peer is not trusted: then credit is given as messages
   * are handed out. Otherwise the peer gets credit without limit, unless messages are
   * handled one after the other.
   */
  constructor(transport: SessionTransport, isBounded: boolean) {
    this.#transport = transport;
    this.#isBounded = isBounded;
  }

  /** How many replies came when nobody waited for them any more. */
  get lateReplies(): number {
    return this.#lateReplies;
  }

  /** How many pings of this side were answered. */
  get pongs(): number {
    return this.#pongs;
  }

  /**
   * Takes a frame that is marked.
   *
   * @param payload What it holds.
   */
  receive(payload: Payload): void {
    const frame = decodeFrame(payload);
    if (frame?.kind !== "batch") return this.#handle(frame, payload);
    this.#transport.unpackBatch(frame.items);
  }

  /**
   * Takes an item of a batch.
   *
   * @param item The item.
   */
  receiveItem(item: Payload): void {
    if (!isMarked(item)) return this.#transport.deliver(item, item);
    const inner = decodeFrame(item);
    this.#handle(inner?.kind === "batch" ? undefined : inner, item);
  }

  /**
   * The items of a batch.
   *
   * @param payload What a frame holds.
   * @returns The items; undefined if it is another frame, or malformed.
   */
  batchItemsOf(payload: Payload): readonly Payload[] | undefined {
    const frame = isMarked(payload) ? decodeFrame(payload) : undefined;
    return frame?.kind === "batch" ? frame.items : undefined;
  }

  /**
   * Takes of what comes only what the peer has room for. Messages are dropped, but
   * give credit: the peer may wait for it to close, too.
   *
   * @param payload What a frame holds.
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

  /**
   * Counts a message, and gives more credit where nobody limits it.
   *
   * @param cost What it costs.
   */
  countReceived(cost: number): void {
    if (this.#grantedCredit === UNLIMITED_CREDIT) return;
    this.#receivedCost += cost;
    if (this.#isBounded) this.grantForHandled(this.#receivedCost);
    else if (this.#receivedCost >= INITIAL_CREDIT / 2) {
      this.#grantCredit(UNLIMITED_CREDIT);
    }
  }

  /**
   * Gives more credit as messages are done with.
   *
   * @param handled What all that are done with have cost.
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

  /** Asks whether the peer is there. */
  ping(): void {
    this.#transport.send(encodePing("ping", PING_TEXT), {
      overflow: "drop-newest",
    });
  }

  /**
   * Sends a request.
   *
   * @param frame The message.
   * @param options How long to wait.
   * @param trace Which trace it is part of, if it is.
   * @returns A promise of what the answer holds, which is quiet if it rejects.
   * @throws {RangeError} If the timeout is negative or no number.
   */
  request(
    frame: Frame,
    options: RequestOptions,
    trace?: string,
  ): Promise<Payload> {
    const { promise, resolve, reject } = Promise.withResolvers<Payload>();
    const { signal, timeout = REQUEST_TIMEOUT_MS } = options;
    assertSize("timeout", timeout); // NaN would end all that wait
    ignoreRejection(promise);
    if (signal?.aborted) {
      reject(signal.reason);
      return promise;
    }
    const now = performance.now();
    const reply = signal
      ? untilAborted(
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
    const sent = this.#transport.sendCounted(
      encodeAddressed("request", id, frame),
    );
    // What the peer is not even sent, it cannot answer.
    sent?.catch((error) => {
      this.#requests.settle(id, (reply) => reply.reject(error));
    });
    return promise;
  }

  /**
   * Answers a request.
   *
   * @param id Which.
   * @param frame The answer.
   * @returns As `send`.
   */
  reply(id: number, frame: Frame): Promise<void> | undefined {
    return this.#transport.send(encodeAddressed("reply", id, frame));
  }

  /**
   * Tells why a request has no answer.
   *
   * @param id Which.
   * @param failure Why.
   */
  refuse(id: number, failure: RequestFailure): void {
    this.#transport.send(encodeFailure(id, failure));
  }

  /**
   * Ends it: nothing more comes.
   *
   * @param makeError Makes what requests reject with that are not answered.
   */
  stop(makeError: () => Error): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#creditTimer);
    this.#deadline = -Infinity;
    if (this.#requests.size > 0) this.#requests.rejectAll(makeError());
  }

  /**
   * Takes a part of a frame.
   *
   * @param frame The part.
   * @returns The frame, if that was the last of it.
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
    // The peer's question waits behind the parts, and so this side's answer.
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
        const trace = this.#trace?.id === id ? this.#trace.text : undefined;
        this.#trace = undefined;
        return transport.deliver(frame.payload, payload, id, trace);
      }
      case "trace":
        // One whose request has not come counts like any frame.
        if (this.#trace) transport.isWithinLimits(payload);
        this.#trace = frame;
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
        transport.isWithinLimits(payload); // it counts
        return;
      case "unknown":
        transport.isWithinLimits(payload); // it counts
        return;
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
      return this.#transport.protocolError("A reply answers no request");
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

  /** Lets the one timer of all requests go off in time. */
  #scheduleTimeout(deadline: number, now: number): void {
    if (deadline >= this.#deadline) return;
    clearTimeout(this.#timer);
    this.#deadline = deadline;
    this.#timer = startTimer(() => {
      // That it goes off is proof that it is time, whatever a clock says.
      const now = Math.max(performance.now(), this.#deadline);
      this.#deadline = Infinity;
      this.#requests.expire(now, (timeout) =>
        new DOMException(
          `Cannot wait any longer for an answer of ${this.#transport.name}: ${timeout} ms have passed`,
          "TimeoutError",
        ));
      this.#scheduleTimeout(this.#requests.deadline, now);
    }, Math.ceil(deadline - now));
  }
}

/** What this side's pings say, and what answers them. */
const PING_TEXT = "";

/** What stands for a part that is malformed: none is empty. */
const MALFORMED_PART = { payload: "", isLast: false };

/** What a pong says that answers no ping, but tells that parts come in. */
const PARTS_PONG_TEXT = "parts";

/** How often it is sent, in milliseconds, while the parts of one frame come in. */
const PARTS_PONG_INTERVAL_MS = 1_000;

const MALFORMED_REASON = "A frame of events.v1 is malformed";

/** How long to wait for an answer if the program does not say, in milliseconds. */
export const REQUEST_TIMEOUT_MS = 10_000;

/** Heeds a signal for as long as somebody waits. */
function untilAborted(
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
