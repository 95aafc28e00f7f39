/**
 * Hands messages to a socket no faster than its peer takes them. The runtime
 * would take whatever it is given, without a bound, and has no event that tells
 * that it has sent it.
 *
 * @module
 */

import { MESSAGE_COST } from "./buffer_budget.ts";
import { Backlog, type Entry, type SendOptions } from "./backlog.ts";
import { Clock } from "./poll_timer.ts";
import type { Frame } from "../values/codec.ts";
import { assertSize, ignoreRejection, RESOLVED } from "../events/errors.ts";
import { assertOverflow, type Overflow } from "./outbox.ts";
import type { SocketSink } from "../runtime/websocket.ts";

/** How much may wait for one peer, and what becomes of the rest. */
export interface FlowOptions {
  /**
   * How many bytes may wait in the runtime for one peer. Once there are so many,
   * `send` keeps messages here and its promise waits, until only half of it
   * waits there. Small messages count, too: no more than one for each 256 bytes of
   * this, or 1,024, wait there. What the runtime has it may keep even when the connection is
   * cut, for as long as the peer's TCP lives: a server that many strangers can
   * reach may want less of it.
   *
   * @default {1_048_576}
   */
  readonly highWaterMark?: number;
  /**
   * How many bytes may wait for one peer in all; in no more messages than one for
   * each 512 of them, or 1,024. What does not fit meets its `overflow`; a message
   * that is alone always fits. What a client that comes back has sent by
   * `client.send` does not count for what its connection sends itself.
   *
   * @default {16_777_216}
   */
  readonly maxBufferedAmount?: number;
  /**
   * What to do with a message that does not fit, unless its `send` says
   * otherwise.
   *
   * @default {"terminate"}
   */
  readonly overflow?: Overflow;
}

/** What the flows of one socket go by. */
export interface FlowLimits extends Required<FlowOptions> {
  /**
   * After how many milliseconds a peer that takes nothing of what waits for it is
   * given up; 0 for never.
   */
  readonly stallTimeout: number;
  /** How many messages make a socket full, however small they are. */
  readonly highWaterCount: number;
  /** How many messages may wait here. */
  readonly maxCount: number;
  /** Looks after the flows that are full, and wait. */
  readonly hurried: Clock;
  /** Looks after those that are not, but may stall unnoticed. */
  readonly leisurely: Clock;
}

/** What went one way. */
export interface Carried {
  /** How many messages. */
  readonly messages: number;
  /** How many bytes they had; the length of a text. */
  readonly bytes: number;
}

/** What a flow tells its connection. */
export type FlowSignal =
  /** All that has waited here is sent, and there is room again. */
  | "drained"
  /** A message does not fit that may not be dropped. */
  | "overflow"
  /** The peer has taken nothing for too long. */
  | "stalled"
  /** The socket closes by itself, while something waits. */
  | "stuck";

/**
 * Fills in the defaults of a socket's options. All its connections share them.
 *
 * @param options What the program says.
 * @param stallTimeout When to give a peer up that takes nothing.
 * @returns What a flow goes by.
 * @throws {RangeError} If a number is negative or none, or the policy unknown.
 */
export function flowLimits(
  options: FlowOptions,
  stallTimeout: number,
): FlowLimits {
  const {
    highWaterMark = 1024 * 1024,
    maxBufferedAmount = 16 * 1024 * 1024,
    overflow = "terminate",
  } = options;
  assertSize("highWaterMark", highWaterMark);
  assertSize("maxBufferedAmount", maxBufferedAmount);
  assertOverflow(options);
  return {
    highWaterMark,
    maxBufferedAmount,
    overflow,
    stallTimeout,
    highWaterCount: countFor(highWaterMark),
    maxCount: countFor(maxBufferedAmount / 2),
    hurried: new Clock(),
    leisurely: new Clock(),
  };
}

/**
 * How many messages may wait where so many bytes may: each costs 640 bytes here, and
 * 1,024 in the runtime, and nothing of that is in `bufferedAmount`.
 */
function countFor(bytes: number): number {
  return Math.max(1024, Math.floor(bytes / 256));
}

/** How soon a flow that is full looks again, in milliseconds. */
const SOON = 1;

/** How late it looks at most, if nothing moves. */
const LATE = 32;

/** How late a flow that is not full looks whether something moves at all. */
const LEISURELY = 5_000;

/**
 * A peer that takes so many bytes a second is slow, but not stalled: of one
 * message's way nothing is seen until it has gone out as a whole.
 */
const SLOWEST = 16 * 1024;

/**
 * Of empty messages nobody can tell whether they have left: so long it takes until
 * as many as make a socket full are taken to have.
 */
const EMPTY_WAIT = 250;

/** The way of one connection's messages to its socket. */
export class Flow {
  readonly #socket: SocketSink;
  readonly #limits: FlowLimits;
  readonly #tell: (signal: FlowSignal) => void;
  /** No more bytes than this wait in the socket. */
  #waitingAtMost = 0;
  /** About how many messages wait in the socket, and how many bytes they have. */
  #count = 0;
  #bytes = 0;
  /** How many messages were handed to the socket, and how many bytes they had. */
  #sent = 0;
  #sentBytes = 0;
  /** How many of the last messages were empty. */
  #empties = 0;
  /** What goes out before all that waits here. */
  #urgent: string | undefined;
  /** How many bytes were handed to the socket since one that is carried. */
  #since = Infinity;
  /** What waits here, in order, once something has waited. */
  #backlog: Backlog | undefined;
  /** Settles when the socket holds half of the mark; there if it was reached. */
  #full: PromiseWithResolvers<void> | undefined;
  /** Somebody was made to wait, and is to hear when there is room again. */
  #isAwaited = false;
  #isReading = false;
  #isWatched = false;
  /** The peer has sent something since anything moved. */
  #isHeard = false;
  /** How much waited in the socket at the last look. */
  #level = 0;
  #wait = SOON;
  /** How long nothing has moved, in milliseconds. */
  #stuckFor = 0;
  /** How long nothing may move. */
  #patience = Infinity;
  #onEmpty: (() => void) | undefined;
  /** Nothing is sent any more. */
  #isStopped = false;

  /**
   * Creates a flow.
   *
   * @param socket The socket.
   * @param limits What to go by.
   * @param tell What to tell of what happens.
   */
  constructor(
    socket: SocketSink,
    limits: FlowLimits,
    tell: (signal: FlowSignal) => void,
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#tell = tell;
  }

  /** How many bytes wait here for there to be room in the socket. */
  get size(): number {
    return this.#backlog?.size ?? 0;
  }

  /**
   * About how many bytes of memory it takes what waits here, and what waits in the
   * socket. To know that, the socket is asked.
   *
   * @param frames How many frames the socket was given.
   */
  measureMemory(frames: number = this.#sent): number {
    const level = this.#measure();
    const perMessage = Math.min(1, frames / Math.max(1, this.#sent));
    const inSocket = level + this.#count * perMessage * MESSAGE_COST;
    return inSocket + (this.#backlog?.memory ?? 0);
  }

  /** What was handed to the socket. */
  get sent(): Carried {
    return { messages: this.#sent, bytes: this.#sentBytes };
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#backlog?.dropped ?? 0;
  }

  /** Hears that the peer has sent something, and so is alive. */
  heard(): void {
    this.#isHeard = true;
  }

  /** Whether the peer has sent something since it took something. */
  get isHeard(): boolean {
    return this.#isHeard;
  }

  /**
   * Sends, or keeps for later.
   *
   * @param frame What to send; the socket must be open.
   * @param options What to do if it does not fit.
   * @param isCarried Whether it may go out by another connection if this one is
   * lost before. If it is lost after, the promise resolves: it has been sent.
   * @returns A promise that resolves when it has been handed to the socket and
   * the peer keeps up. It is quiet if it rejects.
   * @throws {RangeError} If the policy is none.
   */
  send(
    frame: Frame,
    options: SendOptions | undefined,
    isCarried: boolean,
  ): Promise<void> {
    assertOverflow(options);
    this.#lookAgain();
    if (this.#isWaiting || this.#full !== undefined || frame instanceof Blob) {
      return this.#keep(frame, options, isCarried);
    }
    return handed(this.#hand(frame, isCarried), isCarried);
  }

  /**
   * Sends what has waited elsewhere, or goes on to keep it.
   *
   * @param entry What to send; the socket must be open.
   */
  adopt(entry: Entry): void {
    this.#backlog ??= new Backlog(this.#limits);
    this.#backlog.adopt(entry);
    this.#isAwaited ||= this.#full !== undefined;
    if (!this.#full) this.#flush();
  }

  /**
   * Drops what waits here with the key of a message that is newer, if only the latest
   * counts.
   *
   * @param options Those of the newer message.
   */
  outdate(options: SendOptions | undefined): void {
    this.#backlog?.outdate(options);
  }

  /**
   * Sends what the peer waits for: as soon as there is room, before all that waits
   * here, whatever bound there is for that. Only the latest counts.
   *
   * @param text What to send; the socket must be open.
   */
  urge(text: string): void {
    this.#urgent = text;
    if (!this.#full) this.#sendUrgent();
  }

  /**
   * Calls back when nothing waits here any more, at once if nothing does.
   *
   * @param action What to call. It is not called after {@linkcode Flow.stop}.
   */
  whenEmpty(action: () => void): void {
    if (this.#isWaiting) this.#onEmpty = action;
    else action();
  }

  /**
   * Stops for good, and lets go of all that waits.
   *
   * @param why Makes what promises that wait reject with, if there are any.
   * @param isDelivered Whether what the socket had has reached the peer.
   * @returns What may go out by another connection, in order; its promises wait.
   */
  stop(why: () => Error, isDelivered: boolean): readonly Entry[] {
    this.#isStopped = true;
    this.#onEmpty = undefined;
    this.#limits.hurried.remove(this);
    this.#limits.leisurely.remove(this);
    if (isDelivered) this.#full?.resolve();
    else this.#full?.reject(why());
    this.#full = undefined;
    return this.#backlog?.stop(why) ?? [];
  }

  /** Looks how much waits in the socket. */
  look(): number {
    if (this.#socket.readyState !== 1) {
      // Of one that is closing nobody can tell how much it holds.
      this.#tell("stuck");
      return 0;
    }
    return this.#full ? this.#lookHurried() : this.#lookLeisurely();
  }

  /** Whether something waits here. */
  get #isWaiting(): boolean {
    return this.#backlog !== undefined && !this.#backlog.isEmpty;
  }

  #hand(frame: Exclude<Frame, Blob>, isCarried: boolean): Promise<void> {
    this.#socket.send(frame);
    if (!this.#isWatched) this.#watch();
    const isText = typeof frame === "string";
    const size = isText ? frame.length : frame.byteLength;
    this.#waitingAtMost += isText ? size * 3 : size; // as UTF-8
    this.#bytes += size;
    this.#sent++;
    this.#sentBytes += size;
    this.#since = isCarried ? 0 : this.#since + size;
    this.#count++;
    if (size === 0) this.#empties++;
    else this.#empties = 0;
    // To ask the socket each time would cost more than all the rest here.
    if (!this.#mayBeFull()) return RESOLVED;
    const level = this.#measure();
    if (!this.#mayBeFull()) return RESOLVED;
    this.#isAwaited = true;
    return this.#fill(level);
  }

  #mayBeFull(): boolean {
    return this.#waitingAtMost >= this.#limits.highWaterMark ||
      this.#count >= this.#limits.highWaterCount;
  }

  /** Asks the socket how much it holds, from which follows about how many. */
  #measure(): number {
    const level = this.#socket.bufferedAmount;
    this.#count = level === 0
      ? this.#empties
      : Math.ceil(this.#count * Math.min(1, level / Math.max(1, this.#bytes)));
    this.#waitingAtMost = this.#bytes = level;
    return level;
  }

  /** From now on messages wait here. */
  #fill(level: number): Promise<void> {
    this.#full = Promise.withResolvers();
    ignoreRejection(this.#full.promise);
    this.#moved(level);
    this.#isWatched = false;
    this.#limits.leisurely.remove(this);
    this.#limits.hurried.add(this, SOON);
    return this.#full.promise;
  }

  /** Something has moved, or is taken to have. */
  #moved(level: number): void {
    const { stallTimeout } = this.#limits;
    this.#level = level;
    this.#wait = SOON;
    this.#stuckFor = 0;
    this.#isHeard = false;
    this.#patience = stallTimeout === 0
      ? Infinity
      : stallTimeout + level / SLOWEST * 1000;
  }

  #lookHurried(): number {
    const level = this.#measure();
    const isMoving = level < this.#level;
    if (isMoving) this.#moved(level);
    else {
      this.#stuckFor += this.#wait;
      this.#wait = Math.min(this.#wait * 2, LATE);
    }
    const { highWaterMark, highWaterCount } = this.#limits;
    const isLow = level <= highWaterMark / 2 &&
      this.#count <= highWaterCount / 2;
    const isEmpty = level === 0 && (isLow || this.#stuckFor >= EMPTY_WAIT);
    if (isEmpty || (isMoving && isLow)) this.#goOn(level);
    else if (this.#stuckFor >= this.#patience) this.#tell("stalled");
    return this.#full && !this.#isStopped ? this.#wait : 0;
  }

  /**
   * All that made the socket full may have left before the clock looks: who sends one
   * large message after the other would wait for it each time.
   */
  #lookAgain(): void {
    const isFull = this.#full !== undefined && this.#empties === 0;
    if (isFull && this.#socket.bufferedAmount === 0) this.#goOn(0);
  }

  /** There is room again. */
  #goOn(level: number): void {
    if (level === 0) this.#count = this.#empties = 0;
    this.#full?.resolve();
    this.#full = undefined;
    this.#flush();
    if (level > 0 && !this.#full && !this.#isStopped) this.#watch();
  }

  #watch(): void {
    const { stallTimeout, leisurely } = this.#limits;
    if (stallTimeout === 0 || this.#isWatched) return;
    this.#isWatched = true;
    this.#level = Infinity;
    leisurely.add(this, this.#interval);
  }

  /** How long a flow that is not full goes without a look. */
  get #interval(): number {
    return Math.min(this.#limits.stallTimeout / 4, LEISURELY);
  }

  /**
   * A peer that takes nothing may go unnoticed while there is room for what it
   * is sent. So what does not seem to move gets nothing more until it does.
   */
  #lookLeisurely(): number {
    const level = this.#measure();
    const isMoving = level < this.#level;
    this.#level = level;
    if (level === 0) {
      this.#isWatched = false;
      this.#count = this.#empties = 0;
    } else if (!isMoving) this.#fill(level);
    return this.#isWatched ? this.#interval : 0;
  }

  #keep(
    frame: Frame,
    options: SendOptions | undefined,
    isCarried: boolean,
  ): Promise<void> {
    this.#backlog ??= new Backlog(this.#limits);
    const level = this.#socket.bufferedAmount;
    // What is carried is not in the way of what can go out here only.
    const held = isCarried ? level : Math.min(level, this.#since);
    const { entry, isTaken } = this.#backlog.add(
      frame,
      options,
      isCarried,
      held,
    );
    this.#isAwaited ||= this.#full !== undefined;
    if (!isTaken) {
      // What is carried would only fill the next connection, too.
      if (entry.overflow === "terminate" && !isCarried) this.#tell("overflow");
      this.#backlog.drop(entry);
    }
    if (!this.#full) this.#flush();
    return entry.promise;
  }

  #sendUrgent(): void {
    const text = this.#urgent;
    if (text === undefined || this.#socket.readyState !== 1) return;
    this.#urgent = undefined;
    this.#hand(text, false);
    this.#sent--; // it is no message
    this.#sentBytes -= text.length;
  }

  /** Hands to the socket what has waited longest, while there is room. */
  #flush(): void {
    this.#sendUrgent();
    const backlog = this.#backlog;
    for (
      let entry = backlog?.first;
      entry && !this.#full;
      entry = backlog?.first
    ) {
      // It would take it, and tell nobody that it did not send it.
      if (this.#socket.readyState !== 1) return;
      if (entry.frame instanceof Blob) return this.#read(entry, entry.frame);
      backlog?.shift();
      const { isCarried } = entry;
      entry.resolve(handed(this.#hand(entry.frame, isCarried), isCarried));
    }
    if (this.#isWaiting) return;
    const onEmpty = this.#onEmpty;
    this.#onEmpty = undefined;
    onEmpty?.();
    if (!this.#isAwaited || this.#full || this.#isStopped) return;
    this.#isAwaited = false;
    this.#tell("drained");
  }

  /** Fetches the bytes of a `Blob`; all else waits behind it. */
  #read(entry: Entry, blob: Blob): void {
    if (this.#isReading) return;
    this.#isReading = true;
    // Meanwhile it may have gone elsewhere, where it has another beginning.
    const isHere = () => this.#backlog?.first === entry;
    blob.arrayBuffer().then((bytes) => {
      if (isHere()) entry.frame = bytes;
    }, (error: unknown) => {
      if (!isHere()) return;
      entry.reject(error);
      this.#backlog?.shift();
    }).then(() => {
      this.#isReading = false;
      if (!this.#full) this.#flush();
    });
  }
}

/**
 * What has been handed to a socket has been sent, whatever becomes of the socket.
 * Who sends by one connection wants to know; who sends by any must not take it
 * for one that can be sent again.
 */
function handed(promise: Promise<void>, isCarried: boolean): Promise<void> {
  return isCarried && promise !== RESOLVED ? promise.catch(() => {}) : promise;
}
