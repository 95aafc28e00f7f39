/**
 * What `events.v1` adds to a connection: requests and their answers, pings, credit
 * and batches. It reads and writes frames, and knows neither sockets nor messages.
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
import { type Asker, Requests } from "./pending_requests.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** Options of `request`. */
export interface RequestOptions {
  /** Gives up when it is aborted; the promise rejects with its reason. */
  readonly signal?: AbortSignal;
  /**
   * How long to wait for the answer, in milliseconds; `Infinity` for as long as the
   * connection lives.
   *
   * @default {10_000}
   */
  readonly timeout?: number;
}

/** What an exchange needs of its connection. */
export interface Carrier {
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
  urge(text: string): void;
  /**
   * Sends a request, or what goes before it.
   *
   * @param frame The frame.
   * @param options What to do if the peer does not keep up.
   */
  ask(frame: Frame, options?: SendOptions): Promise<void> | undefined;
  /** Whether both sides send large frames in parts. */
  readonly hasParts: boolean;
  /** How many bytes the parts of one frame may have in all. */
  readonly maxFrame: number;
  /** Hears that they have more. */
  tooBig(): void;
  /**
   * Takes the items of a batch, and gives them back one after the other.
   *
   * @param items The items.
   */
  unpack(items: readonly Payload[]): void;
  /**
   * Takes a message, or a request.
   *
   * @param payload What it holds.
   * @param frame The frame that it came in, or the item of a batch.
   * @param id Which request it is, if it is one.
   * @param trace Which trace that is part of, if its sender says so.
   */
  take(payload: Payload, frame: Payload, id?: number, trace?: string): void;
  /**
   * Counts a message, or a request, that is dropped.
   *
   * @param frame The frame that it came in, or the item of a batch.
   */
  skip(frame: Payload): void;
  /**
   * Whether something that has come is within the limits.
   *
   * @param payload What it holds.
   */
  admits(payload: Payload): boolean;
  /**
   * Hears what the peer has room for.
   *
   * @param limit What all messages may cost.
   */
  allow(limit: number): void;
  /** How long the next credit has to wait, in milliseconds. */
  creditDelay(): number;
  /**
   * Hears where it stands among the messages that the server keeps.
   *
   * @param update Where; or the number of a kept message that it gets now.
   * @returns Whether it is a client's side, to which a server may tell this.
   */
  stand(update: PositionUpdate | number): boolean;
  /**
   * Hears that the peer broke the protocol.
   *
   * @param why How.
   */
  broken(why: string): void;
}

/** The whole number that stands for no limit. */
const ENDLESS = Number.MAX_SAFE_INTEGER;

/** One side of `events.v1` on one connection. */
export class Exchange {
  readonly #carrier: Carrier;
  readonly #requests = new Requests<Payload>();
  #timer: Timer | undefined;
  /** When the timer goes off. */
  #alarm = Infinity;
  #lateReplies = 0;
  #pongs = 0;
  #joiner: PartJoiner | undefined;
  /** When this side has last said that parts come in. */
  #saidAt = 0;
  /** Which trace the next request is part of. */
  #trace: Extract<MarkedFrame, { kind: "trace" }> | undefined;
  /** What all that has come has cost. */
  #cost = 0;
  /** What the peer may send in all, as it was told. */
  #granted: number = INITIAL_CREDIT;
  readonly #isBounded: boolean;
  /** What all that are done with have cost. */
  #handled = 0;
  /** Whether the next credit waits, so that the peer keeps to its rate. */
  #isPaced = false;
  #creditTimer: Timer | undefined;

  /**
   * Begins.
   *
   * @param carrier The connection.
   * @param isBounded Whether the peer is not trusted: then credit is given as messages
   * are handed out. Otherwise the peer gets credit without limit, unless messages are
   * handled one after the other.
   */
  constructor(carrier: Carrier, isBounded: boolean) {
    this.#carrier = carrier;
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
    this.#carrier.unpack(frame.items);
  }

  /**
   * Takes an item of a batch.
   *
   * @param item The item.
   */
  receiveItem(item: Payload): void {
    if (!isMarked(item)) return this.#carrier.take(item, item);
    const inner = decodeFrame(item);
    this.#handle(inner?.kind === "batch" ? undefined : inner, item);
  }

  /**
   * The items of a batch.
   *
   * @param payload What a frame holds.
   * @returns The items; undefined if it is another frame, or malformed.
   */
  itemsOf(payload: Payload): readonly Payload[] | undefined {
    const frame = isMarked(payload) ? decodeFrame(payload) : undefined;
    return frame?.kind === "batch" ? frame.items : undefined;
  }

  /**
   * Takes of what comes only what the peer has room for. Messages are dropped, but
   * give credit: the peer may wait for it to close, too.
   *
   * @param payload What a frame holds.
   */
  receiveLate(payload: Payload): void {
    if (isPart(payload)) {
      const whole = this.join(payload);
      if (whole === undefined) return;
      payload = whole;
    }
    const first = isMarked(payload) ? decodeFrame(payload) : undefined;
    const items = first?.kind === "batch" ? first.items : [payload];
    for (const item of items) {
      const frame = isMarked(item) ? decodeFrame(item) : undefined;
      if (frame?.kind === "credit") this.#carrier.allow(frame.limit);
      if (isCounted(item)) this.#carrier.skip(item);
    }
  }

  /**
   * Counts a message, and gives more credit where nobody limits it.
   *
   * @param cost What it costs.
   */
  count(cost: number): void {
    if (this.#granted === ENDLESS) return;
    this.#cost += cost;
    if (this.#isBounded) this.handled(this.#cost);
    else if (this.#cost >= INITIAL_CREDIT / 2) this.#grant(ENDLESS);
  }

  /**
   * Gives more credit as messages are done with.
   *
   * @param handled What all that are done with have cost.
   */
  handled(handled: number): void {
    this.#handled = handled;
    const limit = handled + INITIAL_CREDIT;
    if (limit - this.#granted < INITIAL_CREDIT / 2 || this.#isPaced) return;
    const delay = this.#carrier.creditDelay();
    if (delay === 0) return this.#grant(limit);
    this.#isPaced = true;
    this.#creditTimer = startTimer(() => {
      this.#isPaced = false;
      this.handled(this.#handled);
    }, Math.ceil(delay));
  }

  /** Asks whether the peer is there. */
  ping(): void {
    this.#carrier.send(encodePing("ping", PING), { overflow: "drop-newest" });
  }

  /**
   * Sends a request.
   *
   * @param frame The message.
   * @param options How long to wait.
   * @param text Which trace it is part of, if it is.
   * @returns A promise of what the answer holds, which is quiet if it rejects.
   * @throws {RangeError} If the timeout is negative or no number.
   */
  request(
    frame: Frame,
    options: RequestOptions,
    text?: string,
  ): Promise<Payload> {
    const { promise, resolve, reject } = Promise.withResolvers<Payload>();
    const { signal, timeout = REQUEST_TIMEOUT } = options;
    assertSize("timeout", timeout); // NaN would end all that wait
    ignoreRejection(promise);
    if (signal?.aborted) {
      reject(signal.reason);
      return promise;
    }
    const now = performance.now();
    const asker = signal
      ? heeding(signal, { resolve, reject }, () => this.#drop(id, signal))
      : { resolve, reject };
    const id = this.#requests.add(asker, timeout, now);
    if (id === undefined) {
      asker.reject(
        new RangeError(
          `Cannot request anything more of ${this.#carrier.name} by this connection: all ids are used`,
        ),
      );
      return promise;
    }
    this.#setAlarm(now + timeout, now);
    if (text) {
      this.#carrier.ask(encodeTrace(id, text), { overflow: "drop-newest" });
    }
    const sent = this.#carrier.ask(encodeAddressed("request", id, frame));
    // What the peer is not even sent, it cannot answer.
    sent?.catch((error) => {
      this.#requests.settle(id, (asker) => asker.reject(error));
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
    return this.#carrier.send(encodeAddressed("reply", id, frame));
  }

  /**
   * Tells why a request has no answer.
   *
   * @param id Which.
   * @param failure Why.
   */
  refuse(id: number, failure: RequestFailure): void {
    this.#carrier.send(encodeFailure(id, failure));
  }

  /**
   * Ends it: nothing more comes.
   *
   * @param why Makes what requests reject with that are not answered.
   */
  stop(why: () => Error): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#creditTimer);
    this.#alarm = -Infinity;
    if (this.#requests.size > 0) this.#requests.failAll(why());
  }

  /**
   * Takes a part of a frame.
   *
   * @param frame The part.
   * @returns The frame, if that was the last of it.
   */
  join(frame: Payload): Payload | undefined {
    const carrier = this.#carrier;
    const part = decodeFrame(frame);
    const { payload, isLast } = part?.kind === "part" ? part : NO_PART;
    const isFirst = !this.#joiner;
    const joiner = this.#joiner ??= new PartJoiner();
    if (!carrier.hasParts || payload === "" || !joiner.add(payload)) {
      carrier.broken(MALFORMED);
      return undefined;
    }
    if (joiner.size > carrier.maxFrame) {
      this.#joiner = undefined;
      carrier.tooBig();
      return undefined;
    }
    if (isLast) {
      this.#joiner = undefined;
      const whole = joiner.take();
      if (!isLargerThan(whole, carrier.maxFrame)) return whole;
      carrier.tooBig();
      return undefined;
    }
    // The peer's question waits behind the parts, and so this side's answer.
    const now = performance.now();
    if (isFirst) this.#saidAt = now;
    else if (now - this.#saidAt >= SAY_EVERY) {
      this.#saidAt = now;
      carrier.send(encodePing("pong", PARTS), { overflow: "drop-newest" });
    }
    return undefined;
  }

  #handle(frame: MarkedFrame | undefined, payload: Payload): void {
    const carrier = this.#carrier;
    switch (frame?.kind) {
      case "message":
        return carrier.take(frame.payload, payload);
      case "request": {
        const { id } = frame;
        const text = this.#trace?.id === id ? this.#trace.text : undefined;
        this.#trace = undefined;
        return carrier.take(frame.payload, payload, id, text);
      }
      case "trace":
        // One whose request has not come counts like any frame.
        if (this.#trace) carrier.admits(payload);
        this.#trace = frame;
        return;
      case "stored":
        if (!carrier.stand(frame.offset)) break;
        return carrier.take(frame.payload, payload);
      case "position":
        if (!carrier.stand(frame.update)) break;
        return carrier.skip(payload);
      case "reply":
        return this.#settle(
          frame.id,
          payload,
          (asker) => asker.resolve(frame.payload),
        );
      case "failure": {
        const { message, code } = frame.failure;
        return this.#settle(
          frame.id,
          payload,
          (asker) => asker.reject(new RequestError(message, code)),
        );
      }
      case "ping":
        if (!carrier.admits(payload)) return;
        carrier.send(encodePing("pong", frame.text), {
          overflow: "drop-newest",
        });
        return;
      case "credit":
        if (carrier.admits(payload)) carrier.allow(frame.limit);
        return;
      case "pong":
        if (frame.text === PING) this.#pongs++;
        carrier.admits(payload); // it counts
        return;
      case "unknown":
        carrier.admits(payload); // it counts
        return;
    }
    carrier.broken(MALFORMED);
  }

  #settle(
    id: number,
    payload: Payload,
    answer: (asker: Asker<Payload>) => void,
  ): void {
    const delivery = this.#requests.settle(id, answer);
    if (delivery === "awaited") return;
    if (delivery === "unasked") {
      return this.#carrier.broken("A reply answers no request");
    }
    this.#lateReplies++;
    this.#carrier.admits(payload);
  }

  #drop(id: number | undefined, { reason }: AbortSignal): void {
    if (id === undefined) return;
    this.#requests.settle(id, (asker) => asker.reject(reason));
  }

  #grant(limit: number): void {
    this.#granted = limit;
    this.#carrier.urge(encodeCredit(limit));
  }

  /** Lets the one timer of all requests go off in time. */
  #setAlarm(deadline: number, now: number): void {
    if (deadline >= this.#alarm) return;
    clearTimeout(this.#timer);
    this.#alarm = deadline;
    this.#timer = startTimer(() => {
      // That it goes off is proof that it is time, whatever a clock says.
      const now = Math.max(performance.now(), this.#alarm);
      this.#alarm = Infinity;
      this.#requests.expire(now, (timeout) =>
        new DOMException(
          `Cannot wait any longer for an answer of ${this.#carrier.name}: ${timeout} ms have passed`,
          "TimeoutError",
        ));
      this.#setAlarm(this.#requests.deadline, now);
    }, Math.ceil(deadline - now));
  }
}

/** What this side's pings say, and what answers them. */
const PING = "";

/** What stands for a part that is malformed: none is empty. */
const NO_PART = { payload: "", isLast: false };

/** What a pong says that answers no ping, but tells that parts come in. */
const PARTS = "parts";

/** How often it is sent, in milliseconds, while the parts of one frame come in. */
const SAY_EVERY = 1_000;

const MALFORMED = "A frame of events.v1 is malformed";

/** How long to wait for an answer if the program does not say, in milliseconds. */
export const REQUEST_TIMEOUT = 10_000;

/** Heeds a signal for as long as somebody waits. */
function heeding(
  signal: AbortSignal,
  { resolve, reject }: Asker<Payload>,
  abort: () => void,
): Asker<Payload> {
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
