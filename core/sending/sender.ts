/**
 * The whole way out of one connection: the credit window, which holds back what the peer has no
 * room for by its own word; the writer, which goes no faster than the peer takes it; and
 * the batcher, which makes one frame of what is sent in one turn. A peer that does not
 * speak `events.v1` has a writer only.
 *
 * @module
 */

import type { QueuedMessage, SendOptions } from "./send_queue.ts";
import type { Frame } from "../values/codec.ts";
import { MESSAGE_COST, type Spender } from "./buffer_budget.ts";
import { RESOLVED } from "../events/errors.ts";
import {
  SocketWriter,
  type TrafficCount,
  type WriterLimits,
  type WriterSignal,
} from "./socket_writer.ts";
import { escapeFrame, unescapeFrame } from "../protocol/frames.ts";
import { creditCost, CreditWindow } from "./credit_window.ts";
import { assertOverflow } from "./bounded_queue.ts";
import { FrameBatcher } from "./batcher.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { RawSocket } from "../runtime/websocket.ts";
import type { NegotiatedProtocol } from "../protocol/subprotocol.ts";

/** The way out of one connection. */
export class Sender {
  readonly #socket: RawSocket;
  readonly #onSignal: (signal: WriterSignal) => void;
  readonly #writer: SocketWriter;
  readonly #creditWindow: CreditWindow | undefined;
  readonly #batcher: FrameBatcher | undefined;
  readonly #budget: Spender | undefined;

  /**
   * Creates one.
   *
   * @param socket The socket.
   * @param limits What to go by.
   * @param spoken What the peer speaks.
   * @param onSignal What to tell of what happens.
   * @param instrumented Whether somebody looks into it.
   * @param budget Bounds what waits for all peers.
   */
  constructor(
    socket: RawSocket,
    limits: WriterLimits,
    { isEvents, hasParts }: Pick<NegotiatedProtocol, "isEvents" | "hasParts">,
    onSignal: (signal: WriterSignal) => void,
    instrumented: Instrumented,
    budget?: Spender,
  ) {
    this.#socket = socket;
    this.#budget = budget;
    this.#onSignal = onSignal;
    if (isEvents) {
      this.#batcher = new FrameBatcher(socket, instrumented, hasParts);
      this.#creditWindow = new CreditWindow(limits, (entry) => {
        this.#refundUnsent(entry.frame, entry.promise);
        this.#writer.adopt(entry);
      });
    }
    this.#writer = new SocketWriter(this.#batcher ?? socket, limits, onSignal);
  }

  /** How many bytes wait, here and in the socket. */
  get bufferedAmount(): number {
    const { bufferedAmount } = this.#batcher ?? this.#socket;
    return bufferedAmount + this.#writer.size + (this.#creditWindow?.size ?? 0);
  }

  /** About how many bytes of memory it takes what waits, here and in the socket. */
  measureMemory(): number {
    const flow = this.#writer.measureMemory(this.#batcher?.frames);
    return flow + (this.#creditWindow?.memory ?? 0);
  }

  /** What was handed to the socket. */
  get sent(): TrafficCount {
    return this.#writer.sent;
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#writer.dropped + (this.#creditWindow?.dropped ?? 0);
  }

  /** Whether the peer has sent something since it took something. */
  get isPeerActive(): boolean {
    return this.#writer.isPeerActive;
  }

  /** Hears that the peer has sent something, and so is alive. */
  noteActivity(): void {
    this.#writer.noteActivity();
  }

  /**
   * Sends a message.
   *
   * @param frame The message; the socket must be open.
   * @param options What to do if it does not fit.
   * @param isTransferable Whether it may go out by another connection.
   * @returns As of {@linkcode SocketWriter.send}.
   * @throws {RangeError} If the policy is none.
   */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> {
    return this.#creditWindow
      ? this.#sendWithCredit(
        this.#creditWindow,
        escapeFrame(frame),
        options,
        isTransferable,
      )
      : this.#sendNow(frame, options, isTransferable);
  }

  /**
   * Sends what counts as a message, and is marked already: a request, for one.
   *
   * @param frame What to send; the socket must be open.
   * @param options What to do if it does not fit.
   * @returns As of {@linkcode SocketWriter.send}.
   */
  sendMarked(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.#creditWindow &&
      this.#sendWithCredit(this.#creditWindow, frame, options, false);
  }

  /**
   * Sends what needs no credit: the peer may wait for it before it gives any.
   *
   * @param frame What to send; the socket must be open.
   * @param options What to do if it does not fit.
   * @returns As of {@linkcode SocketWriter.send}.
   */
  sendWithoutCredit(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void> {
    return this.#sendNow(frame, options, false);
  }

  /**
   * Sends credit, as {@linkcode SocketWriter.sendCredit} does.
   *
   * @param text The frame; the socket must be open.
   */
  sendCredit(text: string): void {
    this.#writer.sendCredit(text);
  }

  /**
   * Sends what has waited elsewhere.
   *
   * @param entry What to send; the socket must be open.
   */
  adopt(entry: QueuedMessage): void {
    if (!this.#creditWindow) return this.#writer.adopt(entry);
    entry.frame = escapeFrame(entry.frame);
    this.#creditWindow.adopt(entry);
  }

  /**
   * Hears what the peer has room for.
   *
   * @param limit What all messages may cost.
   */
  raiseLimit(limit: number): void {
    const isEmptied = this.#creditWindow?.raiseLimit(limit);
    if (isEmptied && this.#writer.size === 0) this.#onSignal("drained");
  }

  /** Sends now what would be sent at the end of this turn. */
  flush(): void {
    this.#batcher?.flush();
  }

  /**
   * Calls back when all has been handed to the socket, at once if it has.
   *
   * @param action What to call.
   */
  whenEmpty(action: () => void): void {
    const flush = () =>
      this.#writer.whenEmpty(() => {
        this.flush();
        action();
      });
    if (this.#creditWindow) this.#creditWindow.whenEmpty(flush);
    else flush();
  }

  /**
   * Stops for good, and lets go of all that waits.
   *
   * @param makeError Makes what promises reject with that wait, if there are any.
   * @param isDelivered Whether what the socket had has reached the peer.
   * @returns What may go out by another connection, in order, as it was sent.
   */
  stop(makeError: () => Error, isDelivered: boolean): readonly QueuedMessage[] {
    this.#batcher?.clear();
    const unsent = this.#writer.stop(makeError, isDelivered);
    if (!this.#creditWindow) return unsent;
    const all = [...unsent, ...this.#creditWindow.stop(makeError)];
    for (const entry of all) entry.frame = unescapeFrame(entry.frame);
    return all;
  }

  /** Sends as soon as the peer has room for it, by its own word. */
  #sendWithCredit(
    window: CreditWindow,
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> {
    assertOverflow(options);
    if (window.trySpend(frame)) {
      const sent = this.#sendNow(frame, options, isTransferable);
      if (sent !== RESOLVED) this.#refundUnsent(frame, sent);
      return sent;
    }
    const heldBytes = this.bufferedAmount - window.size;
    const { entry, isQueued } = window.enqueue(
      frame,
      options,
      isTransferable,
      heldBytes,
    );
    if (isQueued) {
      this.#writer.dropSuperseded(options);
      this.#spend(frame);
    } else {
      if (entry.overflow === "terminate" && !isTransferable) {
        this.#onSignal("overflow");
      }
      window.drop(entry);
    }
    return entry.promise;
  }

  #sendNow(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> {
    const sent = this.#writer.send(frame, options, isTransferable);
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

  /** What is dropped behind the credit window takes no room at the peer's. */
  #refundUnsent(frame: Frame, sent: Promise<void>): void {
    const cost = creditCost(frame);
    sent.catch(() => {
      this.#creditWindow?.refund(cost);
      this.raiseLimit(0);
    });
  }
}
