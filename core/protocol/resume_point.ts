/**
 * Where a client was when it lost its server: what it needs to get what it has missed.
 *
 * @module
 */

import { type StreamPosition, UNKNOWN_POSITION } from "./frames.ts";
import { resumeSubprotocol } from "./subprotocol.ts";

/** What a client presents that no server has given a token. */
const NO_TOKEN = "0";

/** Remembers where a client stands among the messages that its server keeps. */
export class ResumePoint {
  #token = NO_TOKEN;
  #position: StreamPosition | undefined;
  #lastActivity: readonly [number, number] = [0, 0];

  /** What a client asks for beside its subprotocols. */
  get subprotocol(): string {
    // One clock may be set back, the other may stop while the machine sleeps.
    const [date, time] = readClocks();
    const [lastDate, lastTime] = this.#lastActivity;
    const awayMs = Math.ceil(Math.max(date - lastDate, time - lastTime));
    return resumeSubprotocol({
      token: this.#token,
      position: this.#position,
      awayMs,
    });
  }

  /** Hears something of the server: what it had sent before has come. */
  noteActivity(): void {
    if (this.#position) this.#lastActivity = readClocks();
  }

  /**
   * Hears where it stands.
   *
   * @param position Where; undefined if its server keeps nothing.
   * @param token What proves it to a server; undefined if that has not changed.
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
   * Gets a message that is kept.
   *
   * @param offset Where it stands; 0 if it is not kept yet.
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
