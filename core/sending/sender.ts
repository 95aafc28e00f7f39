/**
 * The sending side of one connection: the credit window holds messages back until the
 * peer grants credit, the socket writer until the socket has space, and the batcher
 * combines the messages of one turn. A peer without `events.v1` has only a writer.
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

/** The sending side of one connection. */
export class Sender {
  readonly #socket: RawSocket;
  readonly #onSignal: (signal: WriterSignal) => void;
  readonly #writer: SocketWriter;
  readonly #creditWindow: CreditWindow | undefined;
  readonly #batcher: FrameBatcher | undefined;
  readonly #budget: Spender | undefined;

  /**
   * @param limits The flow-control limits.
   * @param spoken The negotiated subprotocol.
   * @param onSignal Called with events of the writer.
   * @param instrumented Provides the instrumentation.
   * @param budget The shared memory budget.
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

  /** The number of bytes that wait, here and in the socket. */
  get bufferedAmount(): number {
    const { bufferedAmount } = this.#batcher ?? this.#socket;
    return bufferedAmount + this.#writer.size + (this.#creditWindow?.size ?? 0);
  }

  /** The approximate memory of waiting messages, here and in the socket, in bytes. */
  measureMemory(): number {
    const flow = this.#writer.measureMemory(this.#batcher?.frames);
    return flow + (this.#creditWindow?.memory ?? 0);
  }

  /** The traffic passed to the socket. */
  get sent(): TrafficCount {
    return this.#writer.sent;
  }

  /** The number of dropped messages. */
  get dropped(): number {
    return this.#writer.dropped + (this.#creditWindow?.dropped ?? 0);
  }

  /** Whether the peer has sent something since it last read something. */
  get isPeerActive(): boolean {
    return this.#writer.isPeerActive;
  }

  /** Notes that the peer has sent something, and is alive. */
  noteActivity(): void {
    this.#writer.noteActivity();
  }

  /**
   * Sends a message. The socket must be open.
   *
   * @param options The options of `send`.
   * @param isTransferable Whether another connection may send it.
   * @returns The promise of {@linkcode SocketWriter.send}.
   * @throws {RangeError} If `overflow` is not a valid policy.
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
   * Sends a marked frame that uses credit, such as a request. The socket must be open.
   */
  sendMarked(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.#creditWindow &&
      this.#sendWithCredit(this.#creditWindow, frame, options, false);
  }

  /**
   * Sends a frame that does not use credit, as the peer may wait for it before it grants
   * any. The socket must be open.
   */
  sendWithoutCredit(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void> {
    return this.#sendNow(frame, options, false);
  }

  /**
   * Sends credit, as {@linkcode SocketWriter.sendCredit} does. The socket must be open.
   */
  sendCredit(text: string): void {
    this.#writer.sendCredit(text);
  }

  /** Sends a message from another queue. The socket must be open. */
  adopt(entry: QueuedMessage): void {
    if (!this.#creditWindow) return this.#writer.adopt(entry);
    entry.frame = escapeFrame(entry.frame);
    this.#creditWindow.adopt(entry);
  }

  /** Raises the credit to a new total. */
  raiseLimit(limit: number): void {
    const isEmptied = this.#creditWindow?.raiseLimit(limit);
    if (isEmptied && this.#writer.size === 0) this.#onSignal("drained");
  }

  /** Sends the batch of this turn now. */
  flush(): void {
    this.#batcher?.flush();
  }

  /** Calls back when everything was passed to the socket; immediately if it was. */
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
   * Stops the sending side, and empties its queues.
   *
   * @param makeError Creates the error of pending promises.
   * @param isDelivered Whether the peer has received what the socket had.
   * @returns Messages that another connection may send, in order.
   */
  stop(makeError: () => Error, isDelivered: boolean): readonly QueuedMessage[] {
    this.#batcher?.clear();
    const unsent = this.#writer.stop(makeError, isDelivered);
    if (!this.#creditWindow) return unsent;
    const all = [...unsent, ...this.#creditWindow.stop(makeError)];
    for (const entry of all) entry.frame = unescapeFrame(entry.frame);
    return all;
  }

  /** Sends a message when there is credit. */
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

  /** Counts a message in the memory budget, which may end this connection. */
  #spend(frame: Frame): void {
    if (this.#budget === undefined) return;
    const size = typeof frame === "string"
      ? frame.length * 3 // as UTF-8
      : frame instanceof Blob
      ? frame.size
      : frame.byteLength;
    this.#budget.spend(size + MESSAGE_COST);
  }

  /** A message dropped by the writer returns its credit. */
  #refundUnsent(frame: Frame, sent: Promise<void>): void {
    const cost = creditCost(frame);
    sent.catch(() => {
      this.#creditWindow?.refund(cost);
      this.raiseLimit(0);
    });
  }
}
