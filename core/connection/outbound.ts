/**
 * The sending side of a connection: creates the {@linkcode Sender} when it is first
 * needed, and acts on its signals.
 *
 * @module
 */

import type { NegotiatedProtocol } from "../protocol/subprotocol.ts";
import type { RawSocket } from "../runtime/websocket.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { BudgetAccount } from "../sending/buffer_budget.ts";
import { Sender } from "../sending/sender.ts";
import type { WriterLimits } from "../sending/flow_options.ts";
import type { WriterSignal } from "../sending/paced_writer.ts";
import type { Closing } from "./closing.ts";

/** The parts of a connection that sending uses. */
export interface OutboundHost {
  /** The socket. */
  readonly socket: RawSocket;
  /** The options of flow control, and the budget of all queues. */
  readonly options: Instrumented & {
    readonly writerLimits: WriterLimits;
    readonly budget?: BudgetAccount;
  };
  /** The state of the connection. */
  readonly closing: Closing;
  /** Called when the send queue is empty again. */
  drained(): void;
}

/** What a connection sends. */
export class Outbound {
  /** The negotiated subprotocol, once it is known. */
  negotiated: NegotiatedProtocol | undefined;
  readonly #host: OutboundHost;
  #sender: Sender | undefined;

  /** Creates the sending side of a connection that is not open yet. */
  constructor(host: OutboundHost, negotiated: NegotiatedProtocol | undefined) {
    this.#host = host;
    this.negotiated = negotiated;
  }

  /** The sender, if anything has been sent. */
  get sender(): Sender | undefined {
    return this.#sender;
  }

  /** The bytes that wait for the peer. */
  get bufferedAmount(): number {
    return (this.#sender ?? this.#host.socket).bufferedAmount;
  }

  /** The sender, if the connection is open. */
  writable(): Sender | undefined {
    if (!this.#host.closing.isOpen) return undefined;
    if (this.#host.closing.isWritable) return this.#sender ??= this.#create();
    // In Node the socket is closing from the close frame of the peer to the end of TCP,
    // which may never come.
    this.#host.closing.runtimeClosing();
    return undefined;
  }

  /** Sends credit, also while this side waits for the peer to close. */
  sendCredit(text: string): void {
    if (!this.#host.closing.isWritable) return;
    (this.#sender ??= this.#create()).sendCredit(text);
  }

  /** Creates the sender before anything is sent. */
  prepare(): void {
    this.#sender = this.#create();
  }

  #create(): Sender {
    return new Sender(
      this.#host.socket,
      this.#host.options.writerLimits,
      this.negotiated ?? { isEvents: false },
      (signal) => this.#onSignal(signal),
      this.#host.options,
      this.#host.options.budget,
    );
  }

  #onSignal(signal: WriterSignal): void {
    if (signal === "runtime-closing") this.#host.closing.runtimeClosing();
    else if (signal === "drained") {
      // Nothing may be sent while the connection closes.
      if (this.#host.closing.isOpen) this.#host.drained();
    } else {
      const isNotReading = signal === "overflow" || this.#sender?.isPeerActive;
      this.#host.closing.terminate(isNotReading ? "backpressure" : "timeout");
    }
  }
}
