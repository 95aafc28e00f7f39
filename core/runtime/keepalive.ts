/**
 * Finds out which peers of a server are gone, with one timer for all of them.
 *
 * Deno pings by itself, but cancels and makes its timer again for each message, and
 * gives a peer up that is in the middle of a message. Its method that does so is
 * replaced on each socket by one that notes the time; the same method sends the ping
 * when this module finds that one is needed. A runtime that has no such method does as
 * it always did.
 *
 * @module
 */

import {
  cancelIdleTimer,
  type IdleWatch,
  privateField,
  type RawSocket,
} from "./websocket.ts";
import { MAX_DELAY_MS } from "../util/timer.ts";
import { Liveness } from "../util/liveness.ts";

/** How many times the clock ticks while a peer may be silent. */
const TICKS_PER_TIMEOUT = 64;

/**
 * How many pongs may come within one tick. The program hears of none, and while a peer
 * floods the runtime with them no timer gets its turn.
 */
const MAX_PONGS = 1024;

/** The shortest tick, in milliseconds. */
const MIN_TICK_MS = 4;

/** Enough for a look that is due after the whole of the timeout. */
const SLOT_COUNT = TICKS_PER_TIMEOUT + 2;

/** So short that Deno pings, or gives up, right away; in seconds. */
const IMMEDIATELY_SECONDS = 1e-6;

/** Watches all connections of one server. */
export class Keepalive {
  /** How long a peer may be silent, in milliseconds; 0 for as long as it likes. */
  readonly idleTimeout: number;
  /**
   * When the next tick is due, in milliseconds. Each tick counts for the same time,
   * however late it is: while a machine sleeps, or is busy, no peer is silent.
   */
  soon: number;
  readonly #tick: number;
  readonly #slots: Set<WatchedSocket>[] = [];
  /** Which slot is looked at now. */
  #slot = 0;
  #size = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * Creates one. There is no timer as long as nothing is watched.
   *
   * @param idleTimeout How long a peer may be silent, in milliseconds; 0 for as long as
   * it likes.
   */
  constructor(idleTimeout: number) {
    this.idleTimeout = Math.min(idleTimeout, MAX_DELAY_MS);
    this.#tick = Math.max(
      MIN_TICK_MS,
      Math.ceil(this.idleTimeout / TICKS_PER_TIMEOUT),
    );
    this.soon = this.#tick;
    for (let i = 0; i < SLOT_COUNT; i++) this.#slots.push(new Set());
  }

  /** How many connections are watched. */
  get size(): number {
    return this.#size;
  }

  /**
   * Watches over a server's socket once it is open, if the runtime allows it.
   *
   * @param socket The socket, before it is open.
   * @param grace How much longer than the timeout the peer may be silent after it was
   * asked, in milliseconds: it cannot answer in the middle of a message.
   * @returns What watches it; undefined if the runtime has to do so itself.
   */
  watch(socket: RawSocket, grace = 0): IdleWatch | undefined {
    if (this.idleTimeout === 0) return undefined;
    const internals = socketInternals(socket);
    if (internals === undefined) return undefined;
    const watched = new WatchedSocket(this, socket, internals, grace);
    Reflect.set(socket, internals.method, () => watched.runtimeNoted());
    return watched;
  }

  /** Looks at a connection at a time, or at the next tick if that has passed. */
  schedule(watched: WatchedSocket, time: number): void {
    if (watched.slot === undefined && this.#size++ === 0) this.#start();
    watched.slot?.delete(watched);
    const ticks = 1 + Math.ceil((time - this.soon) / this.#tick);
    const ahead = Math.max(1, Math.min(ticks, SLOT_COUNT - 1));
    watched.slot = this.#slots[(this.#slot + ahead) % SLOT_COUNT];
    watched.slot?.add(watched);
  }

  /** Stops to look at a connection. */
  remove(watched: WatchedSocket): void {
    if (watched.slot === undefined) return;
    watched.slot.delete(watched);
    watched.slot = undefined;
    if (--this.#size > 0) return;
    clearInterval(this.#timer);
  }

  #start(): void {
    this.#timer = setInterval(() => {
      const now = this.soon;
      this.soon += this.#tick;
      this.#slot = (this.#slot + 1) % SLOT_COUNT;
      for (const watched of this.#slots[this.#slot] ?? []) watched.check(now);
    }, this.#tick);
  }
}

/** One connection that is watched. */
class WatchedSocket implements IdleWatch {
  /** Where its next look stands. */
  slot: Set<WatchedSocket> | undefined;
  readonly #keepalive: Keepalive;
  readonly #socket: RawSocket;
  readonly #internals: SocketInternals;
  readonly #liveness: Liveness;
  /** When something was last heard; at most a tick later than it was. */
  #heardAt = 0;
  /** How often the runtime has noted something: the opening, messages, pongs. */
  #noted = 0;
  #messages = 0;
  /** How many pongs had come when this tick began. */
  #pongsBefore = 0;
  #sent: (() => number) | undefined;
  #flooded: (() => void) | undefined;
  /** The runtime's timer that has not sent the ping yet. */
  #pingTimer: unknown;
  #isStopped = false;

  constructor(
    clock: Keepalive,
    socket: RawSocket,
    internals: SocketInternals,
    grace: number,
  ) {
    this.#keepalive = clock;
    this.#socket = socket;
    this.#internals = internals;
    this.#liveness = new Liveness(clock.idleTimeout, grace);
  }

  attach(sent: () => number, flooded: () => void): void {
    this.#sent = sent;
    this.#flooded = flooded;
  }

  reset(): void {
    this.#messages++;
  }

  stop(): void {
    this.#isStopped = true;
    this.#keepalive.remove(this);
  }

  /** The runtime calls this instead of making its timer again. */
  runtimeNoted(): void {
    const pongs = this.#noted - this.#messages;
    if (this.#heardAt !== this.#keepalive.soon) this.#pongsBefore = pongs;
    else if (pongs - this.#pongsBefore > MAX_PONGS) {
      const flooded = this.#flooded;
      this.#flooded = undefined;
      flooded?.();
    }
    this.#heardAt = this.#keepalive.soon;
    if (this.#noted++ === 0 && !this.#isStopped) {
      this.#keepalive.schedule(
        this,
        this.#heardAt + this.#keepalive.idleTimeout / 2,
      );
    }
  }

  check(now: number): void {
    const verdict = this.#liveness.check(now, {
      heardAt: this.#heardAt,
      answers: this.#noted - 1 - this.#messages,
      sent: this.#sent?.() ?? 0,
      buffered: this.#socket.bufferedAmount,
    });
    const { timer } = this.#internals;
    // The runtime has sent the ping once it has another timer, which would give up.
    if (
      this.#pingTimer !== undefined &&
      Reflect.get(this.#socket, timer) !== this.#pingTimer
    ) {
      this.#pingTimer = undefined;
      cancelIdleTimer(this.#socket);
    }
    // A ping that waits behind what the peer does not take is still to be sent.
    if (this.#pingTimer === undefined) {
      if (verdict === "ask") this.#ping();
      if (verdict === "lost") return this.#terminateDead();
    }
    this.#keepalive.schedule(
      this,
      this.#liveness.nextCheckAt(now, this.#heardAt),
    );
  }

  /** Lets the runtime send a ping, and wait for the answer without end. */
  #ping(): void {
    this.#runTimer();
    const { timer, duration } = this.#internals;
    Reflect.set(this.#socket, duration, MAX_DELAY_MS / 500);
    this.#pingTimer = Reflect.get(this.#socket, timer);
  }

  /** Lets the runtime tell the peer, and end the connection. */
  #terminateDead(): void {
    this.stop();
    this.#runTimer();
  }

  #runTimer(): void {
    const { duration, run } = this.#internals;
    Reflect.set(this.#socket, duration, IMMEDIATELY_SECONDS);
    run(this.#socket);
  }
}

/** What the runtime keeps to itself of all its sockets. */
interface SocketInternals {
  /** The name of the method that makes the idle timer. */
  readonly method: symbol;
  /** Calls that method of a socket. */
  readonly run: (socket: RawSocket) => void;
  /** The name of the field with the idle timeout, in seconds. */
  readonly duration: symbol;
  /** The name of the field with the timer that pings, and then the one that gives up. */
  readonly timer: symbol;
}

/** What was last found, and of what kind of sockets. */
let cachedInternals:
  | { readonly prototype: unknown; readonly internals: SocketInternals }
  | undefined;

function socketInternals(socket: RawSocket): SocketInternals | undefined {
  const prototype = Reflect.getPrototypeOf(socket);
  if (cachedInternals?.prototype === prototype) {
    return cachedInternals.internals;
  }
  const duration = privateField(socket, "[[idleTimeout]]");
  const timer = privateField(socket, "[[idleTimeoutTimeout]]");
  const method = Object.getOwnPropertySymbols(prototype ?? {})
    .find(({ description }) => description === "[[serverHandleIdleTimeout]]");
  if (!prototype || !duration || !timer || !method) return undefined;
  const original: unknown = Reflect.get(prototype, method);
  if (typeof original !== "function") return undefined;
  const internals = {
    method,
    run: (one: RawSocket) => Reflect.apply(original, one, []),
    duration,
    timer,
  };
  cachedInternals = { prototype, internals };
  return internals;
}
