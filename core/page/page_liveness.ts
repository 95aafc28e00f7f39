/**
 * Notices that a server is gone: asks it for a sign of life when it is silent, and when a
 * page has reason to doubt its connection.
 *
 * @module
 */

import { MIN_PEER_BYTES_PER_SECOND } from "../runtime/idle_decision.ts";
import { MAX_DELAY_MS } from "../util/timer.ts";

/** How many checks there are in a timeout. */
const PAGE_CHECKS_PER_TIMEOUT = 4;

/** The number of unconfirmed bytes at which to ask a server that is not silent. */
const MAX_UNANSWERED_BYTES = 64 * 1024;

/** The connection that is watched. */
export interface WatchedLink {
  /** The number of bytes sent. */
  readonly sentBytes: number;
  /** The number of bytes that wait in the socket. */
  readonly buffered: number;
  /** Whether the server answers pings. */
  readonly isEvents: boolean;
  /** Sends a ping. */
  ping(): void;
  /** The server is gone. */
  lost(): void;
}

/** Watches one connection. */
export class PageLiveness {
  readonly #link: WatchedLink;
  readonly #timeout: number;
  readonly #interval: number;
  #checkTimer: ReturnType<typeof setInterval> | undefined;
  #probeTimer: ReturnType<typeof setTimeout> | undefined;
  #heardAt = performance.now();
  #checkedAt = this.#heardAt;
  #isLate = false;
  /** Whether the server has sent something since the last probe. */
  #isHeard = false;
  #pingedAt = -Infinity;
  /** The bytes that were sent before each ping that is not answered. */
  readonly #pings: number[] = [];
  #confirmed = 0;
  #buffered = 0;

  /** @param timeout How long the server may be silent, in milliseconds; 0 for any time. */
  constructor(link: WatchedLink, timeout: number) {
    this.#link = link;
    this.#timeout = timeout;
    this.#interval = Math.min(timeout / PAGE_CHECKS_PER_TIMEOUT, MAX_DELAY_MS);
    if (timeout > 0) {
      this.#checkTimer = setInterval(() => this.#check(), this.#interval);
    }
  }

  /** Notes that the server has sent something. */
  heard(): void {
    this.#heardAt = performance.now();
    this.#isHeard = true;
  }

  /** Notes that the server has answered a ping. */
  answered(): void {
    this.#confirmed = this.#pings.shift() ?? 0;
  }

  /** Asks the server now, which may take a time in milliseconds to send something. */
  probe(timeout: number): void {
    if (!this.#checkTimer || !this.#link.isEvents || this.#probeTimer) return;
    const start = performance.now();
    this.#isHeard = false;
    this.#ping(start);
    const delay = timeout + this.#transitMs;
    this.#probeTimer = setTimeout(() => {
      this.#probeTimer = undefined;
      if (this.#isHeard) return;
      // After a freeze, received messages may not have been dispatched yet.
      if (performance.now() - start > delay * 2) this.probe(timeout);
      else this.#link.lost();
    }, delay);
  }

  /** Stops watching. */
  stop(): void {
    clearInterval(this.#checkTimer);
    clearTimeout(this.#probeTimer);
  }

  /** How long the bytes before the last ping may take, in milliseconds. */
  get #transitMs(): number {
    const bytes = (this.#pings.at(-1) ?? 0) - this.#confirmed;
    return Math.max(0, bytes) / MIN_PEER_BYTES_PER_SECOND * 1000;
  }

  #check(): void {
    const now = performance.now();
    const { buffered, isEvents, sentBytes } = this.#link;
    // The server still reads.
    if (buffered > 0 && buffered < this.#buffered) this.#heardAt = now;
    this.#buffered = buffered;
    const wasLate = this.#isLate;
    this.#isLate = now - this.#checkedAt >= this.#interval * 2;
    this.#checkedAt = now;
    const silent = now - this.#heardAt;
    const half = this.#timeout / 2;
    // A server that has sent something after the ping may have ignored the ping.
    const isQuiet = silent >= half && this.#heardAt >= this.#pingedAt;
    const isUnconfirmed = isEvents && this.#pings.length === 0 &&
      sentBytes - this.#confirmed > MAX_UNANSWERED_BYTES;
    if (isQuiet || isUnconfirmed) return this.#ping(now);
    const isLost = silent >= this.#timeout + this.#transitMs &&
      now - this.#pingedAt >= half;
    if (!isLost) return;
    // Received messages may not have been dispatched yet.
    if (this.#isLate && !wasLate) this.#ping(now);
    else this.#link.lost();
  }

  #ping(now: number): void {
    this.#pingedAt = now;
    if (!this.#link.isEvents) return;
    this.#pings.push(this.#link.sentBytes);
    this.#link.ping();
  }
}
