/**
 * Where a client was when it lost its server: what it needs to get what it has missed.
 *
 * @module
 */

import { NOWHERE, type Place } from "./frames.ts";
import { randomId } from "../util/random_id.ts";
import { visit } from "./subprotocol.ts";

/** Remembers where a client stands among the messages that its server keeps. */
export class Bookmark {
  readonly #session: string = randomId();
  #place: Place | undefined;
  #heardAt: readonly [number, number] = [0, 0];

  /** What a client asks for beside its subprotocols. */
  get subprotocol(): string {
    // One clock may be set back, the other may stop while the machine sleeps.
    const [date, time] = now();
    const [heardDate, heardTime] = this.#heardAt;
    const away = Math.ceil(Math.max(date - heardDate, time - heardTime));
    return visit({ session: this.#session, place: this.#place, away });
  }

  /** Hears something of the server: what it had sent before has come. */
  heard(): void {
    if (this.#place) this.#heardAt = now();
  }

  /**
   * Hears where it stands.
   *
   * @param place Where; undefined if its server keeps nothing.
   */
  set(place: Place | undefined): void {
    this.#place = place;
    this.heard();
  }

  /**
   * Gets a message that is kept.
   *
   * @param offset Where it stands; 0 if it is not kept yet.
   */
  move(offset: number): void {
    const place = this.#place;
    if (place) this.#place = offset === 0 ? NOWHERE : { ...place, offset };
  }
}

function now(): readonly [number, number] {
  return [Date.now(), performance.now()];
}
