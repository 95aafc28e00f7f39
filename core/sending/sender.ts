/**
 * Sends the messages of one connection. The credit window holds back what the peer has
 * given no credit for; the writer sends no faster than the peer reads; the batcher joins
 * what is sent in one turn into one frame. Without `events.v1` there is only the writer.
 *
 * @module
 */

import type { QueuedMessage, SendOptions } from "./send_queue.ts";
import { type Frame, sizeOf } from "../values/codec.ts";
import { type BudgetAccount, MESSAGE_COST } from "./buffer_budget.ts";
import { RESOLVED } from "../events/errors.ts";
import type { WriterLimits } from "./flow_options.ts";
import type { TrafficCount } from "./socket_buffer.ts";
import { PacedWriter, type WriterSignal } from "./paced_writer.ts";
import { escapeFrame, unescapeFrame } from "../protocol/frames.ts";
import { creditCost, CreditWindow } from "./credit_window.ts";
import { assertOverflow, endsConnection } from "./backpressure_queue.ts";
import { FrameBatcher } from "./batcher.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { RawSocket } from "../runtime/websocket.ts";
import type { NegotiatedProtocol } from "../protocol/subprotocol.ts";

/** The sender of one connection. */
export class Sender {
  readonly #socket: RawSocket;
  readonly #onSignal: (signal: WriterSignal) => void;
  readonly #writer: PacedWriter;
  readonly #creditWindow: CreditWindow | undefined;
  readonly #batcher: FrameBatcher | undefined;
  readonly #budget: BudgetAccount | undefined;
  /**
   * The options of requests, replies and other frames that are not messages: with `latest`
   * for the whole socket, they would replace each other. They make messages give way.
   */
  readonly #frameOptions: SendOptions | undefined;

  /** Creates the sender of an open socket. */
  constructor(
    socket: RawSocket,
    limits: WriterLimits,
    { isEvents, hasParts }: Pick<NegotiatedProtocol, "isEvents" | "hasParts">,
    onSignal: (signal: WriterSignal) => void,
    instrumented: Instrumented,
    budget?: BudgetAccount,
  ) {
    this.#socket = socket;
    this.#budget = budget;
    this.#frameOptions = limits.overflow === "latest"
      ? { overflow: "terminate" }
      : undefined;
    this.#onSignal = onSignal;
    if (isEvents) {
      this.#batcher = new FrameBatcher(socket, instrumented, hasParts);
      this.#creditWindow = new CreditWindow(limits, (entry) => {
        this.#refundUnsent(entry.frame, entry.promise);
        this.#writer.adopt(entry);
      });
    }
    this.#writer = new PacedWriter(
      this.#batcher ?? socket,
      limits,
      onSignal,
      isEvents,
    );
  }

  /** The bytes that wait, here and in the socket. */
  get bufferedAmount(): number {
    const { bufferedAmount } = this.#batcher ?? this.#socket;
    return bufferedAmount + this.#writer.size + (this.#creditWindow?.size ?? 0);
  }

  /** Estimates the memory of what waits, here and in the socket, in bytes. */
  measureMemory(): number {
    const flow = this.#writer.measureMemory(this.#batcher?.frames);
    return flow + (this.#creditWindow?.memory ?? 0);
  }

  /** The number of messages passed to the socket, and their bytes. */
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

  /** Called when the peer has sent something, and so is alive. */
  noteActivity(): void {
    this.#writer.noteActivity();
  }

  /** Sends a message, as {@linkcode PacedWriter.send} does. */
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
   * Sends a marked frame that needs credit, such as a request. Returns undefined if the
   * peer does not speak `events.v1`.
   */
  sendMarked(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.#creditWindow &&
      this.#sendWithCredit(
        this.#creditWindow,
        frame,
        options ?? this.#frameOptions,
        false,
      );
  }

  /** Sends a frame that needs no credit: the peer may give more only after it. */
  sendWithoutCredit(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void> {
    return this.#sendNow(frame, options ?? this.#frameOptions, false);
  }

  /** Sends credit, as {@linkcode PacedWriter.sendCredit} does. */
  sendCredit(text: string): void {
    this.#writer.sendCredit(text);
  }

  /** Sends a message that has waited elsewhere. */
  adopt(entry: QueuedMessage): void {
    if (!this.#creditWindow) return this.#writer.adopt(entry);
    entry.frame = escapeFrame(entry.frame);
    this.#creditWindow.adopt(entry);
  }

  /** Takes credit of the peer: the total that all messages may cost. */
  raiseLimit(limit: number): void {
    const isEmptied = this.#creditWindow?.raiseLimit(limit);
    if (isEmptied && this.#writer.size === 0) this.#onSignal("drained");
  }

  /** Sends now what the batcher would send at the end of this turn. */
  flush(): void {
    this.#batcher?.flush();
  }

  /** Calls back when every message has been handed to the socket. */
  whenEmpty(action: () => void): void {
    const flush = () =>
      this.#writer.whenEmpty(() => {
        this.flush();
        action();
      });
    if (this.#creditWindow) this.#creditWindow.whenEmpty(flush);
    else flush();
  }

  /** Stops for good, as {@linkcode PacedWriter.stop} does. */
  stop(makeError: () => Error, isDelivered: boolean): readonly QueuedMessage[] {
    this.#batcher?.clear();
    const unsent = this.#writer.stop(makeError, isDelivered);
    if (!this.#creditWindow) return unsent;
    const all = [...unsent, ...this.#creditWindow.stop(makeError)];
    for (const entry of all) entry.frame = unescapeFrame(entry.frame);
    return all;
  }

  /** Sends a message as soon as there is credit for it. */
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
    if (options?.volatile) return this.#writer.dropVolatile();
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
      if (endsConnection(entry)) this.#onSignal("overflow");
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

  /** Counts a message against the budget. That may end this connection. */
  #spend(frame: Frame): void {
    if (this.#budget === undefined) return;
    const size = sizeOf(frame);
    const bytes = typeof frame === "string" ? size * 3 : size; // as UTF-8
    this.#budget.spend(bytes + MESSAGE_COST);
  }

  /** Takes back the credit of a message that is dropped after it passed the window. */
  #refundUnsent(frame: Frame, sent: Promise<void>): void {
    const cost = creditCost(frame);
    sent.catch(() => {
      this.#creditWindow?.refund(cost);
      this.raiseLimit(0);
    });
  }
}
