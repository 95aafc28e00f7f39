/**
 * The position of a client in the message stream, from which a reconnect resumes.
 *
 * @module
 */

import { type StreamPosition, UNKNOWN_POSITION } from "./frames.ts";
import { resumeSubprotocol } from "./subprotocol.ts";

/** The token of a client that has not received one. */
const NO_TOKEN = "0";

/** Tracks the token and the position of a client for its next reconnect. */
export class ResumePoint {
  #token = NO_TOKEN;
  #position: StreamPosition | undefined;
  #lastActivity: readonly [number, number] = [0, 0];

  /** The subprotocol that asks the server to resume. */
  get subprotocol(): string {
    // The system time may be set back, and the monotonic clock may stop during sleep.
    const [date, time] = readClocks();
    const [lastDate, lastTime] = this.#lastActivity;
    const awayMs = Math.ceil(Math.max(date - lastDate, time - lastTime));
    return resumeSubprotocol({
      token: this.#token,
      position: this.#position,
      awayMs,
    });
  }

  /** Notes that data came from the server: messages sent before it have arrived. */
  noteActivity(): void {
    if (this.#position) this.#lastActivity = readClocks();
  }

  /**
   * Updates the position and the token.
   *
   * @param position The new position; undefined if the server does not store messages.
   */
  update(
    position: StreamPosition | undefined,
    token: string | undefined,
  ): void {
    this.#position = position;
    if (position === undefined) this.#token = NO_TOKEN;
    else this.#token = token ?? this.#token;
    this.noteActivity();
  }

  /**
   * Moves the position to a stored message.
   *
   * @param offset The offset of the message; 0 if it is not stored yet.
   */
  advance(offset: number): void {
    const position = this.#position;
    if (position) {
      this.#position = offset === 0
        ? UNKNOWN_POSITION
        : { ...position, offset };
    }
  }
}

function readClocks(): readonly [number, number] {
  return [Date.now(), performance.now()];
}
