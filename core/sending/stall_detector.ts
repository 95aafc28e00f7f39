/**
 * Decides whether a peer still reads, from how much its socket holds at each poll; pure.
 *
 * @module
 */

/** How soon a full socket is polled, in milliseconds. */
export const FAST_POLL_MIN_MS = 1;

/** How late a full socket is polled at most, if nothing moves, in milliseconds. */
const FAST_POLL_MAX_MS = 32;

/**
 * A peer that reads so many bytes per second is slow, but not stalled. A message shows
 * progress only when all of it has left.
 */
const MIN_BYTES_PER_SECOND = 16 * 1024;

/**
 * After how many milliseconds empty messages are assumed to have left, if there are as
 * many as make a socket full. The socket does not show when they do.
 */
const EMPTY_MESSAGES_MS = 250;

/** Watches one socket. */
export class StallDetector {
  /** Whether the peer has sent something since the socket last moved. */
  isPeerActive = false;
  readonly #stallTimeout: number;
  #lastBuffered = Infinity;
  #delay = FAST_POLL_MIN_MS;
  /** For how long nothing has moved, and for how long nothing may, in milliseconds. */
  #stalledMs = 0;
  #maxStallMs = Infinity;

  /** Creates a detector. The timeout is in milliseconds; 0 for none. */
  constructor(stallTimeout: number) {
    this.#stallTimeout = stallTimeout;
  }

  /** When to poll a full socket again, in milliseconds. */
  get delay(): number {
    return this.#delay;
  }

  /** Whether the peer has read nothing for too long. */
  get isStalled(): boolean {
    return this.#stalledMs >= this.#maxStallMs;
  }

  /** Whether even empty messages must have left. */
  get hasWaitedForEmpty(): boolean {
    return this.#stalledMs >= EMPTY_MESSAGES_MS;
  }

  /** Forgets how much the socket held. */
  reset(): void {
    this.#lastBuffered = Infinity;
  }

  /** Whether the socket holds less than at the last call. */
  hasMoved(buffered: number): boolean {
    const hasMoved = buffered < this.#lastBuffered;
    this.#lastBuffered = buffered;
    return hasMoved;
  }

  /** Called when a socket becomes full, and when something has left it. */
  noteProgress(buffered: number): void {
    this.#lastBuffered = buffered;
    this.#delay = FAST_POLL_MIN_MS;
    this.#stalledMs = 0;
    this.isPeerActive = false;
    this.#maxStallMs = this.#stallTimeout === 0
      ? Infinity
      : this.#stallTimeout + buffered / MIN_BYTES_PER_SECOND * 1000;
  }

  /** Called at each poll of a full socket. Returns whether something has left it. */
  check(buffered: number): boolean {
    if (buffered < this.#lastBuffered) {
      this.noteProgress(buffered);
      return true;
    }
    this.#stalledMs += this.#delay;
    this.#delay = Math.min(this.#delay * 2, FAST_POLL_MAX_MS);
    return false;
  }
}
