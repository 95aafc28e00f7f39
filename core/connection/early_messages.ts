/**
 * Decides what happens to a message that is received before there is a listener. While a
 * connection is opening, it waits for one: until the turn of the event loop after the
 * last `connect` listener has finished. Then it is dropped, and a request is refused.
 *
 * @module
 */

import { emitters } from "../events/emitter.ts";
import type { IncomingRequest } from "../requests/incoming_request.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import type { Timer } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";
import type { ConnectionHost } from "./connection_host.ts";
import { EarlyMessageQueue } from "./early_message_queue.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";
import { emitMessage } from "./typed_messages.ts";
import { refuseIfUnheard } from "./unhandled_requests.ts";

/** What the dispatcher does for early messages. */
export interface EarlyMessagesDispatcher {
  /** Calls listeners, and emits the end afterwards if the connection has ended. */
  callListeners(action: () => void): void;
  /** Reports an error of this side. */
  reportError(error: unknown, from: string): void;
}

/** A message that waits for a listener, and its request if it is one. */
interface EarlyMessage<M> {
  readonly message: M;
  readonly request: IncomingRequest | undefined;
}

/** The messages of one connection that were received before there is a listener. */
export class EarlyMessages<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> {
  readonly #host: ConnectionHost<Types, C>;
  readonly #dispatcher: EarlyMessagesDispatcher;
  #isOpening = false;
  #isConnectPending = false;
  #queue: EarlyMessageQueue<EarlyMessage<MessageFrom<Types, C>>> | undefined;
  #timer: Timer | undefined;

  /** Creates the early messages of a connection that is not open yet. */
  constructor(
    host: ConnectionHost<Types, C>,
    dispatcher: EarlyMessagesDispatcher,
  ) {
    this.#host = host;
    this.#dispatcher = dispatcher;
  }

  /** Whether a message without a listener waits for one. */
  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Whether some `connect` listeners are still running. */
  get isConnectPending(): boolean {
    return this.#isConnectPending;
  }

  /** Whether messages wait. */
  get isWaiting(): boolean {
    return this.#queue !== undefined;
  }

  /** The approximate memory of the messages, in bytes or UTF-16 code units. */
  get memory(): number {
    const queue = this.#queue;
    return queue ? queue.size + queue.length * MESSAGE_COST : 0;
  }

  /** From now on, a message without a listener waits for one. */
  start(): void {
    this.#isOpening = true;
  }

  /** Called with the promises of the `connect` listeners that are still running. */
  awaitConnect(pending: readonly Promise<unknown>[], done: () => void): void {
    this.#isConnectPending = true;
    Promise.all(pending).then(() => {
      this.#isConnectPending = false;
      done();
      if (this.#queue) this.#stopSoon();
    });
  }

  /** Drops the messages. From now on, no message waits for a listener. */
  stop(): void {
    this.#isOpening = false;
    this.#queue = undefined;
    clearTimeout(this.#timer);
  }

  /** Drops the messages. */
  discard(): void {
    this.#queue = undefined;
  }

  /**
   * Adds a message, unless it can be emitted now. Messages stay in order, so none can
   * while others wait.
   *
   * @returns Whether the message waits; undefined if it was dropped, as the connection
   * has ended.
   */
  add(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
  ): boolean | undefined {
    if (this.#queue === undefined && this.#hasListener()) return false;
    if (!this.#host.isAccepting) return undefined;
    this.#queue ??= new EarlyMessageQueue();
    this.#queue.push({ message, request }, message.size);
    if (!this.#isConnectPending) this.#stopSoon();
    return true;
  }

  /** Emits the messages to a listener that has just been added, a little later. */
  deliverSoon(): void {
    if (this.#queue) queueMicrotask(() => this.#deliver());
  }

  /**
   * Whether a message would be heard. The listeners of a server are not late: they hear
   * each message when it arrives, even while listeners of the connection are added.
   */
  #hasListener(): boolean {
    const { connection, closing, owner } = this.#host;
    return emitters.isHeard(connection, "message") ||
      emitters.hasTyped(connection) ||
      (!closing.isServer && owner.hasListener("message"));
  }

  #deliver(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    this.#dispatcher.callListeners(() => {
      while (queue === this.#queue && this.#hasListener()) {
        const next = queue.shift();
        if (next === undefined) {
          this.#queue = undefined;
          break;
        }
        emitEarly(this.#host, next.message);
      }
      const dropped = queue.takeDropped();
      if (dropped === 0) return;
      this.#dispatcher.reportError(
        new RangeError(
          `Cannot deliver the first ${dropped} messages as too many arrived before there was a listener: add one before you await`,
        ),
        "message",
      );
    });
  }

  /** Stops after the listeners that have just been called could add another. */
  #stopSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#isOpening = false;
      const queue = this.#queue;
      this.#queue = undefined;
      const host = this.#host;
      if (host.closing.isEnded) return host.notifyEnd();
      for (let next = queue?.shift(); next; next = queue?.shift()) {
        if (next.request) refuseIfUnheard(host, next.message, next.request);
      }
    }, 0);
  }
}

/** Emits a message to its listeners that were not called when it arrived. */
export function emitEarly<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
>(
  { closing, owner, connection }: ConnectionHost<Types, C>,
  message: MessageFrom<Types, C>,
  pending?: Promise<unknown>[],
): void {
  if (!closing.isServer) owner.received(message, pending);
  emitMessage(connection, message, pending);
}
