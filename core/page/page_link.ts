/**
 * One open connection of a page: reads and writes the frames of `events.v1`, sends no
 * faster than the server reads, and tells the end once.
 *
 * @module
 */

import { Message, type MessageAuthor } from "../../message.ts";
import { EarlyMessageQueue } from "../connection/early_message_queue.ts";
import { endedError } from "../connection/ended_error.ts";
import type { MessageFrom, Owner } from "../connection/owner.ts";
import { emitMessage, isMessageHeard } from "../connection/typed_messages.ts";
import { emitEnd } from "../events/emit_end.ts";
import { emitters } from "../events/emitter.ts";
import {
  assertKnown,
  type Cause,
  CloseCode,
  type ConnectionEnd,
  type ConnectionEndedError,
  ignoreRejection,
  optionNames,
  rejected,
  RequestError,
  RESOLVED,
} from "../events/errors.ts";
import { DrainEvent } from "../events/event_types.ts";
import { decodeFrame } from "../protocol/frame_decoder.ts";
import {
  encodeAddressed,
  encodeCredit,
  encodeFailure,
  encodePing,
  encodeTextBatch,
  escapeFrame,
  isCounted,
  isMarked,
  MAX_BATCH_BYTES,
  MAX_BATCH_ITEMS,
  type Payload,
  type PositionUpdate,
  type RequestFailure,
  SEPARATOR,
} from "../protocol/frames.ts";
import { PartJoiner, splitIntoParts } from "../protocol/parts.ts";
import type { ResumePoint } from "../protocol/resume_point.ts";
import { handlersFeature } from "../requests/handlers_feature.ts";
import {
  type IncomingRequest,
  type Responder,
  UNHANDLED_FAILURE,
} from "../requests/incoming_request.ts";
import type { RequestOptions } from "../requests/session.ts";
import {
  afterEventLoopTurn,
  isLossReportedAsClean,
} from "../runtime/websocket.ts";
import { assertOverflow } from "../sending/backpressure_queue.ts";
import { creditCost, INITIAL_CREDIT } from "../sending/credit_window.ts";
import type { QueuedMessage, SendOptions } from "../sending/send_queue.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import {
  decodeWith,
  encodeValue,
  type Frame,
  isLargerThan,
  sizeOf,
  toBytes,
} from "../values/codec.ts";
import type { Outgoing, SocketTypes } from "../values/types.ts";
import { Outbox } from "./outbox.ts";
import type { OpenSocket, SocketEvent } from "./page_socket.ts";
import { PageLiveness, type WatchedLink } from "./page_liveness.ts";
import { IDLE_TIMEOUT_MS, type ResolvedPageOptions } from "./page_options.ts";
import { SentRequests } from "./page_requests.ts";

/** The connection of a link, which emits what is received. */
export interface LinkedConnection<Types extends SocketTypes>
  extends EventTarget, MessageAuthor<Outgoing<Types>> {}

/** What a link is made of. */
export interface LinkInit<
  Types extends SocketTypes,
  C extends LinkedConnection<Types>,
> {
  readonly open: OpenSocket;
  readonly options: ResolvedPageOptions;
  readonly resumePoint: ResumePoint;
  readonly owner: Owner<Types, C>;
}

/** A close that this side has started. */
interface PageClosing extends ConnectionEnd {
  readonly type: "close";
  /** Whether the close frame has certainly left. */
  isSent: boolean;
}

/** How often to look whether a full socket has room again, in milliseconds. */
const ROOM_POLL_MS = 20;

/** What marks and ids may add to a message, in bytes. */
const HEAD_BYTES = 64;

const MALFORMED_FRAME = "A frame of events.v1 is malformed";

/** One open connection. */
export class PageLink<
  Types extends SocketTypes,
  C extends LinkedConnection<Types>,
> implements WatchedLink, Responder {
  readonly name: string;
  readonly outbox: Outbox;
  readonly isEvents: boolean;
  /** Settles when the end has been told. */
  readonly ended: Deferred<void> = withResolvers();
  sentBytes = 0;
  /** Takes the frames of channels. */
  extension: ((payload: Payload) => void) | undefined;
  readonly #open: OpenSocket;
  readonly #options: ResolvedPageOptions;
  readonly #resumePoint: ResumePoint;
  readonly #connection: C;
  readonly #owner: Owner<Types, C>;
  readonly #requests: SentRequests;
  readonly #liveness: PageLiveness;
  #closing: PageClosing | undefined;
  #closeTimer: Timer | undefined;
  #cancelTurn: (() => void) | undefined;
  #end: ConnectionEnd | undefined;
  #endTimer: Timer | undefined;
  #isEndTold = false;
  /** Whether the runtime has reported an error. */
  #hasFailed = false;
  /** The number of listeners that are running. */
  #depth = 0;
  #limit: number = INITIAL_CREDIT;
  #spent = 0;
  #received = 0;
  /** The bytes that were sent since the last message for any connection. */
  #ownBytes = Infinity;
  #texts: string[] = [];
  #textSize = 0;
  #drained: Deferred<void> | undefined;
  #poll: ReturnType<typeof setInterval> | undefined;
  #joiner: PartJoiner | undefined;
  #partsPongAt = 0;
  /** Whether messages wait for a listener. */
  #isOpening = true;
  #isConnectPending = false;
  #early:
    | EarlyMessageQueue<
      [message: MessageFrom<Types, C>, request: IncomingRequest | undefined]
    >
    | undefined;
  #earlyTimer: Timer | undefined;

  constructor(
    connection: C,
    name: string,
    { open, options, resumePoint, owner }: LinkInit<Types, C>,
  ) {
    const { isEvents } = open.negotiated;
    this.name = name;
    this.isEvents = isEvents;
    this.outbox = new Outbox(options);
    this.#connection = connection;
    this.#open = open;
    this.#options = options;
    this.#resumePoint = resumePoint;
    this.#owner = owner;
    this.#requests = new SentRequests(name);
    const { idleTimeout = isEvents ? IDLE_TIMEOUT_MS : 0 } = options;
    this.#liveness = new PageLiveness(
      this,
      idleTimeout === Infinity ? 0 : idleTimeout,
    );
  }

  /** Calls the listeners of `connect`, and begins to handle what the socket reports. */
  start(): void {
    this.run(() => {
      const pending = this.#owner.opened(
        this.#connection,
        () => this.deliverEarly(),
      );
      // Messages without a listener wait until these have finished.
      if (pending.length > 0) this.#awaitConnect(pending);
    });
    this.#open.events.pipe((event) => this.#handle(event));
  }

  #awaitConnect(pending: readonly Promise<unknown>[]): void {
    this.#isConnectPending = true;
    Promise.all(pending).then(() => {
      this.#isConnectPending = false;
      if (this.#early) this.#stopEarlySoon();
    });
  }

  /** Whether the connection takes messages. */
  get canSend(): boolean {
    return this.isOpen && this.#isWritable;
  }

  get isOpen(): boolean {
    return !this.#closing && !this.#end;
  }

  get readyState(): 1 | 2 | 3 {
    return this.#end ? 3 : this.#closing ? 2 : 1;
  }

  /** See {@linkcode WatchedLink}. */
  get buffered(): number {
    return this.#open.socket.bufferedAmount + this.#textSize;
  }

  /** See {@linkcode WatchedLink}. */
  ping(): void {
    this.#sendFree(encodePing("ping", ""));
  }

  /** See {@linkcode WatchedLink}. */
  lost(): void {
    this.terminate("timeout");
  }

  /** Asks the server for a sign of life; see {@linkcode PageLiveness.probe}. */
  probe(timeout: number): void {
    if (this.isOpen) this.#liveness.probe(timeout);
  }

  /** Sends a message, or a frame of `events.v1` that costs credit. */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
    isMarked = false,
  ): Promise<void> {
    assertOverflow(options);
    if (!this.canSend) return rejected(this.error("send"));
    this.#owner.superseded?.(options);
    if (!this.outbox.first && this.#maySend) {
      return this.#write(frame, isTransferable, isMarked);
    }
    if (options?.volatile) return this.outbox.dropVolatile();
    const overflowed = () => {
      this.terminate("backpressure");
      return this.error("send");
    };
    return this.outbox.add(
      frame,
      options,
      isTransferable,
      isMarked,
      // Messages for any connection leave room for those that only this one can send.
      isTransferable ? this.buffered : Math.min(this.buffered, this.#ownBytes),
      isTransferable ? undefined : overflowed,
    );
  }

  /** Sends messages that have waited for this connection. */
  adopt(entries: readonly QueuedMessage[]): void {
    this.outbox.adopt(entries);
    this.#flush();
  }

  /**
   * Sends a request.
   *
   * @param encode Encodes its frame, unless it is an ordinary request.
   * @returns A promise of the data of the reply. Its rejection is never unhandled.
   */
  request(
    data: unknown,
    options: RequestOptions,
    encode: (id: number, frame: Frame) => Frame = encodePageRequest,
  ): Promise<unknown> {
    assertKnown("request()", options, PAGE_REQUEST_OPTIONS);
    const frame = encodeValue(data);
    if (!this.canSend) return rejected(this.error("send"));
    if (!this.isEvents) {
      return rejected(
        new DOMException(
          `Cannot send a request to ${this.name} as it does not support events.v1: send a message instead, or let the peer offer that subprotocol`,
          "NotSupportedError",
        ),
      );
    }
    const reply = this.#requests.add(
      options,
      (id) => this.send(encode(id, frame), undefined, false, true),
    );
    return ignoreRejection(
      reply.then((payload) => decodeWith(payload, undefined)),
    );
  }

  /** See {@linkcode Responder}. */
  encode(data: unknown): Frame {
    return encodeValue(data);
  }

  /** See {@linkcode Responder}. */
  reply(id: number, frame: Frame): Promise<void> {
    if (!this.#isWritable) return rejected(this.error("send"));
    this.#put(encodeAddressed("reply", id, frame));
    if (this.buffered > this.#options.maxBufferedAmount) {
      this.terminate("backpressure");
    }
    return RESOLVED;
  }

  /** See {@linkcode Responder}. */
  refuse(id: number, failure: RequestFailure): void {
    this.#sendFree(encodeFailure(id, failure));
  }

  /** See {@linkcode Responder}. */
  failed(error: unknown): void {
    this.#report(error, "request");
  }

  /** Starts the closing handshake, after all that was sent before. */
  close(code: number, reason: string, cause: Cause): void {
    this.discardEarly();
    if (!this.isOpen) return;
    this.#closing = { type: "close", code, reason, cause, isSent: false };
    this.#liveness.stop();
    this.#closeTimer = startTimer(
      () => this.terminate("timeout"),
      this.#options.closeTimeout,
    );
    this.#flush();
  }

  /** Drops the connection. A page can only start the closing handshake. */
  terminate(cause: Cause): void {
    this.discardEarly();
    this.#ended({ ...LOST, cause });
    this.#open.socket.close();
  }

  /** Closes the connection because the server violates the protocol. */
  protocolError(): void {
    // A client may not send 1002.
    this.close(CloseCode.ProtocolError + 3000, MALFORMED_FRAME, "protocol");
  }

  /** Creates the error of an operation that comes too late. */
  error(attempt: Parameters<typeof endedError>[0]): ConnectionEndedError {
    return endedError(attempt, this.name, this.#end ?? "closing");
  }

  /** Delivers the messages that wait, as there is a listener. */
  deliverEarly(): void {
    queueMicrotask(() => {
      const early = this.#early;
      if (!early) return;
      while (early === this.#early && this.#isHeard) {
        const next = early.shift();
        if (!next) {
          this.#early = undefined;
          break;
        }
        this.run(() => this.#emit(next[0]));
      }
      const dropped = early.takeDropped();
      if (dropped > 0) {
        this.#report(
          new RangeError(
            `Cannot deliver the first ${dropped} messages as too many arrived before there was a listener: add one before you await`,
          ),
          "message",
        );
      }
      this.#tellEnd();
    });
  }

  /** Forgets the messages that wait for a listener. */
  discardEarly(): void {
    this.#early = undefined;
    this.#tellEnd();
  }

  /** Calls listeners. An end is told after them. */
  run(action: () => void): void {
    this.#depth++;
    action();
    this.#depth--;
    this.#tellEnd();
  }

  /** Whether the socket takes frames. */
  get #isWritable(): boolean {
    return !this.#end && this.#open.socket.readyState === 1;
  }

  /** Whether a message may be sent now. */
  get #maySend(): boolean {
    return this.#isWritable && !this.#drained &&
      (!this.isEvents || this.#spent < this.#limit);
  }

  /** Passes a message to the socket. */
  #write(
    frame: Frame,
    isTransferable: boolean,
    isMarked = false,
  ): Promise<void> {
    if (this.isEvents) {
      if (!isMarked) frame = escapeFrame(frame);
      this.#spent += creditCost(frame);
    }
    this.#ownBytes = isTransferable ? 0 : this.#ownBytes + sizeOf(frame);
    this.#put(frame);
    const { highWaterMark } = this.#options;
    if (this.buffered < highWaterMark) return RESOLVED;
    this.#drained ??= withResolvers();
    const { promise } = this.#drained;
    ignoreRejection(promise);
    // No socket tells that it has room again.
    this.#poll ??= setInterval(() => {
      if (this.buffered <= highWaterMark / 2) this.#drain();
    }, ROOM_POLL_MS);
    return isTransferable ? promise.catch(() => {}) : promise;
  }

  #drain(): void {
    clearInterval(this.#poll);
    this.#drained?.resolve();
    this.#drained = this.#poll = undefined;
    this.#flush();
    if (!this.#drained && !this.outbox.first) this.run(() => this.#emitDrain());
  }

  /** Sends what waits, and the close frame after it. */
  #flush(): void {
    const { outbox } = this;
    for (
      let entry = outbox.first;
      entry && this.#maySend;
      entry = outbox.first
    ) {
      outbox.shift();
      const { frame, isTransferable, isMarked } = entry;
      entry.resolve(this.#write(frame, isTransferable, isMarked));
    }
    const closing = this.#closing;
    if (!closing || outbox.first || this.#cancelTurn) return;
    this.#sendBatch();
    // The runtime may have received the close frame of the server already.
    if (!this.#isWritable) return;
    this.#open.socket.close(closing.code, closing.reason);
    this.#cancelTurn = afterEventLoopTurn(() => closing.isSent = true);
  }

  /** Sends a frame that does not wait, unless the server does not read. */
  #sendFree(frame: string): void {
    if (this.#isWritable && !this.#drained) this.#put(frame);
  }

  /** Passes a frame to the socket, joined with others of the same turn. */
  #put(frame: Frame): void {
    const { socket, negotiated } = this.#open;
    const size = sizeOf(frame);
    this.sentBytes += size;
    const isText = typeof frame === "string";
    const mayBatch = this.isEvents && isText && !frame.includes(SEPARATOR) &&
      size * 3 < MAX_TEXTS_SIZE;
    const isFull = this.#texts.length === MAX_BATCH_ITEMS ||
      // A character takes at most three bytes.
      (this.#textSize + size) * 3 + this.#texts.length > MAX_TEXTS_SIZE;
    if (!mayBatch || isFull) this.#sendBatch();
    if (mayBatch) {
      if (this.#texts.push(frame) === 1) {
        queueMicrotask(() => this.#sendBatch());
      }
      this.#textSize += size;
    } else if (
      negotiated.hasParts && size > MAX_BATCH_BYTES && !(frame instanceof Blob)
    ) {
      const parts = isText
        ? splitIntoParts(frame)
        : splitIntoParts(toBytes(frame));
      for (const part of parts) socket.send(part);
    } else socket.send(frame);
  }

  #sendBatch(): void {
    const texts = this.#texts;
    const [first] = texts;
    if (first === undefined) return;
    this.#texts = [];
    this.#textSize = 0;
    // A closing socket would silently discard it.
    if (!this.#isWritable) return;
    this.#open.socket.send(texts.length > 1 ? encodeTextBatch(texts) : first);
  }

  #handle(event: SocketEvent): void {
    if ("data" in event) this.#receive(event.data);
    else if ("wasClean" in event) {
      this.#ended(
        interpretPageClose(
          event,
          this.#closing,
          this.#hasFailed,
          this.isEvents,
        ),
      );
    } else this.#hasFailed = true;
  }

  #receive(payload: Payload): void {
    this.#liveness.heard();
    this.#resumePoint.noteActivity();
    const { maxPayload } = this.#options;
    // The limit is for each message, and a batch holds many.
    const max = Math.max(maxPayload, MAX_BATCH_BYTES) + HEAD_BYTES;
    if (!this.isEvents) this.#deliver(payload, payload);
    else if (isMarked(payload) && isLargerThan(payload, max)) this.#tooBig();
    else this.#receiveFrame(payload, max);
  }

  /** @param max The largest frame that may come in parts; 0 in a batch or in parts. */
  #receiveFrame(payload: Payload, max: number): void {
    if (!isMarked(payload)) return this.#deliver(payload, payload);
    const frame = decodeFrame(payload);
    if (frame?.kind === "batch" && max > 0) {
      for (const item of frame.items) this.#receiveFrame(item, 0);
      return;
    }
    if (frame?.kind === "credit") {
      this.#limit = Math.max(this.#limit, frame.limit);
      return this.#flush();
    }
    const isPart = frame?.kind === "part" && max > 0 &&
      this.#open.negotiated.hasParts;
    if (isPart) return this.#join(frame.payload, frame.isLast, max);
    // The server may need the credit of what is dropped to send its close frame.
    if (!this.isOpen) {
      return isCounted(payload) ? this.skip(payload) : undefined;
    }
    switch (frame?.kind) {
      case "message":
        return this.#deliver(frame.payload, payload);
      case "request":
        return this.#deliver(frame.payload, payload, frame.id);
      case "stored":
        this.updatePosition(frame.offset);
        return this.#deliver(frame.payload, payload);
      case "position":
        this.skip(payload);
        return this.updatePosition(frame.update);
      case "reply":
        if (!this.#requests.hasSent(frame.id)) break;
        return this.#requests.settle(frame.id)?.resolve(frame.payload);
      case "failure": {
        if (!this.#requests.hasSent(frame.id)) break;
        const { message, code } = frame.failure;
        return this.#requests.settle(frame.id)?.reject(
          new RequestError(message, code),
        );
      }
      case "ping":
        return this.#sendFree(encodePing("pong", frame.text));
      case "pong":
        return frame.text === "" ? this.#liveness.answered() : undefined;
      case "trace":
        return;
      case "unknown":
        if (!isCounted(payload)) return;
        return this.extension ? this.extension(payload) : this.skip(payload);
    }
    this.protocolError();
  }

  #join(payload: Payload, isLast: boolean, max: number): void {
    const now = performance.now();
    const joiner = this.#joiner ??= new PartJoiner();
    if (!joiner.add(payload)) return this.protocolError();
    if (joiner.size > max) return this.#tooBig();
    if (isLast) {
      this.#joiner = undefined;
      return this.#receiveFrame(joiner.take(), 0);
    }
    // The server cannot get a pong while its frame is under way.
    if (now - this.#partsPongAt >= 1_000) {
      this.#partsPongAt = now;
      this.#sendFree(encodePing("pong", "parts"));
    }
  }

  /** Counts a received frame that costs credit. This side gives credit without limit. */
  skip(frame: Payload): void {
    const before = this.#received;
    this.#received += creditCost(frame);
    const half = INITIAL_CREDIT / 2;
    if (this.isEvents && before < half && this.#received >= half) {
      this.#put(encodeCredit(Number.MAX_SAFE_INTEGER));
    }
  }

  /** Updates the position in the stream of stored messages. */
  updatePosition(update: PositionUpdate | number): void {
    const resumePoint = this.#resumePoint;
    if (typeof update === "number") return resumePoint.advance(update);
    const { position, recovered, token } = update;
    resumePoint.update(position, token);
    if (recovered === undefined || !this.isOpen) return;
    this.run(() => this.#owner.recovered?.(recovered));
  }

  #tooBig(): void {
    const { maxPayload } = this.#options;
    // A client may not send 1009.
    this.close(
      CloseCode.TooBig + 3000,
      `A message may have at most ${maxPayload} bytes`,
      "limit",
    );
  }

  /** Delivers a message or a request, unless this side closes the connection. */
  #deliver(payload: Payload, frame: Payload, id?: number): void {
    this.skip(frame);
    if (!this.isOpen) return;
    if (isLargerThan(payload, this.#options.maxPayload)) return this.#tooBig();
    const request = id === undefined ? undefined : this.#incoming(id);
    if (id !== undefined && !request) return;
    const message: MessageFrom<Types, C> = new Message(
      payload,
      this.#connection,
      undefined,
      request && { answer: (data) => request.reply(data) },
    );
    const handler = request && this.#owner.findHandler(message);
    if (request && handler) {
      this.run(() => {
        request.run(() => handler(message));
      });
    } else if (this.#isOpening && (this.#early || !this.#isHeard)) {
      this.#early ??= new EarlyMessageQueue();
      this.#early.push([message, request], message.size);
      if (!this.#isConnectPending) this.#stopEarlySoon();
    } else {
      this.#refuseIfUnheard(message, request);
      this.run(() => this.#emit(message));
    }
  }

  /** Creates a request, if this page has loaded the code that replies to one. */
  #incoming(id: number): IncomingRequest | undefined {
    try {
      const { IncomingRequest } = handlersFeature.require(
        "requests of the server",
      );
      return new IncomingRequest(id, this);
    } catch (error) {
      this.refuse(id, UNHANDLED_FAILURE);
      this.#report(error, "message");
      return undefined;
    }
  }

  #refuseIfUnheard(
    message: MessageFrom<Types, C>,
    request: IncomingRequest | undefined,
  ): void {
    if (!request || isMessageHeard(this.#connection, message)) return;
    if (!this.#owner.isMessageHeard(message)) request.refuse(UNHANDLED_FAILURE);
  }

  get #isHeard(): boolean {
    const connection = this.#connection;
    return emitters.isHeard(connection, "message") ||
      emitters.hasTyped(connection) || this.#owner.hasListener("message");
  }

  /** Emits a message, first on the client. */
  #emit(message: MessageFrom<Types, C>): void {
    this.#owner.received(message);
    emitMessage(this.#connection, message);
  }

  #emitDrain(): void {
    this.#owner.drained();
    emitters.emit(this.#connection, "drain", DrainEvent, []);
  }

  #report(error: unknown, from: string): void {
    this.#owner.failed(error, from, this.#connection);
  }

  #stopEarlySoon(): void {
    this.#earlyTimer ??= setTimeout(() => {
      this.#isOpening = false;
      const early = this.#early;
      this.#early = undefined;
      for (let next = early?.shift(); next; next = early?.shift()) {
        this.#refuseIfUnheard(...next);
      }
      this.#tellEnd();
    }, 0);
  }

  /** Ends the connection. */
  #ended(end: ConnectionEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.#open.events.stop();
    this.#liveness.stop();
    clearTimeout(this.#closeTimer);
    clearInterval(this.#poll);
    this.#cancelTurn?.();
    if (end.type === "close") this.#drained?.resolve();
    else this.#drained?.reject(this.error("send"));
    this.#requests.stop(() => this.error("hear"));
    const unsent = this.outbox.takeAll().filter((entry) => {
      if (!entry.isTransferable) entry.reject(this.error("send"));
      return entry.isTransferable;
    });
    if (unsent.length > 0) this.#owner.unsent(unsent);
    this.#tellEnd();
  }

  /** Tells the end, unless messages that came before it wait for a listener. */
  #tellEnd(): void {
    const end = this.#end;
    if (!end || this.#isEndTold || this.#depth > 0) return;
    // The listeners of `connect` may themselves wait for the end.
    const mayOvertake = this.#isConnectPending && this.#isEndHeard;
    if (this.#early && !mayOvertake) {
      this.#endTimer ??= startTimer(
        () => this.discardEarly(),
        this.#options.closeTimeout,
      );
      return;
    }
    this.#isEndTold = true;
    this.#early = undefined;
    clearTimeout(this.#earlyTimer);
    clearTimeout(this.#endTimer);
    const connection = this.#connection;
    // The listeners of the client come first, whatever they do.
    this.#owner.ended(connection, end);
    emitters.stopWaiting(
      connection,
      () => this.error("wait"),
      true,
      () => emitEnd(connection, connection, end),
    );
    this.ended.resolve();
  }

  get #isEndHeard(): boolean {
    return (["close", "disconnect", "end"] as const).some((type) =>
      emitters.isHeard(this.#connection, type) || this.#owner.hasListener(type)
    );
  }
}

/** The maximum size of the texts of a batch, in bytes. */
const MAX_TEXTS_SIZE = MAX_BATCH_BYTES - 2;

/** A connection that is lost. */
const LOST = {
  type: "disconnect",
  code: CloseCode.Abnormal,
  reason: "",
} as const;

const PAGE_REQUEST_OPTIONS = optionNames<RequestOptions>({
  timeout: true,
  signal: true,
});

function encodePageRequest(id: number, frame: Frame): Frame {
  return encodeAddressed("request", id, frame);
}

/**
 * Decides how an end is reported. `close_decision.ts` decides the same for the sockets of
 * other runtimes and for servers.
 */
function interpretPageClose(
  { wasClean, code, reason }: CloseEvent,
  closing: PageClosing | undefined,
  hasFailed: boolean,
  isEvents: boolean,
): ConnectionEnd {
  const isLostCode = code === 0 || code === CloseCode.NoStatus ||
    code === CloseCode.Abnormal;
  // Deno reports a closing handshake under traffic as unclean.
  const isClean = wasClean || (!hasFailed && !isLostCode);
  const peer = { type: "close", code, reason, cause: "peer" } as const;
  if (!closing) {
    if (isClean) return peer;
    return { ...LOST, ...!isLostCode && { code, reason }, cause: "network" };
  }
  const { isSent, ...own } = closing;
  const isEcho = code === own.code && (reason === "" || reason === own.reason);
  if (!isClean) return { ...LOST, cause: "network" };
  // The server's close frame came first, and the runtime dropped ours.
  if (!isSent && !isEcho) return peer;
  // An empty close frame answers any close (RFC 6455, section 5.5.1).
  if (code === CloseCode.NoStatus) {
    return isLossReportedAsClean() ? { ...LOST, cause: "network" } : own;
  }
  // A server that speaks events.v1 answers with the same code, unless both have closed.
  return isEcho || !isEvents ? own : peer;
}
