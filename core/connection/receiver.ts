/**
 * The receiving side of a connection: counts frames, joins parts and batches, applies the
 * limits of the guard, and passes each payload to the dispatcher.
 *
 * @module
 */

import { emitters } from "../events/emitter.ts";
import { type Cause, CloseCode } from "../events/errors.ts";
import {
  isCounted,
  isMarked,
  isPart,
  isRetryFrame,
  MAX_BATCH_BYTES,
  type Payload,
  type PositionUpdate,
} from "../protocol/frames.ts";
import type { ResumePoint } from "../protocol/resume_point.ts";
import type { EventsSession, SessionTransport } from "../requests/session.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { TrafficCount } from "../sending/socket_buffer.ts";
import { type Frame, isLargerThan, sizeOf } from "../values/codec.ts";
import type { SocketTypes } from "../values/types.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { InboundGuard } from "./inbound_guard.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { OwnedConnection } from "./owner.ts";
import type { FrameReceiver } from "./sliced_receiver.ts";

/** How many bytes marks may add to a message. */
const MARK_OVERHEAD_BYTES = 64;

/** What a connection receives. */
export class Receiver<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> implements SessionTransport, FrameReceiver {
  /** The state of `events.v1`, if it was negotiated. */
  session: EventsSession | undefined;
  /** Takes the frames of channels, if the program uses channels. */
  extension:
    | ((connection: C, payload: Payload, key: string | undefined) => void)
    | undefined;
  readonly #dispatcher: Dispatcher<Types, C>;
  readonly #resumePoint: ResumePoint | undefined;
  readonly #host: ConnectionHost<Types, C>;
  /** Created with the first frame, if the owner limits its peers. */
  #guard: InboundGuard | undefined;
  /** The key of the next message, if only the newest of that key matters. */
  #key: string | undefined;
  #messages = 0;
  #bytes = 0;

  /** Creates the receiving side of a connection that is not open yet. */
  constructor(
    host: ConnectionHost<Types, C>,
    dispatcher: Dispatcher<Types, C>,
    resumePoint: ResumePoint | undefined,
  ) {
    this.#host = host;
    this.#dispatcher = dispatcher;
    this.#resumePoint = resumePoint;
  }

  /** The number of messages received, and their bytes. */
  get received(): TrafficCount {
    return { messages: this.#messages, bytes: this.#bytes };
  }

  /** The number of messages dropped because of a limit, by a hook, or for a newer one. */
  get dropped(): number {
    return (this.#guard?.dropped ?? 0) + this.#dispatcher.dropped +
      this.#dispatcher.superseded;
  }

  /** Whether frames wait for the next slice. */
  get isBusy(): boolean {
    return this.#guard?.isBusy === true;
  }

  /** The approximate memory that received messages take, in bytes. */
  get memory(): number {
    return (this.#guard?.memory ?? 0) + this.#dispatcher.memory +
      emitters.queuedSize(this.#host.connection) * 2 +
      (this.session?.partsSize ?? 0) * 2;
  }

  /** Whether messages are still emitted: after the end, those that wait. */
  get isAccepting(): boolean {
    return this.#host.closing.isOpen || this.isBusy;
  }

  /** Takes a frame of the socket. */
  receive(payload: Payload): void {
    const closing = this.#host.closing;
    const { state } = closing;
    if (state.phase !== "open") {
      if (state.phase !== "closing") return;
      return this.#receiveWhileClosing(payload, state.closing.cause);
    }
    this.#host.outbound.sender?.noteActivity();
    closing.idleWatch?.reset();
    this.#resumePoint?.noteActivity();
    const { session } = this;
    let isMarkedFrame = session !== undefined && isMarked(payload);
    // The limit is for each message, and a batch holds many.
    if (isMarkedFrame && isLargerThan(payload, this.maxFrame)) {
      return this.frameTooBig();
    }
    if (isMarkedFrame && isPart(payload)) {
      const whole = session?.join(payload);
      if (whole === undefined) return this.#spend(payload);
      payload = whole;
      isMarkedFrame = isMarked(payload);
    }
    const guard = this.#guard ??= this.#host.options.guard?.(closing, this);
    if (guard?.mustWait(sizeOf(payload))) {
      this.#postpone(guard, payload);
    } else if (isMarkedFrame) session?.receive(payload);
    else this.deliver(payload, payload);
  }

  /** Drops the frames that wait. In what is being dispatched, nothing more follows. */
  drop(): void {
    this.#guard?.drop();
    if (this.#host.closing.isEnded) this.stopSession();
  }

  /** Drops the frames that follow the one that is being dispatched in this slice. */
  dropFollowing(): void {
    if (this.#guard?.isDispatching) this.drop();
  }

  /** Rejects all requests that wait for a reply. */
  stopSession(): void {
    this.session?.stop(() => this.#host.closing.error("hear"));
  }

  /** Takes a frame that has waited for its slice, or an item of a batch. */
  dispatchFrame(payload: Payload, isItem: boolean): void {
    const { session } = this;
    if (!session) {
      // A plain frame was within the limits before it waited.
      this.#count(payload);
      this.#dispatcher.accept(payload, payload);
    } else if (!isItem && isMarked(payload)) session.receive(payload);
    else session.receiveItem(payload);
  }

  /** Whether the peer needs credit. */
  get isCredited(): boolean {
    return this.session !== undefined;
  }

  /** Called when no frame waits any more. */
  queueEmptied(): void {
    if (!this.#host.closing.isEnded) return;
    this.stopSession();
    if (!this.#dispatcher.isDispatching) this.#host.notifyEnd();
  }

  /** The address of the peer. */
  get name(): string {
    return this.#host.connection.remoteAddress;
  }

  /** Whether both sides send large frames in parts. */
  get hasParts(): boolean {
    return this.#host.outbound.negotiated?.hasParts ?? false;
  }

  /** The maximum size of a marked frame in bytes. */
  get maxFrame(): number {
    const { maxPayload } = this.#host.options;
    return Math.max(maxPayload, MAX_BATCH_BYTES) + MARK_OVERHEAD_BYTES;
  }

  /** Closes the connection because of a frame that is too big. */
  frameTooBig(): void {
    const { maxPayload } = this.#host.options;
    this.#host.closing.closeForViolation(
      CloseCode.TooBig,
      `A message may have at most ${maxPayload} bytes`,
      "limit",
    );
  }

  /** Sends a frame that needs no credit. */
  send(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.#host.outbound.writable()?.sendWithoutCredit(frame, options);
  }

  /** Sends credit to the peer. */
  sendCredit(text: string): void {
    this.#host.outbound.sendCredit(text);
  }

  /** Sends a frame that needs credit. */
  sendCounted(frame: Frame, options?: SendOptions): Promise<void> | undefined {
    return this.#host.outbound.writable()?.sendMarked(frame, options);
  }

  /** Dispatches the items of a batch. */
  unpackBatch(items: readonly Payload[]): void {
    this.#host.options.instrumentation?.batched("receive", items.length);
    if (this.#guard) return this.#guard.receiveItems(items);
    for (const item of items) {
      if (!this.isAccepting) return;
      this.session?.receiveItem(item);
    }
  }

  /** Takes a message or a request that has not been checked yet. */
  deliver(payload: Payload, frame: Payload, id?: number, trace?: string): void {
    if (!this.isAccepting) return;
    this.#count(payload);
    const key = this.#takeKey();
    if (!this.isWithinLimits(payload)) return this.skipMessage(frame);
    if (key === undefined || id !== undefined) {
      this.#dispatcher.accept(payload, frame, id, trace);
    } else this.#dispatcher.acceptLatest(payload, frame, key);
  }

  /** See {@linkcode SessionTransport}. */
  keyReceived(key: string): boolean {
    const isFirst = this.#key === undefined;
    this.#key = key;
    return isFirst;
  }

  /** Returns the key of the message that has arrived, if it has one, and forgets it. */
  #takeKey(): string | undefined {
    const key = this.#key;
    this.#key = undefined;
    return key;
  }

  /** Passes on frames of channels and of requests that are sent again, and ignores frames of later versions. */
  receiveOther(payload: Payload): void {
    if (!this.isAccepting) return;
    if (!isCounted(payload)) return void this.isWithinLimits(payload);
    this.#count(payload);
    const key = this.#takeKey();
    if (!this.isWithinLimits(payload)) return this.skipMessage(payload);
    const { connection, owner } = this.#host;
    if (isRetryFrame(payload)) {
      if (owner.receiveRetry) owner.receiveRetry(connection, payload);
      else this.skipMessage(payload);
    } else if (this.extension) this.extension(connection, payload, key);
    else this.skipMessage(payload);
  }

  /** Gives credit for a message that is dropped. */
  skipMessage(frame: Payload): void {
    this.#dispatcher.creditDropped(frame);
  }

  /** Whether a frame is within the limits. If not, it is dropped, or the peer closed. */
  isWithinLimits(payload: Payload): boolean {
    if (isLargerThan(payload, this.#host.options.maxPayload)) {
      this.frameTooBig();
      return false;
    }
    return this.#guard?.isWithinRate() ?? true;
  }

  /** Takes credit of the peer. */
  raiseLimit(limit: number): void {
    this.#host.outbound.sender?.raiseLimit(limit);
  }

  /** How long the next credit has to wait, in milliseconds. */
  creditDelay(): number {
    return this.#guard?.creditDelay() ?? 0;
  }

  /** Takes the position of this client in the history of the server. */
  updatePosition(update: PositionUpdate | number): boolean {
    const resumePoint = this.#resumePoint;
    if (typeof update === "number") resumePoint?.advance(update);
    else {
      const { position, recovered, token } = update;
      resumePoint?.update(position, token);
      if (recovered !== undefined) this.#host.owner.recovered?.(recovered);
    }
    return resumePoint !== undefined;
  }

  /** Closes the connection because the peer violated `events.v1`. */
  protocolError(reason: string): void {
    this.#host.closing.closeForViolation(
      CloseCode.ProtocolError,
      reason,
      "protocol",
    );
  }

  #count(payload: Payload): void {
    this.#messages++;
    this.#bytes += sizeOf(payload);
  }

  /** Lets a frame wait for the next slice. */
  #postpone(guard: InboundGuard, payload: Payload): void {
    const items = this.session?.batchItemsOf(payload);
    if (items) {
      this.#host.options.instrumentation?.batched("receive", items.length);
    }
    if (!this.session && !this.isWithinLimits(payload)) {
      return this.#count(payload);
    }
    const isTaken = guard.postpone(payload, items);
    this.#spend(payload);
    if (!isTaken) {
      this.#host.closing.closeForLimit(
        this.session
          ? "More messages came than there was credit for"
          : "Too many messages wait to be handled",
      );
    }
  }

  /** Counts memory against the budget. That may end this connection or another. */
  #spend(payload: Payload): void {
    this.#host.options.budget?.spend(sizeOf(payload) * 2 + MESSAGE_COST);
  }

  /** Takes only credit, so that what this side still has to send can be sent. */
  #receiveWhileClosing(payload: Payload, cause: Cause): void {
    this.#host.closing.idleWatch?.reset(); // else the frame would count as a pong
    if (this.#host.closing.countWhileClosing(cause, sizeOf(payload))) {
      this.session?.receiveWhileClosing(payload);
    }
  }
}
