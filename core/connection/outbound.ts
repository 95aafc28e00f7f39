/**
 * The sending side of a connection: creates the {@linkcode Sender} when it is first
 * needed, and acts on its signals.
 *
 * @module
 */

import type { NegotiatedProtocol } from "../protocol/subprotocol.ts";
import type { RawSocket } from "../runtime/websocket.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { Spender } from "../sending/buffer_budget.ts";
import { Sender } from "../sending/sender.ts";
import type { WriterLimits } from "../sending/flow_options.ts";
import type { WriterSignal } from "../sending/socket_writer.ts";
import type { Closing } from "./closing.ts";

/** The options of a connection that concern sending. */
interface OutboundOptions extends Instrumented {
  readonly writerLimits: WriterLimits;
  readonly budget?: Spender;
}

/** What a connection sends. */
export class Outbound {
  /** The negotiated subprotocol, once it is known. */
  negotiated: NegotiatedProtocol | undefined;
  readonly #socket: RawSocket;
  readonly #options: OutboundOptions;
  readonly #closing: Closing;
  readonly #host: { drained(): void };
  #sender: Sender | undefined;

  /** Creates the sending side of a connection that is not open yet. */
  constructor(
    socket: RawSocket,
    options: OutboundOptions,
    negotiated: NegotiatedProtocol | undefined,
    closing: Closing,
    host: { drained(): void },
  ) {
    this.#socket = socket;
    this.#options = options;
    this.negotiated = negotiated;
    this.#closing = closing;
    this.#host = host;
  }

  /** The sender, if anything has been sent. */
  get sender(): Sender | undefined {
    return this.#sender;
  }

  /** The bytes that wait for the peer. */
  get bufferedAmount(): number {
    return (this.#sender ?? this.#socket).bufferedAmount;
  }

  /** The sender, if the connection is open. */
  writable(): Sender | undefined {
    if (!this.#closing.isOpen) return undefined;
    if (this.#closing.isWritable) return this.#sender ??= this.#create();
    // In Node the socket is closing from the close frame of the peer to the end of TCP,
    // which may never come.
    this.#closing.stuck();
    return undefined;
  }

  /** Sends credit, also while this side waits for the peer to close. */
  sendCredit(text: string): void {
    if (!this.#closing.isWritable) return;
    (this.#sender ??= this.#create()).sendCredit(text);
  }

  /** Creates the sender before anything is sent. */
  prepare(): void {
    this.#sender = this.#create();
  }

  #create(): Sender {
    return new Sender(
      this.#socket,
      this.#options.writerLimits,
      this.negotiated ?? { isEvents: false },
      (signal) => this.#onSignal(signal),
      this.#options,
      this.#options.budget,
    );
  }

  #onSignal(signal: WriterSignal): void {
    if (signal === "stuck") this.#closing.stuck();
    else if (signal === "drained") {
      // While the connection closes, nobody may send.
      if (this.#closing.isOpen) this.#host.drained();
    } else {
      const isNotReading = signal === "overflow" || this.#sender?.isPeerActive;
      this.#closing.terminate(isNotReading ? "backpressure" : "timeout");
    }
  }
}
