/**
 * Detects a silent peer on a side without the runtime's keepalive.
 *
 * @module
 */

import {
  Liveness,
  MIN_PEER_BYTES_PER_SECOND,
} from "../runtime/idle_decision.ts";
import { MAX_DELAY_MS } from "../util/timer.ts";

/** The number of checks per timeout. */
const STEPS_PER_TIMEOUT = 4;

/** The actions and counts that a check needs. */
export interface PeerProbe {
  /** Sends a ping. */
  ping(): void;
  /** The number of pongs. */
  pongs(): number;
  /** The total number of bytes sent. */
  sent(): number;
  /** The number of these that are still buffered. */
  buffered(): number;
}

/**
 * Calls back when nothing was received for some time. After a page was frozen, or a
 * machine was asleep, it waits for another check, so that buffered messages are received
 * first. If every check is late, as in throttled pages, the elapsed time counts.
 */
export class IdleTimer {
  readonly #interval: number;
  readonly #liveness: Liveness;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The elapsed time, in milliseconds. */
  #now = 0;
  #lastActivityAt = 0;
  #lastCheckAt = 0;
  /** Whether the last check was late. */
  #isLate = false;
  #check: PeerProbe | undefined;
  #onIdle: (() => void) | undefined;
  #probeTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether something was received since the last probe. */
  #isHeard = false;

  /**
   * @param timeout How long the peer may be silent, in milliseconds. Silence is detected
   * at most a quarter of this later.
   */
  constructor(timeout: number) {
    this.#interval = Math.min(timeout / STEPS_PER_TIMEOUT, MAX_DELAY_MS);
    this.#liveness = new Liveness(this.#interval * STEPS_PER_TIMEOUT);
  }

  /**
   * Starts the timer.
   *
   * @param onIdle Called once, when the peer is lost.
   * @param check Pings the peer after half of the timeout, if it supports pings.
   */
  start(onIdle: () => void, check?: PeerProbe): void {
    this.#lastCheckAt = performance.now();
    this.#check = check;
    this.#onIdle = onIdle;
    this.#timer = setInterval(() => {
      if (this.#isLost(check)) this.#lose();
    }, this.#interval);
  }

  /**
   * Pings the peer now, and gives it up unless something is received within a time in
   * milliseconds, extended by what the bytes in flight need.
   */
  probe(timeout: number): void {
    const check = this.#check;
    if (!check || this.#probeTimer !== undefined) return;
    this.#isHeard = false;
    check.ping();
    const inFlight = this.#liveness.unconfirmed(check.sent());
    const delay = timeout + inFlight / MIN_PEER_BYTES_PER_SECOND * 1000;
    const start = performance.now();
    this.#probeTimer = setTimeout(() => {
      this.#probeTimer = undefined;
      if (this.#isHeard) return;
      // After a freeze, received messages may not have been dispatched yet.
      if (performance.now() - start > delay * 2) return this.probe(timeout);
      this.#lose();
    }, delay);
  }

  /** Notes that something was received. */
  reset(): void {
    this.#isHeard = true;
    this.#lastActivityAt = this.#now + this.#interval;
  }

  /** Stops the timer. */
  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#probeTimer);
    this.#check = undefined;
  }

  #lose(): void {
    this.stop();
    this.#onIdle?.();
  }

  /** Checks the peer, and returns whether it is lost. */
  #isLost(check: PeerProbe | undefined): boolean {
    const now = performance.now();
    const passed = Math.max(this.#interval, now - this.#lastCheckAt);
    const wasLate = this.#isLate;
    this.#isLate = passed >= this.#interval * 2;
    this.#lastCheckAt = now;
    // The exact time of activity since the last check is unknown.
    const isActive = this.#lastActivityAt > this.#now;
    this.#now += passed;
    if (isActive) this.#lastActivityAt = this.#now;
    const verdict = this.#liveness.check(this.#now, {
      receivedAt: this.#lastActivityAt,
      pongs: check?.pongs() ?? 0,
      sent: check?.sent() ?? 0,
      buffered: check?.buffered() ?? 0,
    });
    if (verdict === "ping") check?.ping();
    if (verdict !== "lost") return false;
    // Received messages may not have been dispatched yet.
    if (!this.#isLate || wasLate) return true;
    check?.ping();
    return false;
  }
}
