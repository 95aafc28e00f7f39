/**
 * Decides when to ping a silent peer, and when to give it up; pure.
 *
 * @module
 */

/**
 * The slowest connection that is not taken for dead, in bytes per second. The timeout is
 * extended by the time that the bytes in flight need at this rate.
 */
export const MIN_PEER_BYTES_PER_SECOND: number = 16 * 1024;

/** Ping the peer after this many unconfirmed bytes, even if it is not silent. */
const MAX_UNCONFIRMED_BYTES = 64 * 1024;

/** The state of a connection. All counts are totals. */
export interface PeerActivity {
  /** When data was last received, in milliseconds. */
  readonly receivedAt: number;
  /** The number of pongs. */
  readonly pongs: number;
  /** The number of bytes sent. */
  readonly sent: number;
  /** The number of these that have not been passed to the kernel. */
  readonly buffered: number;
}

/** What to do about a peer. */
export type LivenessVerdict = "wait" | "ping" | "lost";

/**
 * Tracks one peer. It has no clock: the caller passes the time of a monotonic clock, in
 * milliseconds.
 */
export class Liveness {
  readonly #timeout: number;
  readonly #grace: number;
  #pongs = 0;
  /** When the last ping was sent; -1 if no pong is outstanding. */
  #pingedAt = -1;
  #sentBeforePing = 0;
  /**
   * The number of bytes sent before an earlier ping without a pong; -1 if there is none.
   */
  #sentBeforeEarlierPing = -1;
  /** The number of bytes that have certainly reached the peer. */
  #confirmed = 0;
  /** When the kernel last accepted data although its buffer had been full. */
  #lastProgressAt = 0;
  /** The number of bytes that the kernel had accepted at the last check. */
  #handedToKernel = 0;
  #isBlocked = false;

  /**
   * @param timeout How long the peer may be silent, in milliseconds.
   * @param grace Additional time for the pong, in milliseconds, as a peer cannot send it
   * in the middle of a message.
   */
  constructor(timeout: number, grace = 0) {
    this.#timeout = timeout;
    this.#grace = grace;
  }

  /** Decides what to do. After `"ping"`, the caller must send a ping. */
  check(now: number, activity: PeerActivity): LivenessVerdict {
    const { receivedAt, pongs, sent } = activity;
    if (pongs !== this.#pongs) this.#confirm(pongs);
    this.#noteProgress(now, activity);
    const silent = now - Math.max(receivedAt, this.#lastProgressAt);
    const half = this.#timeout / 2;
    const isPinged = this.#pingedAt >= 0;
    const isUnconfirmed = !isPinged &&
      sent - this.#confirmed > MAX_UNCONFIRMED_BYTES;
    // A peer that has sent something after the ping may have ignored the ping.
    const isQuiet = silent >= half &&
      (!isPinged || receivedAt > this.#pingedAt);
    if (isUnconfirmed || isQuiet) {
      if (isPinged && this.#sentBeforeEarlierPing < 0) {
        this.#sentBeforeEarlierPing = this.#sentBeforePing;
      }
      this.#pingedAt = now;
      this.#sentBeforePing = sent;
      return "ping";
    }
    if (!isPinged) return "wait";
    // The ping waits behind everything that was sent before it.
    const inFlight = this.#sentBeforePing - this.#confirmed;
    const allowedMs = this.#timeout + this.#grace +
      inFlight / MIN_PEER_BYTES_PER_SECOND * 1000;
    return silent >= allowedMs && now - this.#pingedAt >= half
      ? "lost"
      : "wait";
  }

  /** Returns how many of the bytes sent have not certainly reached the peer. */
  unconfirmed(sent: number): number {
    return sent - this.#confirmed;
  }

  /** Updates the number of confirmed bytes. */
  #confirm(pongs: number): void {
    const isLast = this.#sentBeforeEarlierPing < 0 || pongs - this.#pongs > 1;
    this.#pongs = pongs;
    if (this.#pingedAt < 0) return;
    this.#confirmed = isLast
      ? this.#sentBeforePing
      : this.#sentBeforeEarlierPing;
    this.#sentBeforeEarlierPing = -1;
    if (isLast) this.#pingedAt = -1;
  }

  /** Notes whether the kernel has accepted bytes since the last check. */
  #noteProgress(now: number, { sent, buffered }: PeerActivity): void {
    const handedToKernel = sent - buffered;
    // A full buffer empties only as fast as the peer reads.
    const isBlocked = buffered > 0;
    if (isBlocked && this.#isBlocked && handedToKernel > this.#handedToKernel) {
      this.#lastProgressAt = now;
    }
    this.#handedToKernel = handedToKernel;
    this.#isBlocked = isBlocked;
  }

  /** Returns when to check again, at the latest. */
  nextCheckAt(now: number, receivedAt: number): number {
    const half = this.#timeout / 2;
    const halfway = Math.max(receivedAt, this.#lastProgressAt) + half;
    return this.#pingedAt < 0 || halfway > now ? halfway : now + half / 8;
  }
}
