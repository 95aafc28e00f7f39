/**
 * Detects lost peers of a server, with one timer for all connections.
 *
 * Deno pings by itself, but restarts a timer for every message, and gives up a peer in
 * the middle of a long message. On each socket, this module replaces Deno's method that
 * restarts the timer with one that only notes the time, and calls the original to send a
 * ping when one is needed. In a runtime without that method, the runtime's own timeout
 * applies. `idle_decision.ts` decides when a peer is lost; this module only asks it.
 *
 * @module
 */

import { cancelIdleTimer, privateField } from "./deno_internals.ts";
import type { IdleWatch, RawSocket, WatchedConnection } from "./websocket.ts";
import { MAX_DELAY_MS } from "../util/timer.ts";
import { Liveness } from "./idle_decision.ts";

/** The number of ticks per timeout. */
const TICKS_PER_TIMEOUT = 64;

/**
 * The maximum number of pongs in one tick. The application does not see pongs, and a
 * flood of them keeps timers from running.
 */
const MAX_PONGS = 1024;

/** The minimum length of a tick, in milliseconds. */
const MIN_TICK_MS = 4;

/** Enough slots for a check after the whole timeout. */
const SLOT_COUNT = TICKS_PER_TIMEOUT + 2;

/** A timeout after which Deno pings, or gives up, immediately, in seconds. */
const IMMEDIATELY_SECONDS = 1e-6;

/** The idle timeout of all connections of a server. */
export class Keepalive {
  /** How long a peer may be silent, in milliseconds; 0 for no limit. */
  readonly idleTimeout: number;
  /**
   * The time of the next tick, in milliseconds. All ticks count as equally long, however
   * late they run, so that no peer is lost because this machine was asleep or busy.
   */
  nextTickAt: number;
  readonly #tick: number;
  readonly #slots: Set<WatchedSocket>[] = [];
  /** The index of the current slot. */
  #slot = 0;
  /** When the last tick ran, and by how much the ticks before were late. */
  #tickedAt = 0;
  #lateMs = 0;
  #size = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * Creates an idle timeout. It has no timer while there are no connections.
   *
   * @param idleTimeout How long a peer may be silent, in milliseconds; 0 for no limit.
   */
  constructor(idleTimeout: number) {
    this.idleTimeout = Math.min(idleTimeout, MAX_DELAY_MS);
    this.#tick = Math.max(
      MIN_TICK_MS,
      Math.ceil(this.idleTimeout / TICKS_PER_TIMEOUT),
    );
    this.nextTickAt = this.#tick;
    for (let i = 0; i < SLOT_COUNT; i++) this.#slots.push(new Set());
  }

  /**
   * For how long the event loop stood still so far, in milliseconds: by how much ticks were
   * late, unless it was by less than a tick.
   */
  get stalledMs(): number {
    if (this.#size === 0) return this.#lateMs;
    const late = performance.now() - this.#tickedAt - this.#tick;
    return late > this.#tick ? this.#lateMs + late : this.#lateMs;
  }

  /** The number of connections. */
  get size(): number {
    return this.#size;
  }

  /**
   * Watches a socket from its opening on.
   *
   * @param socket The socket, before it is open.
   * @param grace Additional time for a pong, in milliseconds, as a peer cannot send it in
   * the middle of a message.
   * @returns The watch; undefined if only the runtime can detect lost peers.
   */
  watch(socket: RawSocket, grace = 0): IdleWatch | undefined {
    if (this.idleTimeout === 0) return undefined;
    const internals = socketInternals(socket);
    if (internals === undefined) return undefined;
    const watched = new WatchedSocket(this, socket, internals, grace);
    Reflect.set(socket, internals.method, () => watched.onRestart());
    return watched;
  }

  /** Schedules a check, at the next tick at the earliest. */
  schedule(watched: WatchedSocket, time: number): void {
    if (watched.slot === undefined && this.#size++ === 0) this.#start();
    watched.slot?.delete(watched);
    const ticks = 1 + Math.ceil((time - this.nextTickAt) / this.#tick);
    const ahead = Math.max(1, Math.min(ticks, SLOT_COUNT - 1));
    watched.slot = this.#slots[(this.#slot + ahead) % SLOT_COUNT];
    watched.slot?.add(watched);
  }

  /** Cancels the check of a connection. */
  remove(watched: WatchedSocket): void {
    if (watched.slot === undefined) return;
    watched.slot.delete(watched);
    watched.slot = undefined;
    if (--this.#size > 0) return;
    clearInterval(this.#timer);
  }

  #start(): void {
    this.#tickedAt = performance.now();
    this.#timer = setInterval(() => {
      this.#lateMs = this.stalledMs;
      this.#tickedAt = performance.now();
      const now = this.nextTickAt;
      this.nextTickAt += this.#tick;
      this.#slot = (this.#slot + 1) % SLOT_COUNT;
      for (const watched of this.#slots[this.#slot] ?? []) watched.check(now);
    }, this.#tick);
  }
}

/** The watch of one connection. */
class WatchedSocket implements IdleWatch {
  /** The slot of the next check. */
  slot: Set<WatchedSocket> | undefined;
  readonly #keepalive: Keepalive;
  readonly #socket: RawSocket;
  readonly #internals: SocketInternals;
  readonly #liveness: Liveness;
  /** When something was last received; at most one tick too late. */
  #receivedAt = 0;
  /**
   * The number of times that Deno has restarted its timer: for the opening, messages and
   * pongs.
   */
  #restarts = 0;
  #messages = 0;
  /** The number of pongs before this tick. */
  #pongsBefore = 0;
  #connection: WatchedConnection | undefined;
  /** For how long the event loop had stood still before the connection was open. */
  readonly #stalledBefore: number;
  /** Deno's timer, until it has sent the ping. */
  #pingTimer: unknown;
  #isStopped = false;

  constructor(
    keepalive: Keepalive,
    socket: RawSocket,
    internals: SocketInternals,
    grace: number,
  ) {
    this.#keepalive = keepalive;
    this.#socket = socket;
    this.#internals = internals;
    this.#liveness = new Liveness(keepalive.idleTimeout, grace);
    this.#stalledBefore = keepalive.stalledMs;
  }

  attach(connection: WatchedConnection): void {
    this.#connection = connection;
  }

  get stalledMs(): number {
    return this.#keepalive.stalledMs - this.#stalledBefore;
  }

  reset(): void {
    this.#messages++;
  }

  stop(): void {
    this.#isStopped = true;
    this.#keepalive.remove(this);
  }

  /** Replaces Deno's method that restarts its timer. */
  onRestart(): void {
    const pongs = this.#restarts - this.#messages;
    if (this.#receivedAt !== this.#keepalive.nextTickAt) {
      this.#pongsBefore = pongs;
    } else if (pongs - this.#pongsBefore > MAX_PONGS) {
      const connection = this.#connection;
      this.#connection = undefined;
      connection?.pongsFlooded();
    }
    this.#receivedAt = this.#keepalive.nextTickAt;
    if (this.#restarts++ === 0 && !this.#isStopped) {
      this.#keepalive.schedule(
        this,
        this.#receivedAt + this.#keepalive.idleTimeout / 2,
      );
    }
  }

  check(now: number): void {
    const verdict = this.#liveness.check(now, {
      receivedAt: this.#receivedAt,
      pongs: this.#restarts - 1 - this.#messages,
      sent: this.#connection?.sentBytes ?? 0,
      buffered: this.#socket.bufferedAmount,
    });
    const { timer } = this.#internals;
    // Once Deno has sent the ping, it replaces the timer by one that would end the
    // connection.
    if (
      this.#pingTimer !== undefined &&
      Reflect.get(this.#socket, timer) !== this.#pingTimer
    ) {
      this.#pingTimer = undefined;
      cancelIdleTimer(this.#socket);
    }
    // While the socket is blocked, a ping is still to be sent.
    if (this.#pingTimer === undefined) {
      if (verdict === "ping") this.#ping();
      if (verdict === "lost") return this.#closeLost();
    }
    this.#keepalive.schedule(
      this,
      this.#liveness.nextCheckAt(now, this.#receivedAt),
    );
  }

  /** Makes Deno send a ping, without a timeout for the pong. */
  #ping(): void {
    this.#runTimer();
    const { timer, duration } = this.#internals;
    Reflect.set(this.#socket, duration, MAX_DELAY_MS / 500);
    this.#pingTimer = Reflect.get(this.#socket, timer);
  }

  /** Makes Deno close the connection. */
  #closeLost(): void {
    this.stop();
    this.#runTimer();
  }

  #runTimer(): void {
    const { duration, run } = this.#internals;
    Reflect.set(this.#socket, duration, IMMEDIATELY_SECONDS);
    run(this.#socket);
  }
}

/** The private names of Deno's sockets. */
interface SocketInternals {
  /** The method that restarts the idle timer. */
  readonly method: symbol;
  /** Calls that method on a socket. */
  readonly run: (socket: RawSocket) => void;
  /** The idle timeout, in seconds. */
  readonly duration: symbol;
  /** The timer that pings first, and then ends the connection. */
  readonly timer: symbol;
}

/** The names for the last prototype. */
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
