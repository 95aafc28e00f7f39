/**
 * The whole way out of one connection: the gate, which holds back what the peer has no
 * room for by its own word; the flow, which goes no faster than the peer takes it; and
 * the packer, which makes one frame of what is sent in one turn. A peer that does not
 * speak `events.v1` has a flow only.
 *
 * @module
 */

import type { Entry, SendOptions } from "./backlog.ts";
import type { Frame } from "../values/codec.ts";
import { MESSAGE_COST, type Spender } from "./buffer_budget.ts";
import { RESOLVED } from "../events/errors.ts";
import {
  type Carried,
  Flow,
  type FlowLimits,
  type FlowSignal,
} from "./socket_writer.ts";
import { escapeFrame, unescapeFrame } from "../protocol/frames.ts";
import { costOf, Gate } from "./credit_window.ts";
import { assertOverflow } from "./outbox.ts";
import { Packer } from "./batcher.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { RawSocket } from "../runtime/websocket.ts";
import type { NegotiatedProtocol } from "../protocol/subprotocol.ts";

/** The way out of one connection. */
export class Sender {
  readonly #socket: RawSocket;
  readonly #tell: (signal: FlowSignal) => void;
  readonly #flow: Flow;
  readonly #gate: Gate | undefined;
  readonly #packer: Packer | undefined;
  readonly #budget: Spender | undefined;

  /**
   * Creates one.
   *
   * @param socket The socket.
   * @param limits What to go by.
   * @param spoken What the peer speaks.
   * @param tell What to tell of what happens.
   * @param instrumented Whether somebody looks into it.
   * @param budget Bounds what waits for all peers.
   */
  constructor(
    socket: RawSocket,
    limits: FlowLimits,
    { isEvents, hasParts }: Pick<NegotiatedProtocol, "isEvents" | "hasParts">,
    tell: (signal: FlowSignal) => void,
    instrumented: Instrumented,
    budget?: Spender,
  ) {
    this.#socket = socket;
    this.#budget = budget;
    this.#tell = tell;
    if (isEvents) {
      this.#packer = new Packer(socket, instrumented, hasParts);
      this.#gate = new Gate(limits, (entry) => {
        this.#refundUnsent(entry.frame, entry.promise);
        this.#flow.adopt(entry);
      });
    }
    this.#flow = new Flow(this.#packer ?? socket, limits, tell);
  }

  /** How many bytes wait, here and in the socket. */
  get bufferedAmount(): number {
    const { bufferedAmount } = this.#packer ?? this.#socket;
    return bufferedAmount + this.#flow.size + (this.#gate?.size ?? 0);
  }

  /** About how many bytes of memory it takes what waits, here and in the socket. */
  measureMemory(): number {
    const flow = this.#flow.measureMemory(this.#packer?.frames);
    return flow + (this.#gate?.memory ?? 0);
  }

  /** What was handed to the socket. */
  get sent(): Carried {
    return this.#flow.sent;
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#flow.dropped + (this.#gate?.dropped ?? 0);
  }

  /** Whether the peer has sent something since it took something. */
  get isHeard(): boolean {
    return this.#flow.isHeard;
  }

  /** Hears that the peer has sent something, and so is alive. */
  heard(): void {
    this.#flow.heard();
  }

  /**
   * Sends a message.
   *
   * @param frame The message; the socket must be open.
   * @param options What to do if it does not fit.
   * @param isCarried Whether it may go out by another connection.
   * @returns As of {@linkcode Flow.send}.
   * @throws {RangeError} If the policy is none.
   */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isCarried: boolean,
  ): Promise<void> {
    return this.#gate
      ? this.#sendThrough(this.#gate, escapeFrame(frame), options, isCarried)
      : this.#sendNow(frame, options, isCarried);
  }

  /**
   * Sends what counts as a message, and is marked already: a request, for one.
   *
   * @param frame What to send; the socket must be open.
   * @param options What to do if it does not fit.
   * @returns As of {@linkcode Flow.send}.
   */
  sendMarked(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.#gate && this.#sendThrough(this.#gate, frame, options, false);
  }

  /**
   * Sends what needs no credit: the peer may wait for it before it gives any.
   *
   * @param frame What to send; the socket must be open.
   * @param options What to do if it does not fit.
   * @returns As of {@linkcode Flow.send}.
   */
  answer(frame: Frame, options: SendOptions | undefined): Promise<void> {
    return this.#sendNow(frame, options, false);
  }

  /**
   * Sends credit, as {@linkcode Flow.urge} does.
   *
   * @param text The frame; the socket must be open.
   */
  urge(text: string): void {
    this.#flow.urge(text);
  }

  /**
   * Sends what has waited elsewhere.
   *
   * @param entry What to send; the socket must be open.
   */
  adopt(entry: Entry): void {
    if (!this.#gate) return this.#flow.adopt(entry);
    entry.frame = escapeFrame(entry.frame);
    this.#gate.adopt(entry);
  }

  /**
   * Hears what the peer has room for.
   *
   * @param limit What all messages may cost.
   */
  allow(limit: number): void {
    const isEmptied = this.#gate?.allow(limit);
    if (isEmptied && this.#flow.size === 0) this.#tell("drained");
  }

  /** Sends now what would be sent at the end of this turn. */
  flush(): void {
    this.#packer?.flush();
  }

  /**
   * Calls back when all has been handed to the socket, at once if it has.
   *
   * @param action What to call.
   */
  whenEmpty(action: () => void): void {
    const flush = () =>
      this.#flow.whenEmpty(() => {
        this.flush();
        action();
      });
    if (this.#gate) this.#gate.whenEmpty(flush);
    else flush();
  }

  /**
   * Stops for good, and lets go of all that waits.
   *
   * @param why Makes what promises reject with that wait, if there are any.
   * @param isDelivered Whether what the socket had has reached the peer.
   * @returns What may go out by another connection, in order, as it was sent.
   */
  stop(why: () => Error, isDelivered: boolean): readonly Entry[] {
    this.#packer?.clear();
    const unsent = this.#flow.stop(why, isDelivered);
    if (!this.#gate) return unsent;
    const all = [...unsent, ...this.#gate.stop(why)];
    for (const entry of all) entry.frame = unescapeFrame(entry.frame);
    return all;
  }

  /** Sends as soon as the peer has room for it, by its own word. */
  #sendThrough(
    gate: Gate,
    frame: Frame,
    options: SendOptions | undefined,
    isCarried: boolean,
  ): Promise<void> {
    assertOverflow(options);
    if (gate.admit(frame)) {
      const sent = this.#sendNow(frame, options, isCarried);
      if (sent !== RESOLVED) this.#refundUnsent(frame, sent);
      return sent;
    }
    const held = this.bufferedAmount - gate.size;
    const { entry, isTaken } = gate.keep(frame, options, isCarried, held);
    if (isTaken) {
      this.#flow.outdate(options);
      this.#spend(frame);
    } else {
      if (entry.overflow === "terminate" && !isCarried) this.#tell("overflow");
      gate.drop(entry);
    }
    return entry.promise;
  }

  #sendNow(
    frame: Frame,
    options: SendOptions | undefined,
    isCarried: boolean,
  ): Promise<void> {
    const sent = this.#flow.send(frame, options, isCarried);
    this.#spend(frame);
    return sent;
  }

  /** Counts a message that was sent, or waits. It may end this connection. */
  #spend(frame: Frame): void {
    if (this.#budget === undefined) return;
    const size = typeof frame === "string"
      ? frame.length * 3 // as UTF-8
      : frame instanceof Blob
      ? frame.size
      : frame.byteLength;
    this.#budget.spend(size + MESSAGE_COST);
  }

  /** What is dropped behind the gate takes no room at the peer's. */
  #refundUnsent(frame: Frame, sent: Promise<void>): void {
    const cost = costOf(frame);
    sent.catch(() => {
      this.#gate?.refund(cost);
      this.allow(0);
    });
  }
}
