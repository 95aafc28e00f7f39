/**
 * Decides when a silent peer is asked for a sign of life, and when it is given up.
 *
 * @module
 */

/**
 * The slowest line that is not taken for a dead one, in bytes per second. The time that
 * a message needs on its way is allowed for at this rate.
 */
export const MIN_PEER_BYTES_PER_SECOND: number = 16 * 1024;

/** After how many bytes without an answer even a peer that is heard is asked. */
const MAX_UNCONFIRMED_BYTES = 64 * 1024;

/** What one side knows about a connection. All counts are totals. */
export interface PeerActivity {
  /** When something was last heard, in milliseconds. */
  readonly heardAt: number;
  /** How many answers to questions have come. */
  readonly answers: number;
  /** How many bytes were sent. */
  readonly sent: number;
  /** How many of these have not been handed to the kernel. */
  readonly buffered: number;
}

/** What to do about a peer. */
export type LivenessVerdict = "wait" | "ask" | "lost";

/**
 * What is known about one peer. It has no clock: the caller says what time it is, in
 * milliseconds that need not be those of the wall.
 */
export class Liveness {
  readonly #timeout: number;
  readonly #grace: number;
  #answers = 0;
  /** When the peer was last asked; -1 if no answer is outstanding. */
  #askedAt = -1;
  #sentWhenAsked = 0;
  /** How many bytes had been sent before an earlier question; -1 if there is none. */
  #sentBefore = -1;
  /** How many bytes have reached the peer for sure. */
  #confirmed = 0;
  /** When the kernel last took something though its buffer had been full. */
  #lastProgressAt = 0;
  /** How many bytes the kernel had taken at the last look. */
  #handedToKernel = 0;
  #isBlocked = false;

  /**
   * Creates one.
   *
   * @param timeout How long a peer may be silent, in milliseconds.
   * @param grace How much longer if the peer may be unable to answer, as it is in the
   * middle of a message.
   */
  constructor(timeout: number, grace = 0) {
    this.#timeout = timeout;
    this.#grace = grace;
  }

  /**
   * Decides what to do now. After `"ask"` the peer must be asked.
   *
   * @param now The time.
   * @param activity What is known.
   * @returns What to do.
   */
  check(now: number, activity: PeerActivity): LivenessVerdict {
    const { heardAt, answers, sent } = activity;
    if (answers !== this.#answers) this.#answered(answers);
    this.#noteProgress(now, activity);
    const silent = now - Math.max(heardAt, this.#lastProgressAt);
    const half = this.#timeout / 2;
    const isAsked = this.#askedAt >= 0;
    const isUnconfirmed = !isAsked &&
      sent - this.#confirmed > MAX_UNCONFIRMED_BYTES;
    // A peer that was asked and has spoken may have left the answer out.
    const isQuiet = silent >= half && (!isAsked || heardAt > this.#askedAt);
    if (isUnconfirmed || isQuiet) {
      if (isAsked && this.#sentBefore < 0) {
        this.#sentBefore = this.#sentWhenAsked;
      }
      this.#askedAt = now;
      this.#sentWhenAsked = sent;
      return "ask";
    }
    if (!isAsked) return "wait";
    // The answer waits behind all that was sent before the question.
    const behind = this.#sentWhenAsked - this.#confirmed;
    const allowedMs = this.#timeout + this.#grace +
      behind / MIN_PEER_BYTES_PER_SECOND * 1000;
    return silent >= allowedMs && now - this.#askedAt >= half ? "lost" : "wait";
  }

  /** Notes which bytes have reached the peer. */
  #answered(answers: number): void {
    const isLast = this.#sentBefore < 0 || answers - this.#answers > 1;
    this.#answers = answers;
    if (this.#askedAt < 0) return;
    this.#confirmed = isLast ? this.#sentWhenAsked : this.#sentBefore;
    this.#sentBefore = -1;
    if (isLast) this.#askedAt = -1;
  }

  /** Notes whether bytes have left since the last look. */
  #noteProgress(now: number, { sent, buffered }: PeerActivity): void {
    const handedToKernel = sent - buffered;
    // Only while its buffer is full does the kernel take no more than the peer.
    const isBlocked = buffered > 0;
    if (isBlocked && this.#isBlocked && handedToKernel > this.#handedToKernel) {
      this.#lastProgressAt = now;
    }
    this.#handedToKernel = handedToKernel;
    this.#isBlocked = isBlocked;
  }

  /**
   * When to look again at the latest.
   *
   * @param now The time.
   * @param heardAt When something was last heard.
   * @returns When.
   */
  nextCheckAt(now: number, heardAt: number): number {
    const half = this.#timeout / 2;
    const due = Math.max(heardAt, this.#lastProgressAt) + half;
    return this.#askedAt < 0 || due > now ? due : now + half / 8;
  }
}
